#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "genkit/generate/generate.h"
#include "genkit/steering/extraction.h"
#include "genkit/text/tokenizer.h"

// A trait described in words, and the model's own answers with and without it.

namespace genkit::steering {

/// A trait, described by system prompts that ask for it and their opposites, and by questions whose
/// answers may show it.
struct Trait {
  std::vector<std::pair<std::string, std::string>> instructions;  ///< (with, without) the trait
  std::vector<std::string> questions;
};

/// Reads {"instruction": [{"pos": "...", "neg": "..."}], "questions": ["..."]}; other keys are left alone.
/// @throws IoError; FormatError naming file and field.
/// @source Chen et al. 2025, "Persona Vectors", whose trait files have this form.
Trait read_trait(const std::filesystem::path& path);

/// The ids of a question under a system prompt: by the chat template where the tokenizer has one (in
/// the user's message before the question, where the template knows no system message), else as
/// plain text, the system prompt, an empty line, and the question. An empty system prompt is left out.
/// @param use_template false: plain text even where there is a template.
/// @throws ArgumentError as text::apply_chat_template().
std::vector<int32_t> persona_prompt(const text::Tokenizer& tokenizer, const std::string& system,
                                    const std::string& question, bool use_template = true);

struct AnswerOptions {
  generate::GenerationConfig config;  ///< max_new_tokens, do_sample, seed, ...
  generate::GenerationConfig model_defaults;
  int samples = 1;  ///< answers to every question under every instruction; more than one needs do_sample
  bool use_template = true;                      ///< @see persona_prompt
  size_t batch = 32;                             ///< prompts that run at a time
  std::function<bool(size_t, size_t)> progress;  ///< (answers done, in all); false ends it
};

struct TraitAnswers {
  ContrastSet texts;  ///< paired; prompt and answer, `begin` at the answer
  std::vector<std::pair<std::string, std::string>> answers;  ///< (with, without), as text
  size_t dropped = 0;                                        ///< pairs of which one answer was empty
};

/// Answers every question under both sides of every instruction. The two sides of a pair draw with
/// seeds of their own.
/// @throws ArgumentError for a trait without instructions or questions, for samples without
///         do_sample, and where every pair has an empty answer; Error "interrupted".
TraitAnswers answer_trait(const models::Model& model, const text::Tokenizer& tokenizer, const Trait& trait,
                          const AnswerOptions& options);

}  // namespace genkit::steering
