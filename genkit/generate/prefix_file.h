#pragma once

#include <filesystem>

#include "genkit/generate/prefix_store.h"

namespace genkit::generate {

/// Writes a kept row: a safetensors file with `tokens` [n] int32 and for every layer
/// `layers.N.keys` [positions, kv_heads, head_dim] and `layers.N.values` [positions, kv_heads,
/// value_dim] float32, which are the newest positions that the layer holds; where those do not begin
/// with the row, a bounded layer's first ones lie in `layers.N.sink_keys` and `layers.N.sink_values`. Where
/// hooks acted, `steering` [n] uint64 has the positions' marks (models::KvMark). The
/// metadata say which model made it (Model::fingerprint), the bound and the rotation. The file
/// appears whole or not at all. docs/caches.md describes the format.
/// @throws IoError naming the path; ArgumentError for a model without a fingerprint.
void save_prefix(const std::filesystem::path& path, const KeptPrefix& kept, const models::Model& model);

/// Reads what save_prefix() wrote. Rows that go on from it get the same bits as if it had never
/// left memory.
/// @throws IoError when the file cannot be read; FormatError naming file and field when it is
///         no such file, is damaged, of a later version, or was made by another model.
KeptPrefix load_prefix(const std::filesystem::path& path, const models::Model& model);

}  // namespace genkit::generate
