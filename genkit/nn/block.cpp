#include "genkit/nn/block.h"

#include <mlx/transforms.h>

#include <algorithm>

#include "genkit/nn/block_inl.h"
#include "genkit/nn/graph_ops.h"
#include "genkit/nn/kernel_ops.h"
#include "genkit/ops/primitive.h"

namespace genkit::nn {
namespace {

// True when a kernel can read the numbers now, and as a constant.
bool at_hand(const mx::array& a) { return !a.is_tracer() && a.is_available() && a.flags().row_contiguous; }
bool at_hand(const std::optional<mx::array>& a) { return !a || at_hand(*a); }
bool at_hand(const ops::Weight& w) { return at_hand(w.data) && at_hand(w.scales) && at_hand(w.biases); }
bool at_hand(const Linear& l) { return at_hand(l.weight) && at_hand(l.bias); }
bool at_hand(const Norm& n) { return at_hand(n.weight) && at_hand(n.bias); }
bool at_hand(const std::optional<Norm>& n) { return !n || at_hand(*n); }
bool at_hand(const GatedMlp& m) { return at_hand(m.gate) && at_hand(m.up) && at_hand(m.down); }
bool at_hand(const PlainMlp& m) { return at_hand(m.up) && at_hand(m.down); }
bool at_hand(const MoeMlp& m) {
  return at_hand(m.router) && at_hand(m.gate) && at_hand(m.up) && at_hand(m.down);
}
bool at_hand(const Mlp& mlp) {
  return std::visit([](const auto& m) { return at_hand(m); }, mlp);
}
bool at_hand(const Attention& a) {
  return std::all_of(a.qkv.begin(), a.qkv.end(), [](const Linear& l) { return at_hand(l); }) &&
         at_hand(a.out) && at_hand(a.q_norm) && at_hand(a.k_norm);
}
bool at_hand(const PreNormBlock& b) {
  return at_hand(b.attention_norm) && at_hand(b.attention) && at_hand(b.mlp_norm) && at_hand(b.mlp);
}
bool at_hand(const SandwichBlock& b) {
  return at_hand(b.attention_norm) && at_hand(b.attention) && at_hand(b.post_attention_norm) &&
         at_hand(b.mlp_norm) && at_hand(b.mlp) && at_hand(b.post_mlp_norm);
}
bool at_hand(const PostNormBlock& b) {
  return at_hand(b.attention) && at_hand(b.post_attention_norm) && at_hand(b.mlp) && at_hand(b.post_mlp_norm);
}
bool at_hand(const ParallelBlock& b) {
  return at_hand(b.attention_norm) && at_hand(b.attention) && at_hand(b.mlp_norm) && at_hand(b.mlp);
}

mx::array run_steps(const BlockRange& range, mx::array x, const AttentionContext& context) {
  for (int i = range.begin; i < range.end; ++i) {
    GraphOps ops(context, range.ends_pass && i + 1 == range.end && !context.wanted.empty());
    x = std::visit([&](const auto& b) { return detail::run_block(ops, b, x); }, (*range.blocks)[i]);
  }
  return x;
}

// All blocks of a range. Input: x. Holds the weights by their owner, so that a pass does not carry
// hundreds of inputs.
class Blocks : public ops::CpuPrimitive {
 public:
  Blocks(mx::Stream stream, BlockRange range, std::shared_ptr<const AttentionContext> context)
      : CpuPrimitive(stream), range_(std::move(range)), context_(std::move(context)) {}
  const char* name() const override { return "genkit::Blocks"; }

  void eval_cpu(const std::vector<mx::array>& inputs, std::vector<mx::array>& outputs) override {
    ops::allocate(outputs[0]);
    const mx::array x = ops::row_major(stream(), inputs[0]);
    ops::dispatch(stream(), [range = range_, context = context_, x = x.data<float>(), rows = x.shape(0),
                             width = x.shape(1),
                             out = outputs[0].data<float>()] { run(range, *context, x, rows, width, out); });
  }

 protected:
  std::vector<mx::array> composed(const std::vector<mx::array>& inputs) const override {
    return {run_steps(range_, inputs[0], *context_)};
  }

 private:
  static void run(const BlockRange& range, const AttentionContext& context, const float* from, int64_t rows,
                  int64_t width, float* out) {
    thread_local Arena arena;
    KernelOps ops(context, arena);
    Buffer x = ops.copy(from, rows, width);
    for (int i = range.begin; i < range.end; ++i) {
      ops.enter(range.ends_pass && i + 1 == range.end && !context.wanted.empty());
      x = std::visit([&](const auto& b) { return detail::run_block(ops, b, std::move(x)); },
                     (*range.blocks)[i]);
    }
    std::copy_n(x.data(), x.size(), out);
  }

  BlockRange range_;
  std::shared_ptr<const AttentionContext> context_;
};

}  // namespace

const Attention& attention_of(const Block& block) {
  return std::visit([](const auto& b) -> const Attention& { return b.attention; }, block);
}

bool can_fuse(const std::vector<Block>& blocks) {
  return ops::on_cpu() && std::all_of(blocks.begin(), blocks.end(), [](const Block& block) {
           return std::visit([](const auto& b) { return at_hand(b); }, block);
         });
}

mx::array run_blocks(const BlockRange& range, const mx::array& x,
                     const std::shared_ptr<const AttentionContext>& context, GraphForm form) {
  if (range.begin == range.end) return x;
  if (form == GraphForm::kSteps || x.is_tracer() || !ops::on_cpu()) return run_steps(range, x, *context);
  const bool drops = range.ends_pass && !context->wanted.empty();
  const int tokens = drops ? static_cast<int>(context->wanted_tokens().size()) : x.shape(0);
  return mx::array({tokens, x.shape(1)}, mx::float32,
                   std::make_shared<Blocks>(ops::cpu_stream(), range, context), {ops::to_f32(x)});
}

}  // namespace genkit::nn
