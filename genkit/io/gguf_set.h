#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "genkit/io/gguf_reader.h"

namespace genkit::io {

/// The files of one GGUF model: one, or the parts of a split model. The first has the metadata.
class GgufSet {
 public:
  /// @param path the file; of a split model the first part.
  /// @throws IoError, FormatError: a missing part, a part given that is not the first, parts that
  ///         do not belong together, a tensor in two parts.
  static GgufSet open(const std::filesystem::path& path);

  const GgufFile& metadata() const { return *files_.front(); }

  struct Tensor {
    std::shared_ptr<const GgufFile> file;
    const GgufTensor* info;
  };
  const std::vector<Tensor>& tensors() const { return tensors_; }
  const GgufTensor* find(std::string_view name) const;
  bool has(std::string_view name) const { return find(name) != nullptr; }
  /// The numbers of a small tensor in fp32 (rope factors). @throws FormatError.
  std::vector<float> floats(std::string_view name) const;

 private:
  std::vector<std::shared_ptr<const GgufFile>> files_;
  std::vector<Tensor> tensors_;
};

/// Which part of a split model a file name stands for: "x-00002-of-00003.gguf" is {"x", 2, 3}.
/// A name of another form is {"", 1, 1}.
struct SplitName {
  std::string stem;
  int part = 1;
  int count = 1;
};
SplitName split_name(const std::string& file_name);

}  // namespace genkit::io
