#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "genkit/steering/vector_set.h"

namespace genkit::steering {

/// What the N of a GGUF file's "direction.N" means. llama.cpp is not of one mind: it adds
/// direction.N to the output of block N (blocks from 0), but its cvector-generator writes as
/// direction.N what it measured at the output of block N - 1. repeng measures at the output of block
/// N what it writes as direction.N.
enum class GgufLayers : uint8_t {
  kWhereAdded,     ///< direction.N belongs to block N: steers as llama.cpp does with the file
  kWhereMeasured,  ///< direction.N belongs to block N - 1: for files of llama.cpp's cvector-generator
};

struct ReadVectorsOptions {
  /// Which tensor of a safetensors file that is none of ours; empty: it must have a single one that
  /// can be meant.
  std::string tensor;
  GgufLayers gguf_layers = GgufLayers::kWhereAdded;
};

/// Reads a vector file, recognised by its content.
///   - safetensors as write_vectors() makes them: tensors "direction.N" [hidden], and metadata.
///   - other safetensors files: tensors "direction.N"; or one tensor [blocks, hidden]; or one tensor
///     [hidden], which then fits any block. float16, bfloat16 and float64 become float32.
///   - control-vector GGUF files as llama.cpp, repeng and write_vectors() make them.
/// @throws IoError; FormatError naming file and field or tensor: what SafetensorsFile and GgufFile
///         throw, a GGUF file that holds something else, a direction that is not of one dimension,
///         of another size than the rest or not of floating-point numbers, a NaN or an infinity and
///         its index, metadata that makes no sense, a file with nothing or too much to choose from.
/// @source llama.cpp common/common.cpp common_control_vector_load, src/llama-adapter.cpp
///         llama_adapter_cvec::apply, tools/cvector-generator; repeng extract.py export_gguf.
VectorSet read_vectors(const std::filesystem::path& path, const ReadVectorsOptions& options = {});

/// Writes safetensors, or a control-vector GGUF file where the name ends in ".gguf". The file
/// appears whole or not at all. GGUF files follow kWhereAdded, carry our metadata under
/// "mlx_genkit.", and have no direction for block 0, which llama.cpp cannot steer.
/// @return the blocks that the format has no place for: empty, or {0}.
/// @throws IoError; ArgumentError as check(), and for GGUF where nothing would be left to write.
std::vector<int> write_vectors(const std::filesystem::path& path, const VectorSet& set);

}  // namespace genkit::steering
