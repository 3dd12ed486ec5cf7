#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <variant>

#include "genkit/config/model_config.h"

namespace genkit::config {

/// A set of families.
using Families = uint32_t;
constexpr Families mask(Family family) { return Families{1} << static_cast<int>(family); }
constexpr Families kAllFamilies = ~Families{0};

/// Where a field's value goes.
using FieldTarget = std::variant<int*, double*, bool*, std::string*, std::optional<double>*,
                                 std::optional<int32_t>*, std::vector<int>*>;

/// One field of config.json for some families. A family meets each key in one row at most.
struct FieldRow {
  std::string_view key;      ///< as transformers 5 spells it
  std::string_view old_key;  ///< as it was once spelled, or empty
  Families families;
  FieldTarget (*target)(ModelConfig&);
  std::string_view fallback;  ///< JSON of the value when the key is absent; kRequired, kDerived
  double min = 0.0, max = 0.0;
};

/// No fallback: the file must say.
inline constexpr std::string_view kRequired = "required";
/// Absent or null: left at zero for resolve() to work out from other fields.
inline constexpr std::string_view kDerived = "derived";

std::span<const FieldRow> model_field_rows();

/// A model type that config.json may name.
struct ModelTypeRow {
  std::string_view model_type;
  Family family;
  bool text_config = false;  ///< multimodal: the language model's configuration is under `text_config`
};
std::span<const ModelTypeRow> model_type_rows();

/// True for a key that never changes what the forward pass computes.
bool is_irrelevant(std::string_view key, Family family);

/// A key that is fine as long as it says what this library does anyway.
struct OnlyRow {
  std::string_view key;
  std::string_view value;  ///< JSON
};
std::span<const OnlyRow> only_rows();

/// Names that `hidden_act` and its like may have.
bool is_known_activation(std::string_view name);

}  // namespace genkit::config
