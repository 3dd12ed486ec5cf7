#include "genkit/io/gguf_set.h"

#include <fmt/format.h>

#include <regex>

#include "genkit/base/error.h"
#include "genkit/base/nearest.h"
#include "genkit/kernels/dequantize.h"

namespace genkit::io {

namespace fs = std::filesystem;

SplitName split_name(const std::string& file_name) {
  static const std::regex pattern(R"((.*)-(\d{5})-of-(\d{5})\.gguf)");
  std::smatch match;
  if (!std::regex_match(file_name, match, pattern)) return {};
  return {match[1], std::stoi(match[2]), std::stoi(match[3])};
}

GgufSet GgufSet::open(const fs::path& path) {
  GgufSet set;
  set.files_.push_back(GgufFile::open(path));
  const GgufFile& first = set.metadata();
  const int64_t count = first.find_integer("split.count").value_or(1);
  const int64_t number = first.find_integer("split.no").value_or(0);
  if (number != 0) first.fail("split.no", "this is not the first part of the model; open that one");
  if (count > 1) {
    const SplitName name = split_name(path.filename().string());
    if (name.part != 1 || name.count != count) {
      first.fail(
          "split.count",
          fmt::format("{} parts, which the file's name must say: NAME-00001-of-{:05}.gguf", count, count));
    }
    for (int part = 2; part <= name.count; ++part) {
      set.files_.push_back(GgufFile::open(
          path.parent_path() / fmt::format("{}-{:05}-of-{:05}.gguf", name.stem, part, name.count)));
      const GgufFile& file = *set.files_.back();
      if (file.integer("split.no") != part - 1 || file.integer("split.count") != count) {
        file.fail("split.no", "the file does not belong to the model that its name says");
      }
    }
  }
  std::map<std::string_view, const GgufFile*> seen;
  for (const auto& file : set.files_) {
    for (const GgufTensor& tensor : file->tensors()) {
      const auto [it, fresh] = seen.emplace(tensor.name, file.get());
      if (!fresh) {
        file->fail(tensor.name, fmt::format("also in {}", it->second->path().filename().string()));
      }
      set.tensors_.push_back({file, &tensor});
    }
  }
  const auto total = first.find_integer("split.tensors.count");
  if (count > 1 && total && *total != int64_t(set.tensors_.size())) {
    first.fail("split.tensors.count",
               fmt::format("{} tensors, but the parts hold {}", *total, set.tensors_.size()));
  }
  return set;
}

const GgufTensor* GgufSet::find(std::string_view name) const {
  for (const auto& file : files_) {
    if (const GgufTensor* tensor = file->find_tensor(name)) return tensor;
  }
  return nullptr;
}

std::vector<float> GgufSet::floats(std::string_view name) const {
  const GgufTensor* tensor = find(name);
  if (tensor == nullptr) metadata().fail(name, "missing");
  if (tensor->shape.size() != 1 || !tensor->format) metadata().fail(name, "expected a vector of numbers");
  std::vector<float> numbers(size_t(tensor->shape[0]));
  dequantize_row(*tensor->format, tensor->data, tensor->shape[0], numbers.data());
  return numbers;
}

}  // namespace genkit::io
