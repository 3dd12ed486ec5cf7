#include "genkit/eval/golden_set.h"

#include <fmt/format.h>

#include <fstream>
#include <sstream>

#include "genkit/base/error.h"
#include "genkit/eval/linked_folder.h"
#include "genkit/io/safetensors.h"
#include "genkit/models/registry.h"

namespace genkit::eval {

void GoldenReport::run(const std::string& name, const std::function<void()>& body) {
  try {
    body();
    ++summary_.passed;
  } catch (const std::exception& e) {
    fail(name, e.what());
  }
}

void GoldenReport::fail(const std::string& name, const std::string& reason) {
  ++summary_.failed;
  out_ << "FAIL " << label_ << (name.empty() ? "" : " ") << name << ": " << reason << '\n';
}

void GoldenReport::begin_file(const std::string& label) {
  label_ = label;
  file_start_ = summary_;
}

void GoldenReport::end_file() {
  out_ << label_ << ": " << summary_.passed - file_start_.passed << " passed, "
       << summary_.failed - file_start_.failed << " failed" << std::endl;
}

GoldenFile::GoldenFile(std::filesystem::path path) : path_(std::move(path)), json_(read_json_file(path_)) {}

std::vector<JsonView> GoldenFile::cases() const {
  return root().at("cases").array_of([](const JsonView& v) { return v; });
}

const nlohmann::ordered_json& GoldenFile::ordered() const {
  if (!ordered_) {
    std::ifstream in(path_, std::ios::binary);
    if (!in) throw IoError(path_.string() + ": cannot be read");
    try {
      ordered_ = nlohmann::ordered_json::parse(in);
    } catch (const nlohmann::ordered_json::exception& e) {
      throw FormatError(path_.filename().string() + ": " + e.what());
    }
  }
  return *ordered_;
}

std::string GoldenFile::tensors_file() const {
  return root().string_or("tensors_file", path_.stem().string() + ".safetensors");
}

mlx::core::array GoldenFile::tensor(const std::string& key) const {
  if (!tensors_) {
    tensors_ = io::load_safetensors(folder() / tensors_file());
  }
  const auto found = tensors_->find(key);
  if (found == tensors_->end()) {
    throw FormatError(fmt::format("{}: no tensor {}", tensors_file(), key));
  }
  return found->second;
}

std::shared_ptr<const text::Tokenizer> GoldenSet::tokenizer(const std::string& name) {
  auto& slot = tokenizers_[name];
  if (!slot) slot = text::Tokenizer::load(dir() / "tokenizers" / name);
  return slot;
}

std::shared_ptr<const models::Model> GoldenSet::model(const std::string& name, const std::string& config) {
  auto& slot = models_[{name, config}];
  if (!slot) {
    const LinkedFolder folder(dir() / "models" / name, config);
    io::Checkpoint checkpoint = io::Checkpoint::open(folder.path());
    slot = models::load_model(checkpoint, {.arithmetic = ops::Arithmetic::kExact});
  }
  return slot;
}

std::shared_ptr<const text::Tokenizer> GoldenSet::real_tokenizer() {
  if (!real_.tokenizer) real_.tokenizer = text::Tokenizer::load(options_.weights);
  return real_.tokenizer;
}

const RealModel& GoldenSet::real_model() {
  real_tokenizer();
  if (!real_.model) {
    io::Checkpoint checkpoint = io::Checkpoint::open(options_.weights);
    real_.generation_config = checkpoint.generation_config();
    real_.model = models::load_model(checkpoint, {.arithmetic = ops::Arithmetic::kExact});
  }
  return real_;
}

}  // namespace genkit::eval
