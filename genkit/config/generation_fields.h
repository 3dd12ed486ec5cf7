#pragma once

#include <array>
#include <optional>
#include <span>
#include <string_view>
#include <variant>

#include "genkit/base/field_table.h"
#include "genkit/config/generation_config.h"

namespace genkit::config {

template <class T>
using Member = std::optional<T> GenerationConfig::*;

using AnyMember = std::variant<Member<int>, Member<uint64_t>, Member<double>, Member<bool>,
                               Member<std::vector<int32_t>>, Member<std::vector<std::string>>,
                               Member<std::vector<std::vector<int32_t>>>, Member<std::vector<SequenceBias>>,
                               Member<LengthDecay>, Member<Watermark>, Member<EarlyStopping>,
                               Member<std::vector<ForcedWord>>, Member<DolaLayers>, Member<DraftTokens>,
                               Member<DraftSchedule>, Member<LogitBias>, Member<std::vector<ForcedToken>>>;

/// A row of the table.
struct OptionRow {
  std::string_view name;
  std::array<std::string_view, 3> aliases;
  AnyMember member;
  Modes modes;
  Range range;                ///< of the number, or of every number in the list
  std::string_view fallback;  ///< default, as JSON; "null": stays unset
  std::string_view neutral;   ///< the value that changes nothing, as JSON; "": there is none
  std::string_view help;
  /// Options of which at least one must be set to something for this one to act; empty: none.
  std::array<std::string_view, 2> needs = {};
};

/// Calls visit(member) with the row's pointer to member of its real type.
template <class Visit>
decltype(auto) with_member(const OptionRow& row, Visit visit) {
  return std::visit(visit, row.member);
}
template <class T>
T value_type_of(Member<T>);

/// Reads one value into the row's member, the range included: a file's message should name the path.
void read_row(const OptionRow& row, const JsonView& view, GenerationConfig& out);

/// An option of transformers that no mode here honours.
struct UnsupportedOption {
  std::string_view name;
  std::string_view neutral;  ///< JSON list of the values that ask for nothing; null is always one
  std::string_view help;
};

/// Rows of one topic: one file of genkit/config/options/.
struct OptionGroup {
  std::string_view title;
  std::span<const OptionRow> rows;
  std::span<const UnsupportedOption> unsupported;
};
std::span<const OptionGroup> option_groups();
/// All groups' rows, one after the other.
std::span<const OptionRow> option_rows();
std::span<const UnsupportedOption> unsupported_options();

/// Keys of generation_config.json that say how transformers runs or where the file came from, and
/// cannot change a token.
std::span<const std::string_view> bookkeeping_keys();

/// The row with that name or alias, or null.
const OptionRow* find_option(std::string_view name);
const UnsupportedOption* find_unsupported(std::string_view name);
/// Every name and alias, for suggestions.
std::span<const std::string_view> all_field_names();

// Field types that only this table has.
void read_field(const JsonView& view, SequenceBias& out);
void read_field(const JsonView& view, LengthDecay& out);
void read_field(const JsonView& view, LogitBias& out);
void read_field(const JsonView& view, ForcedToken& out);
void read_field(const JsonView& view, Watermark& out);
void read_field(const JsonView& view, EarlyStopping& out);
void read_field(const JsonView& view, ForcedWord& out);
void read_field(const JsonView& view, DolaLayers& out);
void read_field(const JsonView& view, DraftTokens& out);
void read_field(const JsonView& view, DraftSchedule& out);
void to_json(nlohmann::json& json, const Watermark& value);
void to_json(nlohmann::json& json, const SequenceBias& value);
void to_json(nlohmann::json& json, const LengthDecay& value);
void to_json(nlohmann::json& json, const LogitBias& value);
void to_json(nlohmann::json& json, const ForcedToken& value);
void to_json(nlohmann::json& json, const EarlyStopping& value);
void to_json(nlohmann::json& json, const ForcedWord& value);
void to_json(nlohmann::json& json, const DolaLayers& value);
void to_json(nlohmann::json& json, const DraftTokens& value);
void to_json(nlohmann::json& json, const DraftSchedule& value);

}  // namespace genkit::config
