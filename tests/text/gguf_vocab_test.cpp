#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <random>
#include <tuple>

#include "genkit/base/error.h"
#include "genkit/text/tokenizer.h"
#include "genkit/text/utf8.h"
#include "tests/base/temp_folder.h"
#include "tests/io/gguf_builder.h"
#include "tests/text/golden_file.h"

namespace genkit::text {
namespace {

using test::TempFolder;

using io::GgufType;
using io::testing::GgufBuilder;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;
using Ids = std::vector<int32_t>;
using Json = nlohmann::json;

constexpr int32_t kNormal = 1, kUnknown = 2, kControl = 3, kUserDefined = 4, kByte = 6;

struct Vocab {
  std::vector<std::string> tokens;
  std::vector<float> scores;
  std::vector<int32_t> types;

  void add(const std::string& token, float score = 0, int32_t type = kNormal) {
    tokens.push_back(token);
    scores.push_back(score);
    types.push_back(type);
  }
  void add_bytes() {
    for (int byte = 0; byte < 256; ++byte) {
      char name[8];
      std::snprintf(name, sizeof name, "<0x%02X>", byte);
      add(name, 0, kByte);
    }
  }
  GgufBuilder& write(GgufBuilder& builder) const {
    return builder.strings("tokenizer.ggml.tokens", tokens)
        .array("tokenizer.ggml.scores", GgufType::kFloat32, scores)
        .array("tokenizer.ggml.token_type", GgufType::kInt32, types);
  }
};

std::shared_ptr<const Tokenizer> load(const GgufBuilder& builder) {
  const TempFolder folder;
  return Tokenizer::load(folder.write("vocab.gguf", builder.bytes()));
}

/// The message without the folder.
std::string error_of(const GgufBuilder& builder) {
  try {
    load(builder);
  } catch (const FormatError& error) {
    const std::string message = error.what();
    return message.substr(message.find("vocab.gguf: "));
  }
  return "no error";
}

GgufBuilder sentencepiece(const std::string& architecture = "llama") {
  GgufBuilder builder;
  builder.set("general.architecture", architecture).set("tokenizer.ggml.model", "llama");
  return builder;
}

Vocab small_vocab() {
  Vocab vocab;
  vocab.add("<unk>", 0, kUnknown);
  vocab.add("<s>", 0, kControl);
  vocab.add("</s>", 0, kControl);
  vocab.add_bytes();
  for (const char* token : {"\u2581", "h", "i", "\u2581h", "\u2581hi", "hi"}) {
    vocab.add(token, -static_cast<float>(vocab.tokens.size()));
  }
  vocab.add("<think>", 0, kUserDefined);
  return vocab;
}

TEST(GgufVocab, SentencePiece) {
  GgufBuilder builder = sentencepiece();
  small_vocab().write(builder).set("tokenizer.ggml.bos_token_id", 1U).set("tokenizer.ggml.eos_token_id", 2U);
  builder.set("tokenizer.ggml.unknown_token_id", 0U).set("tokenizer.chat_template", "T");
  builder.set("tokenizer.chat_template.tool_use", "U");
  const auto tokenizer = load(builder);
  const int32_t mark = 3 + 256, hi = mark + 4, bare_hi = mark + 5, think = mark + 6;
  EXPECT_EQ(tokenizer->vocab_size(), think + 1);
  EXPECT_THAT(tokenizer->encode("hi"), ElementsAre(1, hi)) << "BOS and a space in front";
  EXPECT_THAT(tokenizer->encode("hi", false), ElementsAre(hi));
  EXPECT_THAT(tokenizer->encode(" hi", false), ElementsAre(hi));
  EXPECT_THAT(tokenizer->encode("hi hi", false), ElementsAre(hi, hi));
  EXPECT_THAT(tokenizer->encode("é", false), ElementsAre(mark, 3 + 0xC3, 3 + 0xA9));
  EXPECT_THAT(tokenizer->encode("hi</s>hi<think>hi", false), ElementsAre(hi, 2, bare_hi, think, bare_hi));
  EXPECT_EQ(tokenizer->decode(Ids{1, hi, mark + 2, 2}), "<s> hii</s>");
  EXPECT_EQ(tokenizer->decode(Ids{1, hi, think, hi, 2}, true), "hi<think> hi");
  EXPECT_EQ(tokenizer->decode(Ids{3 + 0xC3, 3 + 0xA9}), "é");
  EXPECT_TRUE(tokenizer->is_special(2));
  EXPECT_FALSE(tokenizer->is_special(think));
  EXPECT_EQ(tokenizer->bos_token_id(), 1);
  EXPECT_EQ(tokenizer->eos_token_id(), 2);
  EXPECT_EQ(tokenizer->unk_token_id(), 0);
  EXPECT_EQ(tokenizer->pad_token_id(), std::nullopt);
  EXPECT_EQ(tokenizer->chat_template(), "T");
  EXPECT_EQ(tokenizer->chat_template("tool_use"), "U");
  EXPECT_EQ(tokenizer->spelling(), TokenSpelling::kByteFallback);
}

TEST(GgufVocab, FlagsDecideAboutBosEosAndTheSpaceInFront) {
  GgufBuilder builder = sentencepiece();
  small_vocab().write(builder).set("tokenizer.ggml.bos_token_id", 1U).set("tokenizer.ggml.eos_token_id", 2U);
  builder.set("tokenizer.ggml.add_bos_token", false).set("tokenizer.ggml.add_eos_token", true);
  builder.set("tokenizer.ggml.add_space_prefix", false);
  const auto tokenizer = load(builder);
  EXPECT_THAT(tokenizer->encode("hi"), ElementsAre(3 + 256 + 5, 2));
  EXPECT_EQ(tokenizer->decode(tokenizer->encode(" hi", false)), " hi");
}

/// The merges that transformers derives from a vocabulary with scores, the slow way.
std::vector<std::string> derived_merges(const Vocab& vocab) {
  std::map<std::string, int> ids;
  for (size_t i = 0; i < vocab.tokens.size(); ++i) ids[vocab.tokens[i]] = static_cast<int>(i);
  using Entry = std::tuple<float, size_t, size_t, std::string>;
  std::vector<Entry> entries;
  for (size_t i = 0; i < vocab.tokens.size(); ++i) {
    const std::string& piece = vocab.tokens[i];
    std::vector<std::tuple<int, int, Entry>> local;
    for (size_t cut = 1; cut < piece.size(); ++cut) {
      if ((static_cast<unsigned char>(piece[cut]) & 0xC0) == 0x80) continue;
      const std::string left = piece.substr(0, cut), right = piece.substr(cut);
      if (ids.count(left) == 0 || ids.count(right) == 0) continue;
      local.push_back(
          {ids[left],
           ids[right],
           {vocab.scores[i], count_code_points(left), count_code_points(right), left + " " + right}});
    }
    std::sort(local.begin(), local.end());
    for (auto& [l, r, entry] : local) entries.push_back(entry);
  }
  std::stable_sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
    return std::tie(std::get<0>(a), std::get<1>(a), std::get<2>(a)) >
           std::tie(std::get<0>(b), std::get<1>(b), std::get<2>(b));
  });
  std::vector<std::string> merges;
  for (auto& entry : entries) merges.push_back(std::get<3>(entry));
  return merges;
}

// The library's own BPE with the derived list decides; ours has no list. Few distinct scores make
// many ties, and a small alphabet makes many ways to merge.
TEST(GgufVocab, MergingByScoreEqualsTheDerivedListOfMerges) {
  std::mt19937 random(11);
  for (int round = 0; round < 12; ++round) {
    Vocab vocab;
    vocab.add("<unk>", 0, kUnknown);
    if (round % 2 == 0) vocab.add_bytes();
    const std::vector<std::string> letters = {"a", "b", "é", "日", "\u2581"};
    std::map<std::string, bool> seen;
    for (const auto& letter : letters) {
      if (round % 3 == 0 && letter == "日") continue;  // left to the bytes, or unknown
      vocab.add(letter, -100);
    }
    for (int i = 0; i < 400; ++i) {
      std::string piece;
      for (unsigned n = 2 + random() % 5; n-- > 0;) piece += letters[random() % letters.size()];
      // In some vocabularies, as in real ones, the mark stands at the beginning only.
      if (round % 4 == 3 && piece.find("\u2581", 1) != std::string::npos) continue;
      if (std::exchange(seen[piece], true)) continue;
      vocab.add(piece, -static_cast<float>(random() % (round < 6 ? 20 : 2000)));
    }
    GgufBuilder scored = sentencepiece(), listed = sentencepiece();
    vocab.write(scored).set("tokenizer.ggml.add_space_prefix", round % 4 < 2);
    vocab.write(listed).set("tokenizer.ggml.add_space_prefix", round % 4 < 2);
    listed.strings("tokenizer.ggml.merges", derived_merges(vocab));
    const auto ours = load(scored), reference = load(listed);
    for (int i = 0; i < 400; ++i) {
      std::string text;
      for (unsigned n = random() % 40; n-- > 0;) {
        const unsigned pick = static_cast<unsigned>(random() % 12);
        text += pick == 11 ? "ü" : pick == 10 ? " " : letters[pick % letters.size()];
      }
      const auto [ids, offsets] = ours->encode_with_offsets(text, false);
      const auto [want, want_offsets] = reference->encode_with_offsets(text, false);
      ASSERT_EQ(ids, want) << text;
      ASSERT_EQ(offsets, want_offsets) << text;
      ASSERT_EQ(ours->decode(ids), reference->decode(ids));
    }
  }
}

/// The GGUF form of a byte-level tokenizer.json.
GgufBuilder byte_level(const std::string& name, const std::string& pre) {
  const Json file = golden_json("goldens/tokenizers/" + name + "/tokenizer.json");
  std::map<int, std::pair<std::string, int32_t>> tokens;
  for (const auto& [token, id] : file["model"]["vocab"].items()) tokens[id.get<int>()] = {token, kNormal};
  for (const auto& added : file["added_tokens"]) {
    tokens[added["id"].get<int>()] = {added["content"].get<std::string>(),
                                      added["special"].get<bool>() ? kControl : kUserDefined};
  }
  Vocab vocab;
  for (const auto& [id, token] : tokens) {
    while (static_cast<int>(vocab.tokens.size()) < id)
      vocab.add("[PAD" + std::to_string(vocab.tokens.size()) + "]", 0, 5);
    vocab.add(token.first, 0, token.second);
  }
  std::vector<std::string> merges;
  for (const auto& merge : file["model"]["merges"]) {
    merges.push_back(merge.is_string() ? merge.get<std::string>()
                                       : merge[0].get<std::string>() + " " + merge[1].get<std::string>());
  }
  const auto tokenizer = golden_tokenizer(name);
  GgufBuilder builder;
  builder.set("general.architecture", "llama")
      .set("tokenizer.ggml.model", "gpt2")
      .set("tokenizer.ggml.pre", pre);
  vocab.write(builder).strings("tokenizer.ggml.merges", merges);
  if (const auto bos = tokenizer->bos_token_id()) {
    builder.set("tokenizer.ggml.bos_token_id", static_cast<uint32_t>(*bos));
  }
  builder.set("tokenizer.ggml.eos_token_id", static_cast<uint32_t>(tokenizer->eos_token_id().value()));
  return builder;
}

TEST(GgufVocab, ByteLevelEqualsItsTokenizerJson) {
  // The names of the pre-tokenizers that these two tokenizer.json files have.
  const std::pair<const char*, const char*> kPairs[] = {{"bytebpe_llama3", "llama-bpe"},
                                                        {"bytebpe_chatml", "qwen2"}};
  const Json file = golden_json("goldens/tokenizers.json");
  for (const auto& [name, pre] : kPairs) {
    const auto tokenizer = load(byte_level(name, pre));
    EXPECT_EQ(tokenizer->spelling(), TokenSpelling::kByteLevel);
    int checked = 0;
    for (const Json& c : file["cases"]) {
      if (!c["name"].get<std::string>().starts_with(name)) continue;
      SCOPED_TRACE(c["name"]);
      ++checked;
      if (c.contains("text")) {
        EXPECT_EQ(tokenizer->encode(c["text"].get<std::string>(), false), c["ids"].get<Ids>());
        EXPECT_EQ(tokenizer->encode(c["text"].get<std::string>()), c["ids_with_special_tokens"].get<Ids>());
        EXPECT_EQ(tokenizer->decode(c["ids"].get<Ids>()),
                  golden_tokenizer(name)->decode(c["ids"].get<Ids>()));
      } else if (c.contains("tokens")) {
        EXPECT_EQ(tokenizer->decode(c["ids"].get<Ids>()), c["decoded"]);
        EXPECT_EQ(tokenizer->decode(c["ids"].get<Ids>(), true), c["decoded_skip_special_tokens"]);
      }
    }
    EXPECT_GT(checked, 80);
  }
}

TEST(GgufVocab, TheNameOfThePreTokenizerDecidesHowATextIsCut) {
  const std::string text = "it's 1234567 x\n\n  y";
  const auto cut = [&](const std::string& pre) {
    const auto tokenizer = load(byte_level("bytebpe_chatml", pre).set("tokenizer.ggml.add_bos_token", false));
    return tokenizer->encode(text, false);
  };
  const Ids gpt2 = cut("gpt-2"), llama = cut("llama-bpe"), qwen = cut("deepseek-r1-qwen"),
            star = cut("starcoder");
  EXPECT_EQ(cut("mpt"), gpt2);
  EXPECT_EQ(cut("dbrx"), llama);
  EXPECT_EQ(cut("smollm"), star);
  for (const char* pre :
       {"default", "falcon", "deepseek-llm", "deepseek-coder", "deepseek-v3", "tekken", "gpt-4o", "llama4",
        "glm4", "chatglm-bpe", "command-r", "olmo", "refact", "stablelm2", "viking"}) {
    const auto tokenizer = load(byte_level("bytebpe_chatml", pre));
    EXPECT_EQ(tokenizer->decode(tokenizer->encode(text, false), false), text) << pre;
  }
}

TEST(GgufVocab, ControlTokensBeyondTheByteAlphabetAreFoundWhole) {
  GgufBuilder builder;
  Vocab vocab;
  vocab.add("a");
  vocab.add("<｜end▁of▁sentence｜>", 0, kControl);
  vocab.write(builder).set("tokenizer.ggml.model", "gpt2").set("tokenizer.ggml.pre", "deepseek-llm");
  builder.strings("tokenizer.ggml.merges", {});
  const auto tokenizer = load(builder);
  EXPECT_THAT(tokenizer->encode("a<｜end▁of▁sentence｜>a"), ElementsAre(0, 1, 0));
  EXPECT_EQ(tokenizer->decode(Ids{0, 1, 0}), "a<｜end▁of▁sentence｜>a");
  EXPECT_EQ(tokenizer->decode(Ids{0, 1, 0}, true), "aa");
}

TEST(GgufVocab, EveryComplaintNamesFileAndField) {
  EXPECT_EQ(error_of(GgufBuilder().set("tokenizer.ggml.model", "llama")),
            "vocab.gguf: tokenizer.ggml.tokens: missing");
  GgufBuilder builder = sentencepiece();
  builder.strings("tokenizer.ggml.tokens", {});
  EXPECT_EQ(error_of(builder), "vocab.gguf: tokenizer.ggml.tokens: 0 tokens");

  const auto with = [](const char* kind, const auto& change) {
    GgufBuilder changed;
    changed.set("tokenizer.ggml.model", kind);
    change(changed);
    return error_of(changed);
  };
  EXPECT_EQ(with("bert", [](auto& b) { small_vocab().write(b); }),
            "vocab.gguf: tokenizer.ggml.model: \"bert\" is not supported; supported: gemma4, gpt2, llama");
  EXPECT_EQ(with("gpt2", [](auto& b) { small_vocab().write(b); }),
            "vocab.gguf: tokenizer.ggml.merges: missing");
  EXPECT_THAT(with("gpt2", [](auto& b) { small_vocab().write(b).strings("tokenizer.ggml.merges", {"hi"}); }),
              HasSubstr("tokenizer.ggml.merges[0]: expected two tokens with a space between, got \"hi\""));
  EXPECT_THAT(with("gpt2", [](auto& b) { small_vocab().write(b).strings("tokenizer.ggml.merges", {"h q"}); }),
              HasSubstr("vocab.gguf: tokenizer.ggml.merges: Token `q` out of vocabulary"));
  EXPECT_THAT(
      with("gpt2",
           [](auto& b) {
             small_vocab().write(b).strings("tokenizer.ggml.merges", {}).set("tokenizer.ggml.pre", "nope");
           }),
      StartsWith("vocab.gguf: tokenizer.ggml.pre: unknown pre-tokenizer \"nope\"; known: a.x-4.0, "));
  EXPECT_EQ(with("llama",
                 [](auto& b) {
                   b.strings("tokenizer.ggml.tokens", {"a", "b"});
                 }),
            "vocab.gguf: tokenizer.ggml.scores: expected 2 numbers, one a token, got 0");
  EXPECT_EQ(with("llama",
                 [](auto& b) {
                   b.strings("tokenizer.ggml.tokens", {"a", "b"});
                   b.array("tokenizer.ggml.scores", GgufType::kFloat32, std::vector<float>{0, NAN});
                 }),
            "vocab.gguf: tokenizer.ggml.scores[1]: not a number");
  EXPECT_EQ(with("llama",
                 [](auto& b) {
                   b.strings("tokenizer.ggml.tokens", {"a", "b"});
                   b.array("tokenizer.ggml.token_type", GgufType::kInt32, std::vector<int32_t>{1});
                 }),
            "vocab.gguf: tokenizer.ggml.token_type: expected 2 numbers, one a token, got 1");
  EXPECT_EQ(with("llama",
                 [](auto& b) {
                   b.strings("tokenizer.ggml.tokens", {"a", "b"});
                   b.array("tokenizer.ggml.token_type", GgufType::kInt32, std::vector<int32_t>{1, 9});
                 }),
            "vocab.gguf: tokenizer.ggml.token_type[1]: expected a type from 0 to 6, got 9");
  EXPECT_EQ(with("llama",
                 [](auto& b) {
                   b.strings("tokenizer.ggml.tokens", {"a", "b\xFF"});
                 }),
            "vocab.gguf: tokenizer.ggml.tokens[1]: invalid UTF-8 at byte 1");
  EXPECT_EQ(with("llama", [](auto& b) { small_vocab().write(b).set("tokenizer.ggml.bos_token_id", 5000U); }),
            "vocab.gguf: tokenizer.ggml.bos_token_id: 5000 is not one of the 266 tokens");
  EXPECT_EQ(with("llama", [](auto& b) { small_vocab().write(b).set("tokenizer.chat_template", "x\xFF"); }),
            "vocab.gguf: tokenizer.chat_template: invalid UTF-8 at byte 1");
  EXPECT_THAT(with("llama",
                   [](auto& b) {
                     b.value("tokenizer.ggml.tokens", GgufType::kArray,
                             GgufBuilder::raw(uint32_t(GgufType::kString)) + GgufBuilder::raw(~uint64_t{0}));
                   }),
              StartsWith("vocab.gguf: tokenizer.ggml.tokens"));
  EXPECT_THAT(with("llama", [](auto& b) { b.set("tokenizer.ggml.tokens", "text"); }),
              StartsWith("vocab.gguf: tokenizer.ggml.tokens: expected"));
}

TEST(GgufVocab, GemmaEqualsTransformers) {
  const std::string model = std::string(MLXGK_MODELS_DIR) + "/gemma-3-270m-q4_k_m.gguf";
  if (!std::filesystem::exists(model)) GTEST_SKIP() << "no " << model;
  const auto start = std::chrono::steady_clock::now();
  const auto tokenizer = Tokenizer::load(model);
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
  // Measured 0.09 s; the bound leaves room for a sanitizer or a busy machine.
  EXPECT_LT(elapsed.count(), 3.0);
  EXPECT_EQ(tokenizer->vocab_size(), 262144);
  const Json file = golden_json("goldens_gemma3_270m/gemma3_270m.json");
  size_t checked = 0;
  for (const Json& c : file["encode"]) {
    const std::string text = c["text"];
    EXPECT_EQ(tokenizer->encode(text, false), c["ids"].get<Ids>()) << text;
    EXPECT_EQ(tokenizer->encode(text), c["ids_with_special"].get<Ids>()) << text;
    EXPECT_EQ(tokenizer->decode(c["ids"].get<Ids>(), true), c["decode"]) << text;
    ++checked;
  }
  EXPECT_EQ(checked, 26U);
  for (const Json& c : file["greedy"]) {
    EXPECT_EQ(tokenizer->encode(c["prompt"].get<std::string>()), c["prompt_ids"].get<Ids>());
    EXPECT_EQ(tokenizer->decode(c["new_ids"].get<Ids>(), true), c["text"]);
  }
}

}  // namespace
}  // namespace genkit::text
