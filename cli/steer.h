#pragma once

#include <functional>
#include <string>
#include <vector>

#include "cli/options.h"
#include "cli/progress.h"
#include "cli/signals.h"
#include "genkit/steering/states.h"
#include "genkit/steering/vector_file.h"
#include "genkit/text/tokenizer.h"

// What the subcommands of `mlxgk steer` share.

namespace genkit::cli {

int run_steer_extract(const std::string& program, std::vector<std::string> args);
int run_steer_project(const std::string& program, std::vector<std::string> args);
int run_steer_sweep(const std::string& program, std::vector<std::string> args);
int run_steer_combine(const std::string& program, std::vector<std::string> args);
int run_steer_info(const std::string& program, std::vector<std::string> args);

/// Options that say how a vector file is read.
struct VectorFileFlags {
  std::string tensor, gguf_layers = "added";

  void add_to(Options& options);
  steering::VectorSet read(const std::string& path) const;
};

/// "3,5-9,-1" and "all" as blocks from 0, rising, each once. @throws UsageError naming the option.
std::vector<int> parse_layers(const std::string& option, const std::string& text, int num_blocks);
/// "-4,-2,0,2,4". @throws UsageError naming the option.
std::vector<double> parse_numbers(const std::string& option, const std::string& text);
/// Lines of a file, without empty ones at its end. @throws UsageError for an empty file, IoError.
std::vector<std::string> read_lines(const std::string& option, const std::string& path);
/// A text's tokens, looked at from its first token that is not special.
steering::TokenSequence text_sequence(const text::Tokenizer& tokenizer, const std::string& text,
                                      const std::string& where);
/// What is known of each block, as a table.
std::string describe(const steering::VectorSet& set);

}  // namespace genkit::cli
