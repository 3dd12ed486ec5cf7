#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

namespace genkit::cli {

/// A subcommand's options: CLI11 with help that fits 80 columns and errors that suggest a name.
///
///   Options options("mlxgk tokenize", "Text to token ids and back.", "MODEL [TEXT]");
///   std::string model;
///   options.app().add_option("--model", model, "...")->type_name("PATH");
///   if (!options.parse(args)) return kOk;  // --help was asked for and printed
class Options {
 public:
  /// @param usage what follows the program's name in the first line of the help.
  Options(std::string program, const std::string& description, std::string usage = "[OPTIONS]");

  CLI::App& app() { return app_; }
  /// Paragraphs under the list of options.
  void set_footer(std::string text) { footer_ = std::move(text); }

  /// @return false when --help was there: it is printed and nothing is left to do.
  /// @throws UsageError.
  bool parse(std::vector<std::string> args);
  /// Whether the option was given on the command line.
  bool given(const std::string& name) const { return app_.get_option(name)->count() > 0; }

  std::string help() const;

 private:
  [[noreturn]] void refuse_extra(const std::vector<std::string>& extra) const;

  std::string program_, usage_, footer_;
  CLI::App app_;
};

/// "a long text" in lines of at most `width` columns, the first starting at column `start`, the
/// others at column `indent`.
std::string wrap(const std::string& text, size_t start, size_t indent, size_t width = 79);

}  // namespace genkit::cli
