#include "genkit/models/model.h"

#include <algorithm>
#include <atomic>
#include <utility>

#include "genkit/base/error.h"

namespace genkit::models {

Model::Model(config::ModelConfig config) : config_(std::move(config)) {
  static std::atomic<uint64_t> made{0};
  serial_ = ++made;
}

cache::KvCache Model::make_cache(std::optional<ops::KvType> type) const {
  std::vector<ops::KvShape> layers = cache_layers();
  if (type) {
    for (ops::KvShape& shape : layers) shape.type = *type;
  }
  return cache::KvCache(std::move(layers));
}

int Model::rope_length(int prompt_length, int total) const {
  const std::optional<int> border = cache_border();
  return border && total > *border ? std::max(prompt_length, *border + 1) : prompt_length;
}

const std::string& Model::fingerprint() const {
  if (!make_fingerprint_) throw ArgumentError("model: it was made in memory and has no fingerprint");
  std::call_once(fingerprint_made_, [this] { fingerprint_ = make_fingerprint_(); });
  return fingerprint_;
}

bool Model::can_extend(int cached, int total) const {
  const std::optional<int> border = cache_border();
  return !border || cached == 0 || cached > *border || total <= *border;
}

}  // namespace genkit::models
