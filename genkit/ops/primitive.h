#pragma once

#include <mlx/array.h>
#include <mlx/primitives.h>

#include <functional>
#include <string>
#include <vector>

// Shared by the primitives of this folder; not part of the library's interface.

namespace genkit::ops {

namespace mx = mlx::core;

/// True when operations built now run on the CPU, where the kernels are; elsewhere the composed
/// form is built instead.
bool on_cpu();

/// A node whose kernel runs on a CPU stream. Gradients are those of composed().
class CpuPrimitive : public mx::Primitive {
 public:
  explicit CpuPrimitive(mx::Stream stream) : mx::Primitive(stream) {}

  void eval_gpu(const std::vector<mx::array>& inputs, std::vector<mx::array>& outputs) override;
  std::vector<mx::array> jvp(const std::vector<mx::array>& primals, const std::vector<mx::array>& tangents,
                             const std::vector<int>& argnums) override;
  std::vector<mx::array> vjp(const std::vector<mx::array>& primals, const std::vector<mx::array>& cotangents,
                             const std::vector<int>& argnums, const std::vector<mx::array>& outputs) override;

 protected:
  /// The same operation in MLX's own. @throws ArgumentError where there is none to differentiate.
  virtual std::vector<mx::array> composed(const std::vector<mx::array>& inputs) const;
};

/// What a primitive's gradient is made of.
struct Gradient {
  const std::vector<mx::array>& inputs;
  const std::vector<mx::array>& cotangents;  ///< of every output
  const std::vector<mx::array>& outputs;
};

/// The functions that a FunctionPrimitive is made of.
struct NodeFunctions {
  std::function<void(const mx::Stream& stream, const std::vector<mx::array>& inputs,
                     std::vector<mx::array>& outputs)>
      evaluate;
  /// The same in MLX's own operations; null where nothing is differentiated through them.
  std::function<std::vector<mx::array>(const std::vector<mx::array>&)> composed;
  /// Gradients of the leading inputs, those that have one, as nodes that run kernels. Null: those of
  /// composed().
  std::function<std::vector<mx::array>(const Gradient&)> gradient;
};

/// A node made of functions: for operations with nothing to remember but what those capture.
class FunctionPrimitive : public CpuPrimitive {
 public:
  FunctionPrimitive(mx::Stream stream, const char* name, NodeFunctions functions)
      : CpuPrimitive(stream), name_(name), functions_(std::move(functions)) {}
  const char* name() const override { return name_; }
  void eval_cpu(const std::vector<mx::array>& inputs, std::vector<mx::array>& outputs) override {
    functions_.evaluate(stream(), inputs, outputs);
  }
  std::vector<mx::array> vjp(const std::vector<mx::array>& primals, const std::vector<mx::array>& cotangents,
                             const std::vector<int>& argnums, const std::vector<mx::array>& outputs) override;

 protected:
  std::vector<mx::array> composed(const std::vector<mx::array>& inputs) const override;

 private:
  const char* name_;
  NodeFunctions functions_;
};

/// The outputs of a FunctionPrimitive on the CPU stream.
std::vector<mx::array> function_node(const char* name, std::vector<mx::array> inputs,
                                     std::vector<mx::Shape> shapes, std::vector<mx::Dtype> dtypes,
                                     NodeFunctions functions);

/// Those of a primitive's gradients that were asked for. @param gradients of its leading inputs.
std::vector<mx::array> gradients_of(const char* name, const std::vector<mx::array>& gradients,
                                    const std::vector<int>& argnums);

/// `a` as float32, itself when it is already.
mx::array to_f32(const mx::array& a);

/// The CPU stream that new nodes go to.
mx::Stream cpu_stream();

/// Memory for an output that a kernel is about to fill.
void allocate(mx::array& out);

/// Runs `work` on the primitive's stream after everything queued before it. MLX keeps the buffers
/// of the node's inputs and outputs until then, so the work holds plain pointers to them.
void dispatch(const mx::Stream& stream, std::function<void()> work);

/// `a` itself when its numbers lie row after row without gaps, otherwise a copy that does,
/// filled on the stream before anything dispatched later.
mx::array row_major(const mx::Stream& stream, const mx::array& a);

/// "[2, 3]" for messages.
std::string to_string(const mx::Shape& shape);

}  // namespace genkit::ops
