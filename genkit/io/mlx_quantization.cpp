#include "genkit/io/mlx_quantization.h"

#include <fmt/format.h>
#include <mlx/allocator.h>
#include <mlx/ops.h>

#include <cstring>

#include "genkit/base/error.h"
#include "genkit/base/json_reader.h"
#include "genkit/base/nearest.h"

namespace genkit::io {
namespace {

namespace mx = mlx::core;

MlxLayer read_layer(const JsonView& json, MlxLayer layer) {
  const std::string mode = json.string_or("mode", layer.mode == MlxMode::kMxfp4 ? "mxfp4" : "affine");
  if (mode != "affine" && mode != "mxfp4") {
    json.at("mode").fail(fmt::format("\"{}\" is not supported; affine and mxfp4 are", printable(mode)));
  }
  layer.mode = mode == "mxfp4" ? MlxMode::kMxfp4 : MlxMode::kAffine;
  if (layer.mode == MlxMode::kMxfp4) {
    layer.bits = 4;
    layer.group_size = 32;
  }
  if (const auto bits = json.find("bits")) layer.bits = bits->integer<int>();
  if (const auto group = json.find("group_size")) layer.group_size = group->integer<int>();
  const bool bits_known = layer.bits >= 2 && layer.bits <= 8 && layer.bits != 7;
  const bool group_known = layer.group_size == 32 || layer.group_size == 64 || layer.group_size == 128;
  if (layer.mode == MlxMode::kMxfp4 && (layer.bits != 4 || layer.group_size != 32)) {
    json.fail(fmt::format("mxfp4 has 4 bits in groups of 32, got {} in groups of {}", layer.bits,
                          layer.group_size));
  }
  if (!bits_known) json.at("bits").fail_expected("2, 3, 4, 5, 6 or 8");
  if (!group_known) json.at("group_size").fail_expected("32, 64 or 128");
  return layer;
}

// GGUF's blocks of 32: the scale's exponent, then 16 bytes with number j in the low and number
// j + 16 in the high nibble of byte j. MLX: exponents apart, nibbles in order.
mx::array mxfp4_blocks(const mx::array& words, const mx::array& scales, const mx::Shape& shape) {
  mx::Shape out_shape = shape;
  out_shape.back() = shape.back() / 32 * 17;
  mx::array out(mx::allocator::malloc(scales.size() * 17), out_shape, mx::uint8);
  const auto* nibbles = reinterpret_cast<const uint8_t*>(words.data<uint32_t>());
  const auto nibble = [](const uint8_t* from, int i) { return (from[i / 2] >> (4 * (i % 2))) & 15; };
  for (size_t b = 0; b < scales.size(); ++b) {
    const uint8_t* from = nibbles + 16 * b;
    uint8_t* to = out.data<uint8_t>() + 17 * b;
    to[0] = scales.data<uint8_t>()[b];
    for (int j = 0; j < 16; ++j) to[1 + j] = uint8_t(nibble(from, j) | nibble(from, j + 16) << 4);
  }
  return out;
}

}  // namespace

std::optional<MlxQuantization> MlxQuantization::from_config(const nlohmann::json& config,
                                                            const std::string& file) {
  const JsonView whole(config, file);
  const char* key = "quantization";
  if (!whole.find(key)) key = "quantization_config";
  const auto json = whole.find(key);
  if (!json) return std::nullopt;
  if (!json->is_object()) json->fail_expected("an object");
  if (const auto method = json->find("quant_method")) {
    method->fail(
        fmt::format("\"{}\" is not supported; quantised weights are read from GGUF files and MLX folders",
                    printable(method->string())));
  }
  MlxQuantization quantization;
  json->at("bits");
  quantization.default_ = read_layer(*json, {});
  json->for_each([&](const std::string& name, const JsonView& value) {
    // `false` marks layers left alone, which have no scales either.
    if (value.is_object()) quantization.layers_[name] = read_layer(value, quantization.default_);
  });
  return quantization;
}

MlxLayer MlxQuantization::layer(const std::string& name) const {
  const auto it = layers_.find(name);
  return it == layers_.end() ? default_ : it->second;
}

TensorEntry mlx_entry(const MlxLayer& layer, const mx::array& words, const mx::array& scales,
                      const std::optional<mx::array>& biases, const std::string& origin) {
  const auto fail = [&](const std::string& message) { throw FormatError(origin + ": " + message); };
  if (words.dtype() != mx::uint32 || words.ndim() < 2) fail("expected a quantised matrix of dtype U32");
  const int64_t in = int64_t(words.shape().back()) * 32 / layer.bits;
  mx::Shape scale_shape = words.shape();
  scale_shape.back() = int(in / layer.group_size);
  const bool whole = in % layer.group_size == 0 && in * layer.bits == int64_t(words.shape().back()) * 32;
  if (!whole || scales.shape() != scale_shape) {
    fail(fmt::format("weight [{}] and scales [{}] do not fit {} bits in groups of {}",
                     fmt::join(words.shape().begin(), words.shape().end(), ", "),
                     fmt::join(scales.shape().begin(), scales.shape().end(), ", "), layer.bits,
                     layer.group_size));
  }
  TensorEntry entry;
  entry.origin = origin;
  entry.shape = words.shape();
  entry.shape.back() = int(in);
  if (layer.mode == MlxMode::kMxfp4) {
    if (scales.dtype() != mx::uint8) fail("expected scales of dtype U8 for mxfp4");
    entry.load = [words, scales, shape = entry.shape] {
      ops::Weight w;
      w.format = WeightFormat::kMXFP4;
      w.shape = shape;
      w.data = mxfp4_blocks(words, scales, shape);
      return w;
    };
    return entry;
  }
  if (!biases) fail("there are scales but no biases");
  if (biases->shape() != scale_shape || biases->dtype() != scales.dtype()) {
    fail("biases differ from scales in shape or dtype");
  }
  if (!mx::issubdtype(scales.dtype(), mx::floating) || scales.dtype() == mx::float64) {
    fail("expected scales of dtype F32, F16 or BF16");
  }
  entry.load = [layer, words, scales, biases, shape = entry.shape] {
    ops::Weight w;
    w.format = WeightFormat::kAffine;
    w.shape = shape;
    w.data = words;
    w.scales = scales;
    w.biases = biases;
    w.bits = layer.bits;
    w.group_size = layer.group_size;
    return w;
  };
  return entry;
}

}  // namespace genkit::io
