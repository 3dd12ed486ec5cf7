#include "genkit/generate/prefix_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <string>

#include "genkit/base/error.h"
#include "genkit/base/nearest.h"
#include "genkit/io/safetensors.h"

namespace genkit::generate {
namespace {

namespace mx = mlx::core;

constexpr const char* kFormat = "mlx-genkit prompt cache";
// 2: a tensor `steering`. A file without one says 1, which older programs read.
constexpr int kVersion = 2;

/// Keys and values of positions [begin, end) of a layer.
void add_positions(std::map<std::string, mx::array>& tensors, const std::string& layer,
                   const std::string& prefix, const ops::KvStore& store, int begin, int end) {
  const ops::KvShape& shape = store.shape();
  const size_t positions = static_cast<size_t>(end - begin);
  std::vector<float> keys(positions * shape.kv_heads * shape.head_dim);
  std::vector<float> values(positions * shape.kv_heads * shape.value_dim);
  store.copy_out(begin, end, keys.data(), values.data());
  tensors.emplace(layer + prefix + "keys",
                  mx::array(keys.data(), {end - begin, shape.kv_heads, shape.head_dim}, mx::float32));
  tensors.emplace(layer + prefix + "values",
                  mx::array(values.data(), {end - begin, shape.kv_heads, shape.value_dim}, mx::float32));
}

/// A prompt cache file on its way to a row; every complaint names the file and the field.
class Reader {
 public:
  Reader(const std::filesystem::path& path, const models::Model& model)
      : path_(path), model_(model), file_(io::SafetensorsFile::open(path)) {}

  KeptPrefix read() {
    check_origin();
    KeptPrefix kept;
    kept.tokens = tokens();
    kept.marks = marks(kept.tokens.size());
    kept.rope_length = number("rope_length", 1);
    kept.row.bound = {number("max_kv_size", 0), number("num_sink_tokens", 0)};
    if (kept.row.bound.max_size > 0 && kept.row.bound.sinks >= kept.row.bound.max_size) {
      fail("num_sink_tokens", fmt::format("expected fewer than max_kv_size ({}), got {}",
                                          kept.row.bound.max_size, kept.row.bound.sinks));
    }
    if (kept.row.bound.max_size == 0 && kept.row.bound.sinks > 0)
      fail("num_sink_tokens", "without max_kv_size");
    cache::KvCache cache = model_.make_cache();
    const int slot = cache.add_row(kept.row.bound);
    for (int layer = 0; layer < cache.num_layers(); ++layer) {
      read_layer(fmt::format("layers.{}.", layer), static_cast<int>(kept.tokens.size()),
                 *cache.store(slot, layer));
    }
    if (used_ != file_->tensors().size()) {
      fail("layers",
           fmt::format("holds {} tensors, the model has use for {}", file_->tensors().size(), used_));
    }
    kept.row = cache.snapshot(slot);
    return kept;
  }

 private:
  [[noreturn]] void fail(const std::string& field, const std::string& what) const {
    throw FormatError(fmt::format("{}: {}: {}", path_.string(), field, what));
  }

  const std::string& text(const char* field) const {
    const auto found = file_->metadata().find(field);
    if (found == file_->metadata().end()) fail(field, "missing");
    return found->second;
  }

  int number(const char* field, int least) const {
    const std::string& written = text(field);
    int value = 0;
    const auto [end, error] = std::from_chars(written.data(), written.data() + written.size(), value);
    if (error != std::errc() || end != written.data() + written.size() || value < least) {
      fail(field, fmt::format("expected an integer of at least {}, got {}", least, printable(written)));
    }
    return value;
  }

  void check_origin() const {
    const auto format = file_->metadata().find("format");
    if (format == file_->metadata().end() || format->second != kFormat) {
      throw FormatError(fmt::format("{}: format: no prompt cache of this program", path_.string()));
    }
    if (const int version = number("version", 1); version > kVersion) {
      fail("version",
           fmt::format("{} is later than {}, the latest that this program knows", version, kVersion));
    }
    const std::string& model = text("model");
    if (model != model_.fingerprint()) {
      fail("model", fmt::format("made by another model ({} {}), not by this one ({} {})",
                                printable(text("model_type")), printable(model), model_.config().model_type,
                                model_.fingerprint()));
    }
  }

  std::vector<int32_t> tokens() {
    const auto found = file_->tensors().find("tokens");
    if (found == file_->tensors().end()) fail("tokens", "missing");
    const io::SafetensorsEntry& entry = found->second;
    if (entry.dtype != mx::int32 || entry.shape.size() != 1 || entry.shape[0] < 1) {
      fail("tokens", "expected a list of int32");
    }
    mx::array ids = file_->array("tokens");
    ids.eval();
    const std::vector<int32_t> out(ids.data<int32_t>(), ids.data<int32_t>() + ids.size());
    const int vocab = model_.config().vocab_size;
    for (size_t i = 0; i < out.size(); ++i) {
      if (out[i] >= 0 && out[i] < vocab) continue;
      fail("tokens", fmt::format("id {} at position {} is outside the vocabulary of {}", out[i], i, vocab));
    }
    ++used_;
    return out;
  }

  std::vector<models::KvMark> marks(size_t count) {
    const auto found = file_->tensors().find("steering");
    if (found == file_->tensors().end()) return {};
    const io::SafetensorsEntry& entry = found->second;
    if (entry.dtype != mx::uint64 || entry.shape.size() != 1 ||
        static_cast<size_t>(entry.shape[0]) != count) {
      fail("steering", fmt::format("expected uint64 of shape [{}], one a token", count));
    }
    mx::array marks = file_->array("steering");
    marks.eval();
    ++used_;
    return {marks.data<uint64_t>(), marks.data<uint64_t>() + marks.size()};
  }

  /// The tensor's positions, where the rest of its shape is as it must be.
  int positions(const std::string& name, int heads, int dim) const {
    const auto found = file_->tensors().find(name);
    if (found == file_->tensors().end()) fail(name, "missing");
    const io::SafetensorsEntry& entry = found->second;
    const bool fits = entry.dtype == mx::float32 && entry.shape.size() == 3 && entry.shape[1] == heads &&
                      entry.shape[2] == dim;
    if (!fits) fail(name, fmt::format("expected float32 of shape [positions, {}, {}]", heads, dim));
    return entry.shape[0];
  }

  mx::array floats(const std::string& name) {
    ++used_;
    mx::array a = file_->array(name);
    a.eval();
    return a;
  }

  void read_layer(const std::string& layer, int length, ops::KvStore& store) {
    const ops::KvShape& shape = store.shape();
    const int held = positions(layer + "keys", shape.kv_heads, shape.head_dim);
    if (positions(layer + "values", shape.kv_heads, shape.value_dim) != held) {
      fail(layer + "values", "has not as many positions as the keys");
    }
    const int first = length - held;
    if (first < 0 || first > store.oldest_seen(length) || first % ops::KvPage::kPageTokens != 0) {
      fail(layer + "keys",
           fmt::format("{} positions of {} tokens are not what this layer keeps", held, length));
    }
    if (first > 0) {
      const int sinks = std::min(store.bound().sinks, first);
      std::optional<mx::array> keys, values;
      if (sinks > 0) {
        if (positions(layer + "sink_keys", shape.kv_heads, shape.head_dim) != sinks ||
            positions(layer + "sink_values", shape.kv_heads, shape.value_dim) != sinks) {
          fail(layer + "sink_keys", fmt::format("expected {} positions", sinks));
        }
        keys = floats(layer + "sink_keys");
        values = floats(layer + "sink_values");
      }
      store.begin_at(first, keys ? keys->data<float>() : nullptr, values ? values->data<float>() : nullptr);
    }
    const mx::array keys = floats(layer + "keys"), values = floats(layer + "values");
    store.append(keys.data<float>(), values.data<float>(), held);
  }

  std::filesystem::path path_;
  const models::Model& model_;
  std::shared_ptr<const io::SafetensorsFile> file_;
  size_t used_ = 0;  ///< tensors that were read
};

}  // namespace

void save_prefix(const std::filesystem::path& path, const KeptPrefix& kept, const models::Model& model) {
  const std::map<std::string, std::string> metadata = {
      {"format", kFormat},
      {"version", std::to_string(kept.marks.empty() ? 1 : kVersion)},
      {"model", model.fingerprint()},
      {"model_type", model.config().model_type},
      {"rope_length", std::to_string(kept.rope_length)},
      {"max_kv_size", std::to_string(kept.row.bound.max_size)},
      {"num_sink_tokens", std::to_string(kept.row.bound.sinks)}};
  std::map<std::string, mx::array> tensors;
  tensors.emplace("tokens", mx::array(kept.tokens.data(), {static_cast<int>(kept.tokens.size())}, mx::int32));
  if (!kept.marks.empty()) {
    tensors.emplace("steering",
                    mx::array(kept.marks.data(), {static_cast<int>(kept.marks.size())}, mx::uint64));
  }
  for (size_t i = 0; i < kept.row.layers.size(); ++i) {
    const ops::KvStore& store = *kept.row.layers[i];
    const std::string layer = fmt::format("layers.{}.", i);
    add_positions(tensors, layer, "", store, store.first(), store.length());
    if (store.sinks_apart() > 0) add_positions(tensors, layer, "sink_", store, 0, store.sinks_apart());
  }
  io::save_safetensors(path, tensors, metadata);
}

KeptPrefix load_prefix(const std::filesystem::path& path, const models::Model& model) {
  return Reader(path, model).read();
}

}  // namespace genkit::generate
