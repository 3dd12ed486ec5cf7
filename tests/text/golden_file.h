#pragma once

#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>

#include "genkit/text/tokenizer.h"

namespace genkit::text {

inline std::string test_data(const std::string& path) { return std::string(MLXGK_TEST_DATA) + "/../" + path; }

inline nlohmann::json golden_json(const std::string& path) {
  std::ifstream stream(test_data(path));
  if (!stream) throw std::runtime_error("cannot open " + test_data(path));
  return nlohmann::json::parse(stream);
}

/// The tokenizer of a case named "TOKENIZER/...".
inline std::shared_ptr<const Tokenizer> golden_tokenizer(const std::string& case_name) {
  static std::map<std::string, std::shared_ptr<const Tokenizer>> loaded;
  const std::string name = case_name.substr(0, case_name.find('/'));
  auto& tokenizer = loaded[name];
  if (!tokenizer) tokenizer = Tokenizer::load(test_data("goldens/tokenizers/" + name));
  return tokenizer;
}

}  // namespace genkit::text
