#include "cli/options.h"

#include <fmt/format.h>

#include <algorithm>
#include <sstream>

#include "cli/command.h"
#include "cli/output.h"
#include "genkit/base/nearest.h"

namespace genkit::cli {

namespace {

constexpr size_t kColumn = 28;  ///< where descriptions start

/// "  -m,--model PATH"
std::string left_side(const CLI::Option& option) {
  std::string text = "  ";
  if (option.get_positional()) {
    text += option.get_single_name();
  } else {
    std::string names;
    for (const auto& name : option.get_snames())
      names += fmt::format("{}-{}", names.empty() ? "" : ", ", name);
    for (const auto& name : option.get_lnames())
      names += fmt::format("{}--{}", names.empty() ? "" : ", ", name);
    text += names;
    if (option.get_type_size_max() != 0 && !option.get_type_name().empty())
      text += " " + option.get_type_name();
  }
  return text;
}

std::string option_lines(const CLI::Option& option) {
  std::string line = left_side(option);
  if (line.size() + 2 > kColumn) {
    line = wrap(line, 0, 6) + '\n' + std::string(kColumn, ' ');
  } else {
    line += std::string(kColumn - line.size(), ' ');
  }
  return line + wrap(option.get_description(), kColumn, kColumn) + '\n';
}

}  // namespace

std::string wrap(const std::string& text, size_t start, size_t indent, size_t width) {
  std::istringstream words(text);
  std::string out, word;
  // Leading blanks are the caller's own indentation.
  const size_t blanks = std::min(text.find_first_not_of(' '), text.size());
  out.assign(blanks, ' ');
  size_t column = start + blanks;
  bool first = true;
  while (words >> word) {
    if (!first && column + 1 + word.size() > width) {
      out += '\n' + std::string(indent, ' ');
      column = indent;
    } else if (!first) {
      out += ' ';
      ++column;
    }
    out += word;
    column += word.size();
    first = false;
  }
  return out;
}

Options::Options(std::string program, const std::string& description, std::string usage)
    : program_(std::move(program)), usage_(std::move(usage)), app_(description, program_) {
  app_.set_help_flag();
  app_.add_flag_callback(
          "-h,--help", [] {}, "this text")
      ->group("Other");
  app_.allow_extras();
  app_.option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::Throw);
}

bool Options::parse(std::vector<std::string> args) {
  const bool asked_for_help =
      std::any_of(args.begin(), args.end(), [](const auto& a) { return a == "--help" || a == "-h"; });
  std::reverse(args.begin(), args.end());  // CLI11 takes them from the back
  try {
    app_.parse(args);
  } catch (const CLI::ParseError& e) {
    if (!asked_for_help) throw UsageError(fmt::format("{}; see {} --help", e.what(), program_));
    Output(1).write(help());
    return false;
  }
  if (app_.count("--help") > 0) {
    Output(1).write(help());
    return false;
  }
  if (const auto extra = app_.remaining(); !extra.empty()) refuse_extra(extra);
  return true;
}

void Options::refuse_extra(const std::vector<std::string>& extra) const {
  std::string name = extra.front();
  for (const std::string& e : extra) {
    if (e.size() > 1 && e[0] == '-') {
      name = e;
      break;
    }
  }
  name = name.substr(0, name.find('='));
  if (name.empty() || name[0] != '-') {
    throw UsageError(fmt::format("unexpected argument {}; see {} --help", printable(name), program_));
  }
  std::vector<std::string> known;
  for (const CLI::Option* option : app_.get_options()) {
    for (const auto& n : option->get_lnames()) known.push_back("--" + n);
  }
  const std::vector<std::string_view> views(known.begin(), known.end());
  throw UsageError(fmt::format("unknown option {}{}", printable(name), suggestion(name, views)));
}

std::string Options::help() const {
  std::string text = fmt::format("Usage: {}\n\n{}\n", wrap(fmt::format("{} {}", program_, usage_), 7, 7),
                                 wrap(app_.get_description(), 0, 0));
  std::vector<std::string> groups;
  for (const CLI::Option* option : app_.get_options()) {
    if (std::find(groups.begin(), groups.end(), option->get_group()) == groups.end()) {
      groups.push_back(option->get_group());
    }
  }
  std::stable_partition(groups.begin(), groups.end(), [](const std::string& g) { return g != "Other"; });
  for (const std::string& group : groups) {
    if (group.empty()) continue;  // CLI11's way of hiding
    text += fmt::format("\n{}:\n", group);
    for (const CLI::Option* option : app_.get_options()) {
      if (option->get_group() == group) text += option_lines(*option);
    }
  }
  if (!footer_.empty()) text += '\n' + footer_;
  return text;
}

}  // namespace genkit::cli
