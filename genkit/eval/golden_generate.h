#pragma once

#include <string>
#include <vector>

#include "genkit/eval/golden_set.h"
#include "genkit/generate/generate.h"
#include "genkit/models/model.h"

namespace genkit::eval {

/// Runs one recorded call of generate() and compares all it returned.
/// @param tokenizer null where the case names none.
/// @param assistant the draft model that the case names, or null.
/// @throws Mismatch, and what the library throws for options it does not honour.
void check_generation(const models::Model& model, const text::Tokenizer* tokenizer, const GoldenFile& file,
                      const JsonView& c, const models::Model* assistant = nullptr);

/// The n best of a step against recorded [id, log-probability] pairs: equal value by value; where two
/// are that close, in either order. @throws Mismatch.
void expect_top(const std::string& field, const std::vector<generate::TokenLogprob>& got,
                const JsonView& want);

}  // namespace genkit::eval
