#include "genkit/text/tokenizer.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "genkit/base/error.h"
#include "genkit/io/gguf_reader.h"
#include "genkit/io/mapped_file.h"
#include "genkit/text/rust_bridge.h"
#include "genkit/text/tokenizer_config.h"

namespace genkit::text {
namespace {

namespace fs = std::filesystem;

struct FreeTokenizer {
  void operator()(GkTokenizer* handle) const { gk_tokenizer_free(handle); }
};
using Handle = std::unique_ptr<GkTokenizer, FreeTokenizer>;

std::vector<GkSlice> to_slices(const std::vector<std::string_view>& texts) {
  std::vector<GkSlice> slices(texts.size());
  std::transform(texts.begin(), texts.end(), slices.begin(), to_slice);
  return slices;
}

Handle load_json(const fs::path& file, const TokenizerConfig& config) {
  const auto mapped = io::MappedFile::open(file);
  const std::string added = config.added_tokens.dump();
  GkTokenizer* handle = nullptr;
  call_rust(file.filename().string() + ": ", [&](GkBuffer* out) {
    return gk_tokenizer_from_json({mapped->data(), mapped->size()}, to_slice(added),
                                  config.split_special_tokens ? 1 : 0, &handle, out);
  });
  return Handle(handle);
}

std::vector<int32_t> token_types(const io::GgufFile& file) {
  constexpr const char* kKey = "tokenizer.ggml.token_type";
  std::vector<int32_t> types;
  const auto found = file.find_integers(kKey);
  if (!found) return types;
  types.reserve(found->size());
  for (size_t i = 0; i < found->size(); ++i) {
    const int64_t type = (*found)[i];
    if (type < 0 || type > 6) {
      file.fail(std::string(kKey) + "[" + std::to_string(i) + "]",
                "expected a type from 0 to 6, got " + std::to_string(type));
    }
    types.push_back(static_cast<int32_t>(type));
  }
  return types;
}

Handle load_vocab(const io::GgufFile& file) {
  const auto token_texts = file.find_strings("tokenizer.ggml.tokens");
  if (!token_texts) file.fail("tokenizer.ggml.tokens", "missing");
  const std::vector<GkSlice> tokens = to_slices(*token_texts);
  const auto merge_texts = file.find_strings("tokenizer.ggml.merges");
  const std::vector<GkSlice> merges = merge_texts ? to_slices(*merge_texts) : std::vector<GkSlice>{};
  const auto numbers = file.find_numbers("tokenizer.ggml.scores");
  const std::vector<float> scores =
      numbers ? std::vector<float>(numbers->begin(), numbers->end()) : std::vector<float>{};
  const std::vector<int32_t> types = token_types(file);
  const auto flag = [&](const char* key) {
    const auto value = file.find_bool(key);
    return value ? static_cast<int32_t>(*value) : -1;
  };
  // An id outside the vocabulary was refused with the rest of the configuration.
  const auto id = [&](const char* key) { return file.find_integer(key).value_or(-1); };

  GkVocab vocab{};
  vocab.kind = to_slice(file.string("tokenizer.ggml.model"));
  vocab.pre = to_slice(file.find_string("tokenizer.ggml.pre").value_or(""));
  vocab.architecture = to_slice(file.find_string("general.architecture").value_or(""));
  vocab.tokens = tokens.data();
  vocab.token_count = tokens.size();
  vocab.scores = scores.data();
  vocab.score_count = scores.size();
  vocab.types = types.data();
  vocab.type_count = types.size();
  vocab.merges = merges.data();
  vocab.merge_count = merges.size();
  vocab.has_merges = merge_texts ? 1 : 0;
  vocab.bos = id("tokenizer.ggml.bos_token_id");
  vocab.eos = id("tokenizer.ggml.eos_token_id");
  vocab.unk = id("tokenizer.ggml.unknown_token_id");
  vocab.pad = id("tokenizer.ggml.padding_token_id");
  vocab.add_bos = flag("tokenizer.ggml.add_bos_token");
  vocab.add_eos = flag("tokenizer.ggml.add_eos_token");
  vocab.add_space_prefix = flag("tokenizer.ggml.add_space_prefix");

  GkTokenizer* handle = nullptr;
  call_rust(file.path().string() + ": ",
            [&](GkBuffer* out) { return gk_tokenizer_from_vocab(&vocab, &handle, out); });
  return Handle(handle);
}

std::vector<int32_t> to_ids(const RustBuffer& buffer) { return buffer.integers<int32_t>(); }

/// The value behind the byte that says there is one.
std::optional<std::string> to_found(const RustBuffer& buffer) {
  const std::string_view view = buffer.view();
  if (view.empty()) return {};
  return std::string(view.substr(1));
}

void replace_all(std::string* text, std::string_view from, std::string_view to) {
  size_t position = 0;
  std::string result;
  for (size_t at; (at = text->find(from, position)) != std::string::npos; position = at + from.size()) {
    result.append(*text, position, at - position).append(to);
  }
  if (position == 0) return;
  *text = result.append(*text, position);
}

}  // namespace

struct Tokenizer::Impl {
  Impl(Handle loaded, TokenizerConfig loaded_config)
      : handle(std::move(loaded)), config(std::move(loaded_config)) {
    const RustBuffer buffer =
        call_rust("", [&](GkBuffer* out) { return gk_tokenizer_describe(handle.get(), out); });
    const auto description = nlohmann::json::parse(buffer.view());
    vocab_size = description.at("id_limit").get<int>();
    clean_up_counts = description.at("model") != "BPE" || config.clean_up_bpe;
    special_ids = description.at("special_ids").get<std::vector<int32_t>>();
    const auto& defaults = description.at("batch_defaults");
    const auto take = [&](const char* key, std::optional<std::string>* value) {
      if (!*value && defaults.at(key).is_string()) *value = defaults.at(key).get<std::string>();
    };
    take("padding_side", &config.padding_side);
    take("truncation_side", &config.truncation_side);
    std::optional<std::string> pad_token;
    take("pad_token", &pad_token);
    if (pad_token) config.default_special_token("pad_token", *pad_token);
    if (description.at("byte_fallback").get<bool>()) {
      spelling = TokenSpelling::kByteFallback;
    } else if (description.at("byte_level_decoder").get<bool>()) {
      spelling = TokenSpelling::kByteLevel;
    }
  }

  std::optional<int32_t> token_to_id(std::string_view token) const {
    const auto ids = to_ids(call_rust(
        "", [&](GkBuffer* out) { return gk_tokenizer_token_to_id(handle.get(), to_slice(token), out); }));
    if (ids.empty()) return {};
    return ids[0];
  }

  std::vector<std::vector<int32_t>> encode_rows(const std::vector<std::string>& texts,
                                                bool add_special_tokens, int64_t max_length) const {
    std::vector<GkSlice> slices(texts.size());
    std::transform(texts.begin(), texts.end(), slices.begin(), to_slice);
    const auto packed = to_ids(call_rust("", [&](GkBuffer* out) {
      return gk_tokenizer_encode_batch(handle.get(), slices.data(), slices.size(), add_special_tokens ? 1 : 0,
                                       max_length, config.truncation_side == "left" ? 1 : 0, out);
    }));
    std::vector<std::vector<int32_t>> rows;
    rows.reserve(texts.size());
    for (size_t position = 0; position < packed.size();) {
      const auto begin = packed.begin() + static_cast<std::ptrdiff_t>(position) + 1;
      rows.emplace_back(begin, begin + packed[position]);
      position += 1 + static_cast<size_t>(packed[position]);
    }
    return rows;
  }

  std::optional<int32_t> special_id(std::string_view name) const {
    const auto token = config.special_token(name);
    return token ? token_to_id(*token) : std::nullopt;
  }

  Handle handle;
  TokenizerConfig config;
  int vocab_size = 0;
  bool clean_up_counts = false;
  TokenSpelling spelling = TokenSpelling::kWhole;
  std::vector<int32_t> special_ids;  // sorted
};

Tokenizer::Tokenizer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Tokenizer::~Tokenizer() = default;

std::shared_ptr<const Tokenizer> Tokenizer::load(const fs::path& path) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (!fs::exists(status)) throw IoError(path.string() + ": no such file or folder");
  std::unique_ptr<Impl> impl;
  if (fs::is_directory(status)) {
    const fs::path file = path / "tokenizer.json";
    if (!fs::exists(file, error)) throw IoError(path.string() + ": no tokenizer.json in this folder");
    TokenizerConfig config = read_tokenizer_config(path);
    Handle handle = load_json(file, config);
    impl = std::make_unique<Impl>(std::move(handle), std::move(config));
  } else if (path.extension() == ".gguf") {
    const auto file = io::GgufFile::open(path);
    TokenizerConfig config = tokenizer_config_of(*file);
    Handle handle = load_vocab(*file);
    impl = std::make_unique<Impl>(std::move(handle), std::move(config));
  } else {
    throw ArgumentError(path.string() + ": expected a folder with tokenizer.json or a .gguf file");
  }
  return std::shared_ptr<const Tokenizer>(new Tokenizer(std::move(impl)));
}

std::vector<int32_t> Tokenizer::encode(std::string_view text, bool add_special_tokens) const {
  return to_ids(call_rust("", [&](GkBuffer* out) {
    return gk_tokenizer_encode(impl_->handle.get(), to_slice(text), add_special_tokens ? 1 : 0, out);
  }));
}

std::pair<std::vector<int32_t>, std::vector<std::pair<int, int>>> Tokenizer::encode_with_offsets(
    std::string_view text, bool add_special_tokens) const {
  const auto triples = to_ids(call_rust("", [&](GkBuffer* out) {
    return gk_tokenizer_encode_with_offsets(impl_->handle.get(), to_slice(text), add_special_tokens ? 1 : 0,
                                            out);
  }));
  std::pair<std::vector<int32_t>, std::vector<std::pair<int, int>>> result;
  for (size_t i = 0; i + 2 < triples.size(); i += 3) {
    result.first.push_back(triples[i]);
    result.second.emplace_back(triples[i + 1], triples[i + 2]);
  }
  return result;
}

std::vector<std::vector<int32_t>> Tokenizer::encode_batch(const std::vector<std::string>& texts,
                                                          bool add_special_tokens) const {
  return impl_->encode_rows(texts, add_special_tokens, -1);
}

PaddedBatch Tokenizer::encode_padded(const std::vector<std::string>& texts,
                                     const PaddingOptions& options) const {
  const std::string side = options.padding_side.value_or(impl_->config.padding_side.value_or("right"));
  if (side != "left" && side != "right") {
    throw ArgumentError("padding_side: expected \"left\" or \"right\", got \"" + side + "\"");
  }
  if (options.max_length && *options.max_length < 1) {
    throw ArgumentError("max_length: expected a positive number, got " + std::to_string(*options.max_length));
  }
  if (options.pad_to_max_length && !options.max_length) {
    throw ArgumentError("pad_to_max_length: needs max_length");
  }
  const auto pad = pad_token_id();
  if (!pad) throw ArgumentError("padding: this tokenizer has no pad_token");
  PaddedBatch batch;
  batch.input_ids = impl_->encode_rows(texts, options.add_special_tokens, options.max_length.value_or(-1));
  size_t length = options.pad_to_max_length ? static_cast<size_t>(*options.max_length) : 0;
  for (const auto& row : batch.input_ids) length = std::max(length, row.size());
  for (auto& row : batch.input_ids) {
    auto& mask = batch.attention_mask.emplace_back(row.size(), 1);
    const size_t missing = length - row.size();
    row.insert(side == "left" ? row.begin() : row.end(), missing, *pad);
    mask.insert(side == "left" ? mask.begin() : mask.end(), missing, 0);
  }
  return batch;
}

std::vector<int32_t> Tokenizer::encode_pair(std::string_view first, std::string_view second,
                                            bool add_special_tokens) const {
  return to_ids(call_rust("", [&](GkBuffer* out) {
    return gk_tokenizer_encode_pair(impl_->handle.get(), to_slice(first), to_slice(second),
                                    add_special_tokens ? 1 : 0, out);
  }));
}

std::string Tokenizer::decode(std::span<const int32_t> ids, bool skip_special_tokens,
                              std::optional<bool> clean_up_tokenization_spaces) const {
  for (size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] < 0 || ids[i] >= impl_->vocab_size) {
      throw ArgumentError("ids[" + std::to_string(i) + "]: " + std::to_string(ids[i]) +
                          " is not in the vocabulary of " + std::to_string(impl_->vocab_size) + " tokens");
    }
  }
  std::string text =
      call_rust("", [&](GkBuffer* out) {
        return gk_tokenizer_decode(impl_->handle.get(), reinterpret_cast<const uint32_t*>(ids.data()),
                                   ids.size(), skip_special_tokens ? 1 : 0, out);
      }).str();
  const bool wanted = clean_up_tokenization_spaces.value_or(impl_->config.clean_up_tokenization_spaces);
  return wanted && impl_->clean_up_counts ? clean_up_tokenization(std::move(text)) : text;
}

bool Tokenizer::cleans_up() const {
  return impl_->config.clean_up_tokenization_spaces && impl_->clean_up_counts;
}

int Tokenizer::vocab_size() const { return impl_->vocab_size; }

std::optional<std::string> Tokenizer::id_to_token(int32_t id) const {
  if (id < 0) return {};
  return to_found(call_rust("", [&](GkBuffer* out) {
    return gk_tokenizer_id_to_token(impl_->handle.get(), static_cast<uint32_t>(id), out);
  }));
}

std::optional<int32_t> Tokenizer::token_to_id(std::string_view token) const {
  return impl_->token_to_id(token);
}

bool Tokenizer::is_special(int32_t id) const {
  return std::binary_search(impl_->special_ids.begin(), impl_->special_ids.end(), id);
}

TokenSpelling Tokenizer::spelling() const { return impl_->spelling; }

std::string Tokenizer::token_bytes(int32_t id) const {
  if (id < 0) return {};
  return to_found(call_rust("",
                            [&](GkBuffer* out) {
                              return gk_tokenizer_token_bytes(impl_->handle.get(), static_cast<uint32_t>(id),
                                                              out);
                            }))
      .value_or("");
}

std::optional<int32_t> Tokenizer::bos_token_id() const { return impl_->special_id("bos_token"); }
std::optional<int32_t> Tokenizer::eos_token_id() const { return impl_->special_id("eos_token"); }
std::optional<int32_t> Tokenizer::pad_token_id() const { return impl_->special_id("pad_token"); }
std::optional<int32_t> Tokenizer::unk_token_id() const { return impl_->special_id("unk_token"); }

const std::string& Tokenizer::chat_template() const { return chat_template("default"); }

const std::string& Tokenizer::chat_template(std::string_view name) const {
  static const std::string kNone;
  const auto found = impl_->config.chat_templates.find(name);
  return found == impl_->config.chat_templates.end() ? kNone : found->second;
}

std::vector<std::string> Tokenizer::chat_template_names() const {
  std::vector<std::string> names;
  for (const auto& [name, text] : impl_->config.chat_templates) names.push_back(name);
  return names;
}

const std::vector<std::pair<std::string, std::string>>& Tokenizer::special_tokens() const {
  return impl_->config.special_tokens;
}

std::string clean_up_tokenization(std::string text) {
  constexpr std::array<std::pair<std::string_view, std::string_view>, 10> kReplacements = {{{" .", "."},
                                                                                            {" ?", "?"},
                                                                                            {" !", "!"},
                                                                                            {" ,", ","},
                                                                                            {" ' ", "'"},
                                                                                            {" n't", "n't"},
                                                                                            {" 'm", "'m"},
                                                                                            {" 's", "'s"},
                                                                                            {" 've", "'ve"},
                                                                                            {" 're", "'re"}}};
  for (const auto& [from, to] : kReplacements) replace_all(&text, from, to);
  return text;
}

}  // namespace genkit::text
