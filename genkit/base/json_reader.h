#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <initializer_list>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "genkit/base/error.h"

namespace genkit {

/// What a JSON text may be. The defaults fit every configuration file; readers of larger files
/// (a safetensors header, an index of shards) raise `max_bytes`.
struct JsonLimits {
  size_t max_bytes = size_t{64} << 20;
  int max_depth = 128;
  /// Python writes NaN, Infinity and -Infinity, which JSON does not have. They are refused by
  /// name unless the file's reader knows a field that means them.
  bool allow_non_finite = false;
};

/// Parses strict JSON: one value, valid UTF-8, no comments, no key twice in one object.
/// @param name what messages call the text: a file's name, "--generation-config".
/// @throws FormatError "NAME: line L, column C: REASON".
nlohmann::json parse_json(std::string_view text, const std::string& name, const JsonLimits& limits = {});

/// Reads and parses a file; messages use its file name (without the folder).
/// @throws IoError when it cannot be read; FormatError as parse_json, and when it is too large.
nlohmann::json read_json_file(const std::filesystem::path& path, const JsonLimits& limits = {});

/// "a string", "an object", ...: for messages.
const char* json_type_name(const nlohmann::json& value);

/// A JSON value together with the way that leads to it, so that every complaint can say where:
/// "config.json: rope_scaling.factor: expected a number, got a string". Cheap to copy; refers to
/// the value, which must outlive it.
///
///   JsonView config(json, "config.json");
///   int layers = config.at("num_hidden_layers").integer<int>(1, 10000);
///   double theta = config.number_or("rope_theta", 10000.0);
///   config.at("rope_scaling").refuse_unknown_keys({"rope_type", "factor"});
class JsonView {
 public:
  /// Who is to blame, which decides the exception's type.
  enum class Blame : uint8_t {
    kFile,    ///< FormatError
    kCaller,  ///< ArgumentError
  };

  /// @param name stands before the path in messages; may be empty.
  JsonView(const nlohmann::json& value, std::string name, Blame blame = Blame::kFile)
      : value_(&value), name_(std::move(name)), blame_(blame) {}
  JsonView(nlohmann::json&&, std::string, Blame = Blame::kFile) = delete;

  const nlohmann::json& json() const { return *value_; }
  /// "rope_scaling.factor", "layers[3]"; empty at the top.
  const std::string& path() const { return path_; }
  bool is_null() const { return value_->is_null(); }
  bool is_object() const { return value_->is_object(); }
  bool is_array() const { return value_->is_array(); }
  bool is_string() const { return value_->is_string(); }
  bool is_number() const { return value_->is_number(); }

  /// @throws "NAME: PATH: WHAT" of the type that `blame` says.
  [[noreturn]] void fail(const std::string& what) const;
  /// fail("expected EXPECTED, got <the type, or the value of a number>").
  [[noreturn]] void fail_expected(const std::string& expected) const;

  // Objects. A key whose value is null counts as absent for find() and the *_or getters, which is
  // how transformers reads its own files.
  bool has(std::string_view key) const;
  JsonView at(std::string_view key) const;  ///< @throws "...: KEY: missing"; null is returned as it is
  std::optional<JsonView> find(std::string_view key) const;
  /// Calls `visit(key, value)` for every member, in the order of the keys.
  void for_each(const std::function<void(const std::string&, const JsonView&)>& visit) const;
  /// @throws for the first key that is not in `known`, suggesting the nearest one that is.
  void refuse_unknown_keys(std::span<const std::string_view> known) const;
  void refuse_unknown_keys(std::initializer_list<std::string_view> known) const {
    refuse_unknown_keys(std::span<const std::string_view>(known.begin(), known.size()));
  }

  // Arrays.
  size_t size() const;  ///< of an array or object
  JsonView at(size_t index) const;
  template <class Read>
  auto array_of(Read read) const -> std::vector<std::decay_t<decltype(read(std::declval<JsonView>()))>> {
    std::vector<std::decay_t<decltype(read(std::declval<JsonView>()))>> out;
    const size_t count = array_size();
    out.reserve(count);
    for (size_t i = 0; i < count; ++i) out.push_back(read(at(i)));
    return out;
  }

  // Values. No conversion is silent: 1.0 is not an integer, 1 is not a boolean, "1" is no number.
  bool boolean() const;
  std::string string() const;
  /// A finite number in [min, max], or NaN and infinities too where the text was parsed with
  /// allow_non_finite and the bounds are left infinite.
  double number(double min = -std::numeric_limits<double>::infinity(),
                double max = std::numeric_limits<double>::infinity()) const;
  template <class T = int64_t>
  T integer(T min = std::numeric_limits<T>::min(), T max = std::numeric_limits<T>::max()) const {
    static_assert(std::is_integral_v<T> && !std::is_same_v<T, bool>);
    if constexpr (std::is_unsigned_v<T>) return static_cast<T>(unsigned_integer(min, max));
    return static_cast<T>(signed_integer(min, max));
  }
  template <class T = int64_t>
  std::vector<T> integers(T min = std::numeric_limits<T>::min(),
                          T max = std::numeric_limits<T>::max()) const {
    return array_of([&](const JsonView& v) { return v.integer<T>(min, max); });
  }
  std::vector<double> numbers() const;
  std::vector<std::string> strings() const;

  bool boolean_or(std::string_view key, bool fallback) const;
  std::string string_or(std::string_view key, std::string fallback) const;
  double number_or(std::string_view key, double fallback) const;
  template <class T>
  T integer_or(std::string_view key, T fallback, T min = std::numeric_limits<T>::min(),
               T max = std::numeric_limits<T>::max()) const {
    const auto found = find(key);
    return found ? found->template integer<T>(min, max) : fallback;
  }

 private:
  JsonView(const nlohmann::json& value, std::string name, Blame blame, std::string path)
      : value_(&value), name_(std::move(name)), path_(std::move(path)), blame_(blame) {}
  JsonView child(const nlohmann::json& value, std::string_view key) const;
  std::string child_path(std::string_view key) const;
  const nlohmann::json& object() const;
  size_t array_size() const;
  int64_t signed_integer(int64_t min, int64_t max) const;
  uint64_t unsigned_integer(uint64_t min, uint64_t max) const;

  const nlohmann::json* value_;
  std::string name_;
  std::string path_;
  Blame blame_;
};

}  // namespace genkit
