#include "genkit/models/hidden_capture.h"

#include <fmt/format.h>
#include <mlx/ops.h>

#include "genkit/base/error.h"

namespace genkit::models {

HiddenCapture::Place HiddenCapture::place(Site site, int layer) {
  return {site, site == Site::kBlock ? layer : 0};
}

HiddenCapture HiddenCapture::everything(int num_blocks) {
  std::set<Place> places = {{Site::kEmbedding, 0}, {Site::kFinal, 0}};
  for (int i = 0; i < num_blocks; ++i) places.insert({Site::kBlock, i});
  return HiddenCapture(std::move(places));
}

bool HiddenCapture::wants(Site site, int layer) const { return places_.contains(place(site, layer)); }

mlx::core::array HiddenCapture::apply(Site site, int layer, const mlx::core::array& x, const ForwardInput&) {
  seen_.insert_or_assign(place(site, layer), mlx::core::astype(x, mlx::core::float32));
  return x;
}

const mlx::core::array& HiddenCapture::at(Site site, int layer) const {
  const auto found = seen_.find(place(site, layer));
  if (found == seen_.end()) {
    throw Error(fmt::format("the forward pass has no place {} of block {}", static_cast<int>(site), layer));
  }
  return found->second;
}

std::vector<mlx::core::array> HiddenCapture::all() const {
  std::vector<mlx::core::array> out;
  for (const auto& [place, x] : seen_) out.push_back(x);
  return out;
}

}  // namespace genkit::models
