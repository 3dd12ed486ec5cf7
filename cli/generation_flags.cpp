#include "cli/generation_flags.h"

#include <fmt/format.h>

#include <algorithm>

#include "cli/command.h"
#include "cli/parse_values.h"
#include "genkit/base/json_reader.h"
#include "genkit/config/generation_fields.h"

namespace genkit::cli {

namespace {

constexpr const char* kGroup = "Generation";

std::string flag_name(std::string_view field) {
  std::string name = "--" + std::string(field);
  std::replace(name.begin(), name.end(), '_', '-');
  return name;
}

/// "--max-new-tokens,--max-tokens"
std::string flag_names(const config::FieldInfo& field) {
  std::string names = flag_name(field.name);
  for (const std::string_view alias : field.aliases) {
    if (!alias.empty()) names += "," + flag_name(alias);
  }
  return names;
}

std::string type_name(const config::FieldInfo& field) {
  if (field.type == "integer") return "N";
  if (field.name == "num_assistant_tokens") return "N|auto";
  if (field.name == "num_assistant_tokens_schedule") return "NAME";
  if (field.type == "number") return "X";
  if (field.name == "stop_strings") return "TEXTS";
  if (field.name == "early_stopping") return "true|false|never";
  if (field.type == "list of integers") return "IDS";
  return "JSON";
}

std::string description(const config::FieldInfo& field) {
  std::string text = field.help;
  if (!text.empty() && text.back() == '.') text.pop_back();
  if (!field.range.empty()) text += fmt::format("; {}", field.range);
  if (field.default_value != "null") text += fmt::format(" (default: {})", field.default_value);
  return text;
}

}  // namespace

void GenerationFlags::add_to(Options& options) {
  CLI::App& app = options.app();
  app.add_option("--generation-config", file_,
                 "JSON file of options under their Hugging Face names; flags override it")
      ->type_name("FILE")
      ->group(kGroup);
  for (const config::FieldInfo& field : config::generation_fields()) {
    std::vector<std::string>& values = values_[std::string(field.name)];
    CLI::Option* option = app.add_option(flag_names(field), values, description(field));
    option->group(std::string(field.group))->allow_extra_args(false);
    if (field.type == "boolean") {
      option->expected(0, 1)->default_str("true")->type_name("[true|false]");
    } else {
      option->expected(1)->type_name(type_name(field));
    }
    // Lists may be given in parts; anything else twice is a mistake.
    option->multi_option_policy(field.name == "stop_strings" ? CLI::MultiOptionPolicy::TakeAll
                                                             : CLI::MultiOptionPolicy::Throw);
  }
  for (const config::UnsupportedOption& row : config::unsupported_options()) {
    app.add_option(flag_name(row.name), values_[std::string(row.name)], std::string(row.help))
        ->group("")
        ->expected(1)
        ->allow_extra_args(false);
  }
}

bool GenerationFlags::given() const {
  return !file_.empty() ||
         std::any_of(values_.begin(), values_.end(), [](const auto& entry) { return !entry.second.empty(); });
}

generate::GenerationConfig GenerationFlags::config() const {
  generate::GenerationConfig config;
  if (!file_.empty()) {
    const std::string text = read_all(file_);
    config = generate::GenerationConfig::from_caller(parse_json(text, file_), file_);
  }
  for (const auto& [name, values] : values_) {
    if (values.empty()) continue;
    if (name == "stop_strings") {
      std::vector<std::string> all;
      for (const std::string& value : values) {
        for (std::string& part : parse_strings("--stop", value)) all.push_back(std::move(part));
      }
      config.stop_strings = std::move(all);
    } else {
      config.set(name, values.front());
    }
    config.sources[name] = "command line";
  }
  return config;
}

}  // namespace genkit::cli
