#include "cli/steer_flags.h"

#include <fmt/format.h>

#include <charconv>
#include <functional>

#include "cli/command.h"
#include "genkit/base/error.h"
#include "genkit/base/nearest.h"
#include "genkit/io/safetensors.h"

namespace genkit::cli {
namespace {

constexpr const char* kGroup = "Steering";

template <class T>
T number(const std::string& option, const std::string& text, const char* what) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || text.empty())
    throw UsageError(fmt::format("{}: expected {}, got {}", option, what, printable(text)));
  return value;
}

/// The one tensor of a file, or the one called soft_prompt.
mlx::core::array read_soft_prompt(const std::string& path) {
  const auto file = io::SafetensorsFile::open(path);
  if (file->tensors().size() == 1) return file->array(file->tensors().begin()->first);
  if (file->tensors().contains("soft_prompt")) return file->array("soft_prompt");
  throw FormatError(fmt::format("{}: expected one tensor, or one called soft_prompt", path));
}

}  // namespace

void SteerFlags::add_to(Options& options) {
  const auto list = [&](const char* name, std::vector<std::string>& target, const char* help,
                        const char* type) {
    options.app()
        .add_option(name, target, help)
        ->type_name(type)
        ->group(kGroup)
        ->expected(1)
        ->allow_extra_args(false)
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  };
  list("--steer", files_,
       "vectors to steer with: safetensors or control-vector GGUF; repeated: several, in this order", "FILE");
  list("--steer-layer", layers_,
       "decoder block, from 0, or from the end: -1 is the last (default: the one that the file suggests)",
       "N");
  list("--alpha", alphas_, "how strongly; negative: the other way (default: 1)", "X");
  list("--steer-unit", units_,
       "what alpha counts in: absolute, residual (lengths of the stream at that position), recorded (the "
       "file's mean length)",
       "U");
  list("--steer-schedule", schedules_,
       "alpha by step: constant (default), warmup:STEPS, ramp:TO:STEPS, decay:HALF_LIFE, cosine:STEPS[:TO], "
       "piecewise:STEP=FACTOR,...",
       "S");
  list("--steer-positions", positions_,
       "all (default), prompt, generated, last:K (of the prompt, and what is generated), prompt-last:K, "
       "after:ID",
       "P");
  list("--steer-mode", modes_, "add (default), add-keep-norm, project, ablate or logit-bias", "M");
  list("--steer-if", conditions_,
       "only where the stream's cosine with another file's vector is such: FILE:>0.2 or FILE:<0.2", "C");
  list("--steer-fallback", fallbacks_,
       "for models that do not show their blocks: logit-bias (default, with a warning) or fail", "F");
  options.app()
      .add_flag("--steer-any-model", any_model_, "take vectors that were made with another model")
      ->group(kGroup);
  options.app()
      .add_option("--soft-prompt", soft_prompt_,
                  "safetensors with embeddings to put in front of every prompt")
      ->type_name("FILE")
      ->group(kGroup);
}

std::vector<steering::SteerSpec> SteerFlags::specs() const {
  std::vector<steering::SteerSpec> specs(files_.size());
  for (size_t i = 0; i < files_.size(); ++i) {
    specs[i].file = files_[i];
    if (files_.size() > 1) specs[i].where = fmt::format("--steer {}", files_[i]);
  }
  const auto spread = [&](const char* option, const std::vector<std::string>& given,
                          const std::function<void(steering::SteerSpec&, const std::string&)>& set) {
    if (given.empty()) return;
    if (files_.empty()) throw UsageError(fmt::format("{}: there is no --steer that it could be for", option));
    if (given.size() != 1 && given.size() != files_.size())
      throw UsageError(fmt::format("{}: expected once, or once for each of the {} --steer, got {}", option,
                                   files_.size(), given.size()));
    for (size_t i = 0; i < specs.size(); ++i) set(specs[i], given.size() == 1 ? given[0] : given[i]);
  };
  using Spec = steering::SteerSpec;
  using Text = std::string;
  spread("--steer-layer", layers_,
         [](Spec& s, const Text& t) { s.layer = number<int>("--steer-layer", t, "a whole number"); });
  spread("--alpha", alphas_,
         [](Spec& s, const Text& t) { s.alpha = number<double>("--alpha", t, "a number"); });
  spread("--steer-unit", units_, [](Spec& s, const Text& t) { s.unit = t; });
  spread("--steer-schedule", schedules_, [](Spec& s, const Text& t) { s.schedule = t; });
  spread("--steer-positions", positions_, [](Spec& s, const Text& t) { s.positions = t; });
  spread("--steer-mode", modes_, [](Spec& s, const Text& t) { s.mode = t; });
  spread("--steer-if", conditions_, [](Spec& s, const Text& t) { s.condition = t; });
  spread("--steer-fallback", fallbacks_, [](Spec& s, const Text& t) { s.fallback = t; });
  return specs;
}

Steering::Steering(const SteerFlags& flags, const models::Model& model)
    : specs_(flags.specs()), maker_(model, flags.any_model()) {
  for (const steering::SteerSpec& spec : specs_) maker_.make(spec);  // refuses before anything runs
  if (flags.soft_prompt().empty()) return;
  soft_prompt_ = std::make_unique<steering::SoftPromptHook>(read_soft_prompt(flags.soft_prompt()));
}

bool Steering::acts_on(const PromptSource& prompt) const {
  return soft_prompt_ || !(prompt.steer ? *prompt.steer : specs_).empty();
}

std::vector<models::ForwardHook*> Steering::hooks(std::span<const PromptSource> rows) {
  set_ = {};
  std::set<int64_t> plain;
  for (size_t i = 0; i < rows.size(); ++i) {
    if (!rows[i].steer) plain.insert(static_cast<int64_t>(i));
  }
  const bool all = plain.size() == rows.size();
  if (!plain.empty()) {
    for (const steering::SteerSpec& spec : specs_)
      set_.add(maker_.make(spec, all ? std::nullopt : std::optional(plain)));
  }
  for (size_t i = 0; i < rows.size(); ++i) {
    if (!rows[i].steer) continue;
    for (const steering::SteerSpec& spec : *rows[i].steer)
      set_.add(maker_.make(spec, std::set<int64_t>{static_cast<int64_t>(i)}));
  }
  std::vector<models::ForwardHook*> hooks;
  if (soft_prompt_) hooks.push_back(soft_prompt_.get());
  if (!set_.empty()) hooks.push_back(&set_);
  return hooks;
}

}  // namespace genkit::cli
