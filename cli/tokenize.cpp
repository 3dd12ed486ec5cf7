#include <fmt/format.h>
#include <fmt/ranges.h>

#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/model_files.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/parse_values.h"
#include "genkit/io/hub_cache.h"
#include "genkit/text/tokenizer.h"

namespace genkit::cli {

namespace {

struct TokenizeOptions {
  std::string model;
  std::vector<std::string> texts;
  std::string decode;
  bool no_special = false, skip_special = false, pieces = false, json = false;
};

nlohmann::ordered_json encoded(const text::Tokenizer& tokenizer, const std::string& text, bool special) {
  const auto [ids, offsets] = tokenizer.encode_with_offsets(text, special);
  nlohmann::ordered_json pieces = nlohmann::ordered_json::array();
  for (const int32_t id : ids) pieces.push_back(tokenizer.id_to_token(id).value_or(""));
  return {{"text", text}, {"ids", ids}, {"pieces", pieces}, {"offsets", offsets}};
}

void write_json(Output& out, const nlohmann::ordered_json& json) {
  out.write(json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n");
}

void encode(Output& out, const text::Tokenizer& tokenizer, const TokenizeOptions& o) {
  for (const std::string& text : o.texts) {
    require_utf8("TEXT", text);
    const auto result = encoded(tokenizer, text, !o.no_special);
    if (o.json) {
      write_json(out, result);
    } else if (o.pieces) {
      for (size_t i = 0; i < result["ids"].size(); ++i) {
        out.write(fmt::format("{:>8}  {:>5}-{:<5}  {}\n", result["ids"][i].get<int>(),
                              result["offsets"][i][0].get<int>(), result["offsets"][i][1].get<int>(),
                              result["pieces"][i].dump()));
      }
    } else {
      out.write(fmt::format("{}\n", fmt::join(result["ids"].get<std::vector<int32_t>>(), ",")));
    }
  }
}

void decode(Output& out, const text::Tokenizer& tokenizer, const TokenizeOptions& o) {
  const auto ids = parse_ids("--decode", o.decode == "-" ? read_all("-") : o.decode);
  for (const int32_t id : ids) {
    if (!tokenizer.id_to_token(id)) {
      throw UsageError(fmt::format("--decode: {} is not an id of this tokenizer, which has {}", id,
                                   tokenizer.vocab_size()));
    }
  }
  const std::string text = tokenizer.decode(ids, o.skip_special);
  if (o.json) {
    write_json(out, {{"ids", ids}, {"text", text}});
  } else {
    out.write(text + "\n");
  }
}

}  // namespace

int run_tokenize(const std::string& program, std::vector<std::string> args) {
  TokenizeOptions o;
  Options options(program, "Text to token ids and back.", "--model M TEXT... | --model M --decode 1,2,3");
  CLI::App& app = options.app();
  app.add_option("TEXT", o.texts, "text to encode; - reads standard input")->type_name("");
  app.add_option("-m,--model,--tokenizer", o.model, "a model or a tokenizer: folder, .gguf file or hub name")
      ->type_name("PATH");
  app.add_option("--decode", o.decode, "ids to turn into text; - reads them from standard input")
      ->type_name("IDS");
  app.add_flag("--no-special", o.no_special, "add no BOS and EOS when encoding");
  app.add_flag("--skip-special", o.skip_special, "leave special tokens out when decoding");
  app.add_flag("--pieces", o.pieces, "a line a token: id, code points of the text, spelling");
  app.add_flag("--json", o.json, "one JSON object a text: text, ids, pieces, offsets (in code points)");
  if (!options.parse(std::move(args))) return kOk;
  if (o.model.empty()) throw UsageError("--model is missing");
  if (o.texts.empty() == o.decode.empty()) throw UsageError("expected either a TEXT or --decode IDS");
  if (!o.decode.empty() && o.no_special)
    throw UsageError("--no-special acts on encoding; decoding has --skip-special");
  if (o.decode.empty() && o.skip_special)
    throw UsageError("--skip-special acts on decoding; encoding has --no-special");
  for (std::string& text : o.texts) {
    if (text == "-") text = read_all("-");
  }
  const auto tokenizer = text::Tokenizer::load(io::resolve_model(o.model));
  Output out(1);
  o.decode.empty() ? encode(out, *tokenizer, o) : decode(out, *tokenizer, o);
  return kOk;
}

}  // namespace genkit::cli
