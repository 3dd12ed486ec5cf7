#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "genkit/io/gguf_reader.h"

namespace genkit::io::testing {

/// Bytes of a GGUF file, put together by hand, so that tests can also write files no writer would.
class GgufBuilder {
 public:
  template <typename T>
  static std::string raw(T value) {
    return std::string(reinterpret_cast<const char*>(&value), sizeof value);
  }
  static std::string text(const std::string& s) { return raw(uint64_t(s.size())) + s; }

  GgufBuilder& value(const std::string& key, GgufType type, const std::string& bytes) {
    pairs_ += text(key) + raw(uint32_t(type)) + bytes;
    ++pair_count;
    return *this;
  }
  GgufBuilder& set(const std::string& key, const std::string& s) {
    return value(key, GgufType::kString, text(s));
  }
  GgufBuilder& set(const std::string& key, const char* s) { return set(key, std::string(s)); }
  GgufBuilder& set(const std::string& key, uint32_t v) { return value(key, GgufType::kUint32, raw(v)); }
  GgufBuilder& set(const std::string& key, float v) { return value(key, GgufType::kFloat32, raw(v)); }
  GgufBuilder& set(const std::string& key, bool v) { return value(key, GgufType::kBool, raw(uint8_t(v))); }
  template <typename T>
  GgufBuilder& array(const std::string& key, GgufType element, const std::vector<T>& values) {
    std::string bytes = raw(uint32_t(element)) + raw(uint64_t(values.size()));
    for (const T& v : values) bytes += raw(v);
    return value(key, GgufType::kArray, bytes);
  }
  GgufBuilder& strings(const std::string& key, const std::vector<std::string>& values) {
    std::string bytes = raw(uint32_t(GgufType::kString)) + raw(uint64_t(values.size()));
    for (const auto& v : values) bytes += text(v);
    return value(key, GgufType::kArray, bytes);
  }

  /// @param shape outermost first. @param type ggml's code. @param data its bytes.
  GgufBuilder& tensor(const std::string& name, const std::vector<uint64_t>& shape, uint32_t type,
                      const std::string& data) {
    while (data_.size() % alignment != 0) data_ += '\0';
    return tensor_at(name, shape, type, data_.size(), data);
  }
  GgufBuilder& tensor_at(const std::string& name, const std::vector<uint64_t>& shape, uint32_t type,
                         uint64_t offset, const std::string& data) {
    infos_ += text(name) + raw(uint32_t(shape.size()));
    for (size_t i = shape.size(); i-- > 0;) infos_ += raw(shape[i]);
    infos_ += raw(type) + raw(offset);
    data_ += data;
    ++tensor_count;
    return *this;
  }
  GgufBuilder& floats(const std::string& name, const std::vector<uint64_t>& shape,
                      const std::vector<float>& values) {
    return tensor(name, shape, 0,
                  std::string(reinterpret_cast<const char*>(values.data()), values.size() * 4));
  }

  std::string bytes() const {
    std::string out = magic + raw(version) + raw(tensor_count) + raw(pair_count) + pairs_ + infos_;
    while (out.size() % alignment != 0) out += '\0';
    return out + data_;
  }

  std::string magic = "GGUF";
  uint32_t version = 3;
  uint64_t tensor_count = 0;  ///< written as they stand: change them to lie
  uint64_t pair_count = 0;
  size_t alignment = 32;

 private:
  std::string pairs_, infos_, data_;
};

}  // namespace genkit::io::testing
