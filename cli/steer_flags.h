#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cli/options.h"
#include "cli/prompts.h"
#include "genkit/steering/spec.h"

namespace genkit::cli {

/// --steer and what goes with it. Every option is given once for each --steer, in their order, or
/// once for all of them.
class SteerFlags {
 public:
  void add_to(Options& options);
  /// What the command line says. @throws UsageError naming the option.
  std::vector<steering::SteerSpec> specs() const;
  bool given() const { return !files_.empty() || !soft_prompt_.empty(); }
  bool any_model() const { return any_model_; }
  /// A file with virtual tokens to put in front of every prompt; empty: none.
  const std::string& soft_prompt() const { return soft_prompt_; }

 private:
  std::vector<std::string> files_, layers_, alphas_, schedules_, modes_, positions_, units_, conditions_,
      fallbacks_;
  std::string soft_prompt_;
  bool any_model_ = false;
};

/// The hooks of a command: those of its flags for the prompts that say nothing themselves, and those
/// of the lines of a JSONL file for their own rows.
class Steering {
 public:
  /// Reads the files. @throws what HookMaker throws.
  Steering(const SteerFlags& flags, const models::Model& model);
  /// For prompts that run as rows 0, 1, ... of one batch. The hooks live until the next call.
  std::vector<models::ForwardHook*> hooks(std::span<const PromptSource> rows);
  /// Whether anything acts on a prompt.
  bool acts_on(const PromptSource& prompt) const;

 private:
  std::vector<steering::SteerSpec> specs_;
  steering::HookMaker maker_;
  std::unique_ptr<steering::SoftPromptHook> soft_prompt_;
  steering::SteeringSet set_;
};

}  // namespace genkit::cli
