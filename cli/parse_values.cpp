#include "cli/parse_values.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <fstream>

#include "cli/command.h"
#include "genkit/base/error.h"
#include "genkit/base/nearest.h"

namespace genkit::cli {

namespace {

std::string_view trim(std::string_view text) {
  const auto blank = [](char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; };
  while (!text.empty() && blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && blank(text.back())) text.remove_suffix(1);
  return text;
}

/// Length of the UTF-8 character at the start of `text`, 0 where there is none.
size_t utf8_length(std::string_view text) {
  const auto byte = [&](size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u; };
  const auto follows = [&](size_t i, unsigned low = 0x80, unsigned high = 0xBF) {
    return byte(i) >= low && byte(i) <= high;
  };
  const unsigned lead = byte(0);
  if (lead < 0x80) return 1;
  if (lead >= 0xC2 && lead <= 0xDF) return follows(1) ? 2 : 0;
  if (lead >= 0xE0 && lead <= 0xEF) {
    const unsigned low = lead == 0xE0 ? 0xA0 : 0x80, high = lead == 0xED ? 0x9F : 0xBF;
    return follows(1, low, high) && follows(2) ? 3 : 0;
  }
  if (lead >= 0xF0 && lead <= 0xF4) {
    const unsigned low = lead == 0xF0 ? 0x90 : 0x80, high = lead == 0xF4 ? 0x8F : 0xBF;
    return follows(1, low, high) && follows(2) && follows(3) ? 4 : 0;
  }
  return 0;
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

/// Reads the escape after the backslash at `at`, which is moved to its last character.
char read_escape(const std::string& option, std::string_view text, size_t& at) {
  const char c = ++at < text.size() ? text[at] : '\0';
  switch (c) {
    case 'n':
      return '\n';
    case 't':
      return '\t';
    case 'r':
      return '\r';
    case '0':
      return '\0';
    case '\\':
      return '\\';
    case ',':
      return ',';
    case 'x':
      if (at + 2 < text.size() && hex_digit(text[at + 1]) >= 0 && hex_digit(text[at + 2]) >= 0) {
        const int value = hex_digit(text[at + 1]) * 16 + hex_digit(text[at + 2]);
        at += 2;
        return static_cast<char>(value);
      }
      break;
    default:
      break;
  }
  throw UsageError(fmt::format("{}: unknown escape \\{}; there are \\n \\t \\r \\0 \\\\ \\, and \\xHH",
                               option, printable(text.substr(std::min(at, text.size()), 1))));
}

}  // namespace

std::vector<int32_t> parse_ids(const std::string& option, std::string_view text) {
  std::vector<int32_t> ids;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t comma = std::min(text.find(',', begin), text.size());
    const std::string_view part = trim(text.substr(begin, comma - begin));
    int32_t id = 0;
    const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), id);
    if (error != std::errc() || end != part.data() + part.size() || id < 0) {
      throw UsageError(fmt::format("{}: expected token ids like 1,2,3, got \"{}\"", option, printable(part)));
    }
    ids.push_back(id);
    begin = comma + 1;
  }
  return ids;
}

std::vector<std::string> parse_strings(const std::string& option, std::string_view text) {
  std::vector<std::string> parts(1);
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\') {
      parts.back() += read_escape(option, text, i);
    } else if (text[i] == ',') {
      parts.emplace_back();
    } else {
      parts.back() += text[i];
    }
  }
  for (const std::string& part : parts) {
    if (part.empty())
      throw UsageError(fmt::format("{}: an empty string would stop at once; write \\, for a comma", option));
    require_utf8(option, part);
  }
  return parts;
}

std::string read_all(const std::string& path) {
  std::string text;
  if (path == "-") {
    char buffer[1 << 16];
    for (;;) {
      const ssize_t n = ::read(0, buffer, sizeof buffer);
      if (n == 0) return text;
      if (n > 0) {
        text.append(buffer, static_cast<size_t>(n));
      } else if (errno != EINTR) {
        throw IoError(fmt::format("standard input: {}", std::strerror(errno)));
      }
    }
  }
  std::ifstream in(path, std::ios::binary);
  if (!in) throw IoError(fmt::format("{}: {}", path, std::strerror(errno)));
  text.assign(std::istreambuf_iterator<char>(in), {});
  if (in.bad()) throw IoError(fmt::format("{}: cannot be read", path));
  return text;
}

void require_utf8(const std::string& what, std::string_view text) {
  for (size_t at = 0; at < text.size();) {
    const size_t length = utf8_length(text.substr(at));
    if (length == 0) throw UsageError(fmt::format("{}: not UTF-8 at byte {}", what, at));
    at += length;
  }
}

}  // namespace genkit::cli
