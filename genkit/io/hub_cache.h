#pragma once

#include <filesystem>
#include <optional>
#include <string>

namespace genkit::io {

/// The folder of a model that is on this machine under its hub name: "./mlx_cache/owner_name", or
/// the newest snapshot of "main" in the cache of the hub's own tools ($HF_HUB_CACHE, $HF_HOME/hub,
/// $XDG_CACHE_HOME/huggingface/hub, ~/.cache/huggingface/hub). Never touches the network.
/// @param name "owner/name". @return nothing for a name of another form or a model that is not there.
std::optional<std::filesystem::path> find_in_hub_cache(const std::string& name);

/// What a user passed as a model: a path that exists, or a name found in the cache.
/// @throws IoError saying where it was looked for.
std::filesystem::path resolve_model(const std::string& path_or_name);

}  // namespace genkit::io
