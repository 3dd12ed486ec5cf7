#include "genkit/steering/persona.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "genkit/base/error.h"
#include "genkit/base/json_reader.h"
#include "genkit/steering/guard.h"
#include "genkit/text/chat_template.h"

namespace genkit::steering {

namespace {

using Messages = nlohmann::ordered_json;

bool is_end(const generate::GenerationConfig& config, const generate::GenerationConfig& defaults,
            int32_t id) {
  const auto& ends = config.eos_token_id ? config.eos_token_id : defaults.eos_token_id;
  return ends && std::find(ends->begin(), ends->end(), id) != ends->end();
}

/// One side's answers: prompts with their answers behind them.
std::vector<TokenSequence> answers(const models::Model& model, const text::Tokenizer& tokenizer,
                                   const std::vector<std::vector<int32_t>>& prompts,
                                   const AnswerOptions& options, uint64_t side, size_t before,
                                   std::vector<std::string>* texts) {
  std::vector<TokenSequence> out;
  generate::GenerationRequest request;
  request.model_defaults = options.model_defaults;
  request.config = options.config;
  request.config.seed = variant_seed(options.config.seed.value_or(0), side);
  for (size_t begin = 0; begin < prompts.size(); begin += options.batch) {
    const size_t end = std::min(prompts.size(), begin + options.batch);
    request.prompts.clear();
    for (size_t i = begin; i < end; ++i) request.prompts.push_back({.ids = prompts[i], .row_key = i});
    const auto result = generate::generate(model, &tokenizer, request);
    for (size_t i = begin; i < end; ++i) {
      const generate::GeneratedRow& row = result.rows[i - begin];
      TokenSequence sequence{.ids = prompts[i],
                             .begin = static_cast<int>(prompts[i].size()),
                             .where = fmt::format("answer {}", i + 1)};
      for (const int32_t id : row.ids) {
        if (!is_end(options.config, options.model_defaults, id)) sequence.ids.push_back(id);
      }
      out.push_back(std::move(sequence));
      texts->push_back(row.text);
    }
    if (options.progress && !options.progress(before + end, 2 * prompts.size())) throw Error("interrupted");
  }
  return out;
}

}  // namespace

Trait read_trait(const std::filesystem::path& path) {
  const nlohmann::json json = read_json_file(path);
  const JsonView view(json, path.filename().string());
  if (!view.is_object()) view.fail_expected("an object");
  Trait trait;
  const JsonView instructions = view.at("instruction");
  for (size_t i = 0; i < instructions.size(); ++i) {
    trait.instructions.emplace_back(instructions.at(i).at("pos").string(),
                                    instructions.at(i).at("neg").string());
  }
  trait.questions = view.at("questions").strings();
  if (trait.instructions.empty()) view.at("instruction").fail("is empty");
  if (trait.questions.empty()) view.at("questions").fail("is empty");
  return trait;
}

std::vector<int32_t> persona_prompt(const text::Tokenizer& tokenizer, const std::string& system,
                                    const std::string& question, bool use_template) {
  const std::string joined = system.empty() ? question : system + "\n\n" + question;
  if (!use_template || tokenizer.chat_template().empty()) return tokenizer.encode(joined);
  const auto render = [&](const Messages& messages) {
    return tokenizer.encode(text::apply_chat_template(tokenizer, messages).text, false);
  };
  const Messages user = {{"role", "user"}, {"content", question}};
  if (system.empty()) return render(Messages::array({user}));
  try {
    return render(Messages::array({{{"role", "system"}, {"content", system}}, user}));
  } catch (const ArgumentError&) {  // the template refuses a system message
    return render(Messages::array({{{"role", "user"}, {"content", joined}}}));
  }
}

TraitAnswers answer_trait(const models::Model& model, const text::Tokenizer& tokenizer, const Trait& trait,
                          const AnswerOptions& options) {
  if (trait.instructions.empty()) throw ArgumentError("trait: there are no instructions");
  if (trait.questions.empty()) throw ArgumentError("trait: there are no questions");
  if (options.samples < 1)
    throw ArgumentError(fmt::format("samples: expected at least 1, got {}", options.samples));
  const bool sampled = options.config.do_sample.value_or(options.model_defaults.do_sample.value_or(false));
  if (options.samples > 1 && !sampled) {
    throw ArgumentError("samples: needs do_sample; greedy answers come out the same again");
  }
  std::vector<std::vector<int32_t>> with, without;
  for (const auto& [positive, negative] : trait.instructions) {
    for (const std::string& question : trait.questions) {
      const auto up = persona_prompt(tokenizer, positive, question, options.use_template);
      const auto down = persona_prompt(tokenizer, negative, question, options.use_template);
      for (int sample = 0; sample < options.samples; ++sample) {
        with.push_back(up);
        without.push_back(down);
      }
    }
  }
  std::vector<std::string> up_texts, down_texts;
  auto up = answers(model, tokenizer, with, options, 1, 0, &up_texts);
  auto down = answers(model, tokenizer, without, options, 2, with.size(), &down_texts);
  TraitAnswers out;
  out.texts.paired = true;
  for (size_t i = 0; i < up.size(); ++i) {
    const auto empty = [](const TokenSequence& s) { return s.ids.size() == static_cast<size_t>(s.begin); };
    if (empty(up[i]) || empty(down[i])) {
      ++out.dropped;
      continue;
    }
    out.texts.positive.push_back(std::move(up[i]));
    out.texts.negative.push_back(std::move(down[i]));
    out.answers.emplace_back(std::move(up_texts[i]), std::move(down_texts[i]));
  }
  if (out.texts.positive.empty()) throw ArgumentError("trait: every pair has an empty answer");
  return out;
}

}  // namespace genkit::steering
