#pragma once

#include <mlx/array.h>

#include <map>
#include <set>
#include <utility>
#include <vector>

#include "genkit/models/model.h"

namespace genkit::models {

/// Keeps what a forward pass has at the named places and changes nothing.
///
///   HiddenCapture capture = HiddenCapture::everything(model.components().num_blocks);
///   model.forward(input, nullptr, {&capture});
///   capture.at(Site::kBlock, 3);  // [tokens, hidden]
class HiddenCapture : public ForwardHook {
 public:
  using Place = std::pair<Site, int>;  ///< site and block; block 0 where there is only one
  static Place place(Site site, int layer);

  explicit HiddenCapture(std::set<Place> places) : places_(std::move(places)) {}
  /// The embedding, every block and the final norm.
  static HiddenCapture everything(int num_blocks);

  bool wants(Site site, int layer) const override;
  mlx::core::array apply(Site site, int layer, const mlx::core::array& x, const ForwardInput& input) override;

  /// [tokens, hidden] float32. @throws Error when the pass had no such place.
  const mlx::core::array& at(Site site, int layer = 0) const;
  std::vector<mlx::core::array> all() const;

 private:
  std::set<Place> places_;
  std::map<Place, mlx::core::array> seen_;
};

}  // namespace genkit::models
