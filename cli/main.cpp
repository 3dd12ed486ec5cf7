#include <fmt/format.h>

#include <array>
#include <exception>
#include <filesystem>
#include <new>

#include "cli/command.h"
#include "cli/output.h"
#include "cli/signals.h"
#include "genkit/base/error.h"
#include "genkit/base/nearest.h"
#include "genkit/base/version.h"

namespace genkit::cli {

namespace {

constexpr std::array kCommands = {
    Command{"generate", "continue prompts", "mlxgk-generate", run_generate},
    Command{"chat", "talk to a model in a terminal", "", run_chat},
    Command{"forward", "write logits and hidden states to a file", "", run_forward},
    Command{"steer", "make, try and look at steering vectors", "", run_steer},
    Command{"tokenize", "text to token ids and back", "", run_tokenize},
    Command{"info", "what a model file or folder holds", "", run_info},
    Command{"bench", "measure prefill and decoding", "", run_bench},
    Command{"goldens", "compare with recorded reference outputs", "mlxgk-eval", run_goldens},
    Command{"options", "every generation option, as a table", "", run_options},
    Command{"download", "find a model of the hub on this machine", "mlxgk-download", run_download},
};

void print_overview(Output& out) {
  std::string text = fmt::format("mlxgk {}\n\nUsage: mlxgk COMMAND [OPTIONS]\n\nCommands:\n", version());
  for (const Command& c : kCommands) text += fmt::format("  {:<10} {}\n", c.name, c.summary);
  text +=
      "\n'mlxgk COMMAND --help' lists the options of a command.\n"
      "\nExit codes: 0 success (also when Ctrl-C ended a generation early, or the\n"
      "reader of a pipe left); 1 failure; 2 wrong usage.\n";
  out.write(text);
}

int dispatch(const std::string& program, std::vector<std::string> args) {
  for (const Command& c : kCommands) {
    if (!c.alias.empty() && program == c.alias) return c.run(program, std::move(args));
  }
  Output out(1);
  if (args.empty()) {
    print_overview(out);
    return kUsage;
  }
  const std::string first = args.front();
  if (first == "--help" || first == "-h" || first == "help") {
    print_overview(out);
    return kOk;
  }
  if (first == "--version" || first == "version") {
    out.write(fmt::format("mlxgk {}\n", version()));
    return kOk;
  }
  std::vector<std::string_view> names;
  for (const Command& c : kCommands) {
    if (first == c.name) {
      args.erase(args.begin());
      return c.run(fmt::format("mlxgk {}", c.name), std::move(args));
    }
    names.push_back(c.name);
  }
  throw UsageError(
      fmt::format("there is no command {}{}; see mlxgk --help", printable(first), suggestion(first, names)));
}

/// Errors are one line, whatever a message holds.
int complain(std::string_view message, int code) {
  std::string line(message);
  for (char& c : line) {
    if (c == '\n' || c == '\r') c = ' ';
  }
  Output(2).try_write(fmt::format("mlxgk: error: {}\n", line));
  return code;
}

}  // namespace

std::span<const Command> commands() { return kCommands; }

int guarded_main(int argc, char** argv) {
  try {
    prepare_process();
    const std::string program = argc > 0 ? std::filesystem::path(argv[0]).filename().string() : "mlxgk";
    return dispatch(program, std::vector<std::string>(argv + std::min(argc, 1), argv + argc));
  } catch (const ReaderLeft&) {
    return kOk;
  } catch (const UsageError& e) {
    return complain(e.what(), kUsage);
  } catch (const ArgumentError& e) {
    return complain(e.what(), kUsage);
  } catch (const std::bad_alloc&) {
    return complain("out of memory", kFailure);
  } catch (const std::exception& e) {
    return complain(e.what(), kFailure);
  }
}

}  // namespace genkit::cli

int main(int argc, char** argv) { return genkit::cli::guarded_main(argc, argv); }
