#include "genkit/base/json_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <set>
#include <system_error>
#include <unordered_map>

#include "genkit/base/nearest.h"

namespace genkit {
namespace {

using nlohmann::json;

/// "line L, column C" of a byte; columns count characters, as editors do.
std::string line_and_column(std::string_view text, size_t byte) {
  byte = std::min(byte, text.size());
  size_t line = 1, column = 1;
  for (size_t i = 0; i < byte; ++i) {
    if (text[i] == '\n') {
      ++line;
      column = 1;
    } else if ((static_cast<unsigned char>(text[i]) & 0xC0) != 0x80) {
      ++column;
    }
  }
  return fmt::format("line {}, column {}", line, column);
}

[[noreturn]] void fail_at(std::string_view text, const std::string& name, size_t byte,
                          const std::string& what) {
  throw FormatError(fmt::format("{}: {}: {}", name, line_and_column(text, byte), what));
}

/// nlohmann's lexer does not know Python's three names for non-finite numbers. They are replaced
/// by strings of the same length, so that positions stay right, and turned into numbers again
/// when the parser reports those strings: they are recognised by their ordinal among all strings.
struct NonFinite {
  std::string text;                           ///< only where something was replaced
  std::unordered_map<size_t, double> values;  ///< ordinal of the string -> number
};

bool is_word(char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_'; }

NonFinite replace_non_finite(std::string_view text, const std::string& name, bool allow) {
  static constexpr struct {
    std::string_view name;
    double value;
  } kNames[] = {{"NaN", std::numeric_limits<double>::quiet_NaN()},
                {"Infinity", std::numeric_limits<double>::infinity()},
                {"-Infinity", -std::numeric_limits<double>::infinity()}};
  NonFinite out;
  size_t strings = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '"') {
      for (++i; i < text.size() && text[i] != '"'; ++i) i += text[i] == '\\';
      ++strings;
      continue;
    }
    if (text[i] != 'N' && text[i] != 'I' && text[i] != '-') continue;
    if (i > 0 && is_word(text[i - 1])) continue;
    for (const auto& known : kNames) {
      const size_t end = i + known.name.size();
      if (text.substr(i, known.name.size()) != known.name) continue;
      if (end < text.size() && is_word(text[end])) continue;
      if (!allow) fail_at(text, name, i, fmt::format("{} is not a JSON number", known.name));
      if (out.text.empty()) out.text = text;
      std::fill(out.text.begin() + i, out.text.begin() + end, 'x');
      out.text[i] = out.text[end - 1] = '"';
      out.values.emplace(strings++, known.value);
      i = end - 1;
      break;
    }
  }
  return out;
}

/// Hands the text to the lexer byte by byte and lets the handler know how far that is.
struct TrackedByte {
  using iterator_category = std::forward_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;

  const char* at = nullptr;
  const char** seen = nullptr;
  reference operator*() const { return *at; }
  TrackedByte& operator++() {
    *seen = ++at;
    return *this;
  }
  TrackedByte operator++(int) {
    TrackedByte old = *this;
    ++*this;
    return old;
  }
  bool operator==(const TrackedByte& other) const { return at == other.at; }
  bool operator!=(const TrackedByte& other) const { return at != other.at; }
};

/// Builds the value through nlohmann's own builder, and adds what the parser lets pass: depth and
/// duplicate keys.
class Builder {
 public:
  Builder(json& result, std::string_view text, const std::string& name, const JsonLimits& limits,
          const NonFinite& non_finite)
      : dom_(result), text_(text), name_(name), limits_(limits), non_finite_(non_finite) {}

  const char* seen = nullptr;

  bool null() { return dom_.null(); }
  bool boolean(bool v) { return dom_.boolean(v); }
  bool number_integer(int64_t v) { return dom_.number_integer(v); }
  bool number_unsigned(uint64_t v) { return dom_.number_unsigned(v); }
  bool number_float(double v, const std::string& text) { return dom_.number_float(v, text); }
  bool string(std::string& v) {
    const auto found = non_finite_.values.find(strings_++);
    return found == non_finite_.values.end() ? dom_.string(v) : dom_.number_float(found->second, v);
  }
  bool binary(json::binary_t& v) { return dom_.binary(v); }
  bool start_object(size_t count) {
    enter();
    keys_.emplace_back();
    return dom_.start_object(count);
  }
  bool key(std::string& v) {
    if (non_finite_.values.count(strings_++)) fail("a key must be a string");
    if (!keys_.back().insert(v).second)
      fail(fmt::format("key `{}` occurs twice in one object", printable(v)));
    return dom_.key(v);
  }
  bool end_object() {
    --depth_;
    keys_.pop_back();
    return dom_.end_object();
  }
  bool start_array(size_t count) {
    enter();
    return dom_.start_array(count);
  }
  bool end_array() {
    --depth_;
    return dom_.end_array();
  }
  bool parse_error(size_t position, const std::string&, const nlohmann::detail::exception& error) {
    // "[json.exception.parse_error.101] parse error at line 1, column 5: syntax error ...": the
    // position is said in our own form, and what identifies the exception is not for users.
    std::string what = error.what();
    if (const size_t bracket = what.find("] "); bracket != std::string::npos) what.erase(0, bracket + 2);
    if (what.starts_with("parse error")) {
      if (const size_t colon = what.find(": "); colon != std::string::npos) what.erase(0, colon + 2);
    }
    fail_at(text_, name_, position == 0 ? 0 : position - 1, printable(what, 300));
  }

 private:
  void enter() {
    if (++depth_ > limits_.max_depth) fail(fmt::format("nested deeper than {} levels", limits_.max_depth));
  }
  [[noreturn]] void fail(const std::string& what) {
    const size_t byte = static_cast<size_t>(seen - text_.data());
    fail_at(text_, name_, byte == 0 ? 0 : byte - 1, what);
  }

  nlohmann::detail::json_sax_dom_parser<json> dom_;
  std::string_view text_;
  const std::string& name_;
  const JsonLimits& limits_;
  const NonFinite& non_finite_;
  std::vector<std::set<std::string>> keys_;
  size_t strings_ = 0;
  int depth_ = 0;
};

std::string number_text(double v) {
  return std::isfinite(v) ? json(v).dump() : std::isnan(v) ? "NaN" : v > 0 ? "Infinity" : "-Infinity";
}

}  // namespace

json parse_json(std::string_view text, const std::string& name, const JsonLimits& limits) {
  if (text.size() > limits.max_bytes) {
    throw FormatError(
        fmt::format("{}: {} bytes, more than the {} that are read", name, text.size(), limits.max_bytes));
  }
  const NonFinite non_finite = replace_non_finite(text, name, limits.allow_non_finite);
  const std::string_view source = non_finite.text.empty() ? text : std::string_view(non_finite.text);
  json result;
  Builder builder(result, source, name, limits, non_finite);
  builder.seen = source.data();
  const TrackedByte first{source.data(), &builder.seen}, last{source.data() + source.size(), &builder.seen};
  json::sax_parse(first, last, &builder);
  return result;
}

json read_json_file(const std::filesystem::path& path, const JsonLimits& limits) {
  const std::string shown = path.string();
  std::error_code code;
  if (std::filesystem::is_directory(path, code)) throw IoError(shown + ": is a folder, expected a JSON file");
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  if (!file) throw IoError(fmt::format("{}: cannot be opened: {}", shown, std::strerror(errno)));
  // Read in pieces, not by the size that the file system tells: pipes have none.
  std::string text;
  std::vector<char> piece(size_t{1} << 16);
  while (file.read(piece.data(), static_cast<std::streamsize>(piece.size())), file.gcount() > 0) {
    text.append(piece.data(), static_cast<size_t>(file.gcount()));
    if (text.size() > limits.max_bytes) {
      throw FormatError(fmt::format("{}: more than the {} bytes that are read", shown, limits.max_bytes));
    }
  }
  if (file.bad()) throw IoError(fmt::format("{}: cannot be read: {}", shown, std::strerror(errno)));
  return parse_json(text, path.filename().string(), limits);
}

const char* json_type_name(const json& value) {
  switch (value.type()) {
    case json::value_t::null:
      return "null";
    case json::value_t::object:
      return "an object";
    case json::value_t::array:
      return "a list";
    case json::value_t::string:
      return "a string";
    case json::value_t::boolean:
      return "a boolean";
    case json::value_t::number_integer:
    case json::value_t::number_unsigned:
      return "an integer";
    case json::value_t::number_float:
      return "a number";
    default:
      return "something else";
  }
}

void JsonView::fail(const std::string& what) const {
  std::string message = name_;
  for (const std::string& part : {path_, what}) {
    if (!message.empty() && !part.empty()) message += ": ";
    message += part;
  }
  if (blame_ == Blame::kCaller) throw ArgumentError(message);
  throw FormatError(message);
}

void JsonView::fail_expected(const std::string& expected) const {
  // A wrong number says more by its value than by its type; a string may be long.
  std::string got = json_type_name(*value_);
  if (value_->is_number_float()) got = number_text(value_->get<double>());
  if (value_->is_number_integer() || value_->is_boolean()) got = value_->dump();
  fail(fmt::format("expected {}, got {}", expected, got));
}

std::string JsonView::child_path(std::string_view key) const {
  return path_.empty() ? printable(key) : path_ + "." + printable(key);
}

JsonView JsonView::child(const nlohmann::json& value, std::string_view key) const {
  return JsonView(value, name_, blame_, child_path(key));
}

const nlohmann::json& JsonView::object() const {
  if (!value_->is_object()) fail_expected("an object");
  return *value_;
}

bool JsonView::has(std::string_view key) const { return object().find(key) != value_->end(); }

JsonView JsonView::at(std::string_view key) const {
  const auto found = object().find(key);
  if (found == value_->end()) JsonView(*value_, name_, blame_, child_path(key)).fail("missing");
  return child(*found, key);
}

std::optional<JsonView> JsonView::find(std::string_view key) const {
  const auto found = object().find(key);
  if (found == value_->end() || found->is_null()) return {};
  return child(*found, key);
}

void JsonView::for_each(const std::function<void(const std::string&, const JsonView&)>& visit) const {
  for (const auto& item : object().items()) visit(item.key(), child(item.value(), item.key()));
}

void JsonView::refuse_unknown_keys(std::span<const std::string_view> known) const {
  for (const auto& item : object().items()) {
    if (std::find(known.begin(), known.end(), item.key()) != known.end()) continue;
    child(item.value(), item.key()).fail("unknown key" + suggestion(item.key(), known));
  }
}

size_t JsonView::array_size() const {
  if (!value_->is_array()) fail_expected("a list");
  return value_->size();
}

size_t JsonView::size() const { return value_->is_object() ? value_->size() : array_size(); }

JsonView JsonView::at(size_t index) const {
  if (index >= array_size())
    fail(fmt::format("expected at least {} entries, got {}", index + 1, value_->size()));
  return JsonView((*value_)[index], name_, blame_, fmt::format("{}[{}]", path_, index));
}

bool JsonView::boolean() const {
  if (!value_->is_boolean()) fail_expected("true or false");
  return value_->get<bool>();
}

std::string JsonView::string() const {
  if (!value_->is_string()) fail_expected("a string");
  return value_->get<std::string>();
}

double JsonView::number(double min, double max) const {
  if (!value_->is_number()) fail_expected("a number");
  const double v = value_->get<double>();
  if (std::isinf(min) && std::isinf(max)) return v;
  if (!(v >= min && v <= max)) {
    fail_expected(std::isinf(max)   ? fmt::format("a number of at least {}", min)
                  : std::isinf(min) ? fmt::format("a number of at most {}", max)
                                    : fmt::format("a number from {} to {}", min, max));
  }
  return v;
}

int64_t JsonView::signed_integer(int64_t min, int64_t max) const {
  if (!value_->is_number_integer()) fail_expected("an integer");
  // An unsigned value past the signed range would come out negative.
  const bool too_large = value_->is_number_unsigned() &&
                         value_->get<uint64_t>() > static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
  const int64_t v = too_large ? 0 : value_->get<int64_t>();
  if (too_large || v < min || v > max) {
    const bool unbounded = max >= std::numeric_limits<int32_t>::max();
    if (unbounded && !too_large && v < min) fail_expected(fmt::format("an integer of at least {}", min));
    fail_expected(fmt::format("an integer from {} to {}", min, max));
  }
  return v;
}

uint64_t JsonView::unsigned_integer(uint64_t min, uint64_t max) const {
  if (!value_->is_number_integer()) fail_expected("an integer");
  const bool negative = !value_->is_number_unsigned() && value_->get<int64_t>() < 0;
  const uint64_t v = negative ? 0 : value_->get<uint64_t>();
  if (negative || v < min || v > max) fail_expected(fmt::format("an integer from {} to {}", min, max));
  return v;
}

std::vector<double> JsonView::numbers() const {
  return array_of([](const JsonView& v) { return v.number(); });
}

std::vector<std::string> JsonView::strings() const {
  return array_of([](const JsonView& v) { return v.string(); });
}

bool JsonView::boolean_or(std::string_view key, bool fallback) const {
  const auto found = find(key);
  return found ? found->boolean() : fallback;
}

std::string JsonView::string_or(std::string_view key, std::string fallback) const {
  const auto found = find(key);
  return found ? found->string() : std::move(fallback);
}

double JsonView::number_or(std::string_view key, double fallback) const {
  const auto found = find(key);
  return found ? found->number() : fallback;
}

}  // namespace genkit
