#include "genkit/ops/primitive.h"

#include <mlx/backend/cpu/encoder.h>
#include <mlx/device.h>
#include <mlx/ops.h>
#include <mlx/stream.h>
#include <mlx/transforms.h>
#include <mlx/utils.h>

#include <cstring>

#include "genkit/base/error.h"
#include "genkit/ops/kept_buffers.h"

namespace genkit::ops {
namespace {

// Copies `a`, of any strides, into `out` row by row.
void copy_strided(const mx::array& a, char* out) {
  const size_t item = a.itemsize();
  const auto& shape = a.shape();
  const auto& strides = a.strides();
  const int dims = static_cast<int>(a.ndim());
  const int64_t inner = dims ? shape[dims - 1] : 1;
  const int64_t inner_stride = dims ? strides[dims - 1] : 1;
  const int64_t outer = inner ? static_cast<int64_t>(a.size()) / inner : 0;
  std::vector<int64_t> index(dims, 0);
  const char* base = a.data<char>();
  for (int64_t row = 0; row < outer; ++row) {
    int64_t offset = 0;
    for (int d = 0; d + 1 < dims; ++d) offset += index[d] * strides[d];
    const char* from = base + offset * static_cast<int64_t>(item);
    if (inner_stride == 1) {
      std::memcpy(out, from, inner * item);
    } else {
      for (int64_t i = 0; i < inner; ++i)
        std::memcpy(out + i * item, from + i * inner_stride * static_cast<int64_t>(item), item);
    }
    out += inner * item;
    for (int d = dims - 2; d >= 0 && ++index[d] == shape[d]; --d) index[d] = 0;
  }
}

}  // namespace

bool on_cpu() { return mx::default_device() == mx::Device::cpu; }

mx::Stream cpu_stream() { return mx::default_stream(mx::Device::cpu); }

mx::array to_f32(const mx::array& a) { return a.dtype() == mx::float32 ? a : mx::astype(a, mx::float32); }

void allocate(mx::array& out) { out.set_data(kept_malloc(out.nbytes())); }

void dispatch(const mx::Stream& stream, std::function<void()> work) {
  mx::cpu::get_command_encoder(stream).dispatch(std::move(work));
}

mx::array row_major(const mx::Stream& stream, const mx::array& a) {
  if (a.flags().row_contiguous || a.size() == 0) return a;
  mx::array copy(a.shape(), a.dtype(), nullptr, {});
  allocate(copy);
  mx::cpu::get_command_encoder(stream).add_temporary(copy);
  dispatch(stream,
           [from = mx::array::unsafe_weak_copy(a), to = copy.data<char>()] { copy_strided(from, to); });
  return copy;
}

std::string to_string(const mx::Shape& shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

void CpuPrimitive::eval_gpu(const std::vector<mx::array>&, std::vector<mx::array>&) {
  throw ArgumentError(std::string(name()) + ": built for the CPU, evaluated on another device");
}

std::vector<mx::array> CpuPrimitive::composed(const std::vector<mx::array>&) const {
  throw ArgumentError(std::string(const_cast<CpuPrimitive*>(this)->name()) + ": has no gradient");
}

namespace {

// composed() as a function of the arguments `argnums` alone, the others as they are.
std::function<std::vector<mx::array>(const std::vector<mx::array>&)> restricted(
    std::function<std::vector<mx::array>(const std::vector<mx::array>&)> whole,
    const std::vector<mx::array>& primals, const std::vector<int>& argnums) {
  return [whole = std::move(whole), primals, argnums](const std::vector<mx::array>& some) {
    auto all = primals;
    for (size_t i = 0; i < argnums.size(); ++i) all[argnums[i]] = some[i];
    return whole(all);
  };
}

std::vector<mx::array> chosen(const std::vector<mx::array>& primals, const std::vector<int>& argnums) {
  std::vector<mx::array> some;
  for (const int i : argnums) some.push_back(primals[i]);
  return some;
}

}  // namespace

std::vector<mx::array> CpuPrimitive::jvp(const std::vector<mx::array>& primals,
                                         const std::vector<mx::array>& tangents,
                                         const std::vector<int>& argnums) {
  auto whole = [this](const std::vector<mx::array>& inputs) { return composed(inputs); };
  return mx::jvp(restricted(whole, primals, argnums), chosen(primals, argnums), tangents).second;
}

std::vector<mx::array> CpuPrimitive::vjp(const std::vector<mx::array>& primals,
                                         const std::vector<mx::array>& cotangents,
                                         const std::vector<int>& argnums, const std::vector<mx::array>&) {
  auto whole = [this](const std::vector<mx::array>& inputs) { return composed(inputs); };
  return mx::vjp(restricted(whole, primals, argnums), chosen(primals, argnums), cotangents).second;
}

std::vector<mx::array> gradients_of(const char* name, const std::vector<mx::array>& gradients,
                                    const std::vector<int>& argnums) {
  std::vector<mx::array> some;
  for (const int i : argnums) {
    if (i >= static_cast<int>(gradients.size()))
      throw ArgumentError(std::string(name) + ": input " + std::to_string(i) + " has no gradient");
    some.push_back(gradients[i]);
  }
  return some;
}

std::vector<mx::array> FunctionPrimitive::composed(const std::vector<mx::array>& inputs) const {
  if (!functions_.composed) return CpuPrimitive::composed(inputs);
  return functions_.composed(inputs);
}

std::vector<mx::array> FunctionPrimitive::vjp(const std::vector<mx::array>& primals,
                                              const std::vector<mx::array>& cotangents,
                                              const std::vector<int>& argnums,
                                              const std::vector<mx::array>& outputs) {
  if (!functions_.gradient) return CpuPrimitive::vjp(primals, cotangents, argnums, outputs);
  return gradients_of(name_, functions_.gradient({primals, cotangents, outputs}), argnums);
}

std::vector<mx::array> function_node(const char* name, std::vector<mx::array> inputs,
                                     std::vector<mx::Shape> shapes, std::vector<mx::Dtype> dtypes,
                                     NodeFunctions functions) {
  return mx::array::make_arrays(std::move(shapes), dtypes,
                                std::make_shared<FunctionPrimitive>(cpu_stream(), name, std::move(functions)),
                                std::move(inputs));
}

}  // namespace genkit::ops
