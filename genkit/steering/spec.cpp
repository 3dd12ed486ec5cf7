#include "genkit/steering/spec.h"

#include <fmt/format.h>

#include <array>
#include <charconv>

#include "genkit/base/error.h"
#include "genkit/base/nearest.h"
#include "genkit/steering/vector_file.h"

namespace genkit::steering {
namespace {

constexpr const char* kModes = "add, add-keep-norm, project, ablate or logit-bias";

SteerSpec one_from_json(const JsonView& json, const std::string& where) {
  json.refuse_unknown_keys(
      {"file", "layer", "alpha", "schedule", "mode", "positions", "unit", "condition", "fallback"});
  SteerSpec spec;
  spec.where = where;
  spec.file = json.at("file").string();
  if (const auto layer = json.find("layer")) spec.layer = layer->integer<int>();
  spec.alpha = json.number_or("alpha", spec.alpha);
  spec.schedule = json.string_or("schedule", spec.schedule);
  spec.mode = json.string_or("mode", spec.mode);
  spec.positions = json.string_or("positions", spec.positions);
  if (const auto unit = json.find("unit")) spec.unit = unit->string();
  if (const auto condition = json.find("condition")) spec.condition = condition->string();
  spec.fallback = json.string_or("fallback", spec.fallback);
  return spec;
}

SteerMode mode_of(const SteerSpec& spec) {
  if (spec.mode == "add") return SteerMode::kAdd;
  if (spec.mode == "add-keep-norm") return SteerMode::kAddKeepNorm;
  if (spec.mode == "project") return SteerMode::kProject;
  if (spec.mode == "ablate") return SteerMode::kAblate;
  throw ArgumentError(fmt::format("{}: mode: expected {}, got {}", spec.where, kModes, printable(spec.mode)));
}

OnMissingSite fallback_of(const SteerSpec& spec) {
  if (spec.fallback == "logit-bias") return OnMissingSite::kLogitBias;
  if (spec.fallback == "fail") return OnMissingSite::kFail;
  throw ArgumentError(
      fmt::format("{}: fallback: expected logit-bias or fail, got {}", spec.where, printable(spec.fallback)));
}

}  // namespace

std::vector<SteerSpec> SteerSpec::from_json(const JsonView& json) {
  if (!json.is_array()) {
    if (!json.is_object()) json.fail_expected("an object or a list of objects");
    return {one_from_json(json, json.path())};
  }
  std::vector<SteerSpec> specs;
  for (size_t i = 0; i < json.size(); ++i) specs.push_back(one_from_json(json.at(i), json.at(i).path()));
  return specs;
}

const VectorSet& HookMaker::read(const std::string& file) {
  const auto found = files_.find(file);
  if (found != files_.end()) return found->second;
  VectorSet set = read_vectors(file);
  check_fits(set, model_, any_model_, "--steer-any-model");
  return files_.emplace(file, std::move(set)).first->second;
}

int HookMaker::block_of(const VectorSet& set, const SteerSpec& spec) const {
  const int blocks = model_.components().num_blocks;
  if (spec.layer) {
    if (*spec.layer < -blocks || *spec.layer >= blocks)
      throw ArgumentError(fmt::format("{}: layer: the model has {} blocks, so {} to {}, got {}", spec.where,
                                      blocks, -blocks, blocks - 1, *spec.layer));
    return *spec.layer < 0 ? *spec.layer + blocks : *spec.layer;
  }
  if (set.suggested_layer) return *set.suggested_layer;
  if (!set.any_block && set.directions.size() == 1) return set.directions.begin()->first;
  throw ArgumentError(fmt::format(
      "{}: layer: {} {}; say which", spec.where, printable(spec.file),
      set.any_block ? "does not say where its vector belongs" : "has vectors for several blocks"));
}

Condition HookMaker::condition(const SteerSpec& spec, int block) {
  const std::string& text = *spec.condition;
  const size_t colon = text.rfind(':');
  Condition out;
  const auto fail = [&] {
    throw ArgumentError(fmt::format("{}: condition: expected FILE:>COSINE or FILE:<COSINE, got {}",
                                    spec.where, printable(text)));
  };
  if (colon == std::string::npos || colon == 0 || colon + 2 >= text.size()) fail();
  if (text[colon + 1] != '>' && text[colon + 1] != '<') fail();
  out.below = text[colon + 1] == '<';
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data() + colon + 2, end, out.threshold);
  if (error != std::errc() || stop != end) fail();
  out.direction = read(text.substr(0, colon)).vector(block);
  return out;
}

std::shared_ptr<SteeringHook> HookMaker::make(const SteerSpec& spec,
                                              const std::optional<std::set<int64_t>>& rows) {
  const VectorSet& set = read(spec.file);
  try {
    const Schedule schedule = Schedule::parse(spec.schedule, spec.alpha, "schedule");
    const Positions positions = Positions::parse(spec.positions, "positions");
    std::optional<AlphaUnit> unit;
    if (spec.unit) unit = alpha_unit(*spec.unit, "unit");
    const int block = block_of(set, spec);
    SteeringVector vector = set.vector(block);
    if (spec.mode == "logit-bias") {
      if (spec.condition) throw ArgumentError("condition: the logits have no stream to compare");
      if (unit) vector.unit = *unit;
      return std::make_shared<LogitBiasHook>(std::move(vector), schedule, HookOptions{positions, rows});
    }
    InjectionOptions options;
    options.mode = mode_of(spec);
    options.positions = positions;
    options.rows = rows;
    options.unit = unit;
    if (spec.condition) options.condition = condition(spec, block);
    options.on_missing = fallback_of(spec);
    return std::make_shared<ResidualInjectionHook>(block, std::move(vector), schedule, std::move(options));
  } catch (const ArgumentError& error) {
    const std::string what = error.what();
    if (what.starts_with(spec.where + ": ")) throw;
    throw ArgumentError(fmt::format("{}: {}", spec.where, what));
  }
}

SteeringSet HookMaker::make_all(std::span<const SteerSpec> specs,
                                const std::optional<std::set<int64_t>>& rows) {
  SteeringSet set;
  for (const SteerSpec& spec : specs) set.add(make(spec, rows));
  return set;
}

}  // namespace genkit::steering
