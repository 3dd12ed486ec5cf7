#include "genkit/nn/kernel_ops.h"

#include <algorithm>

#include "genkit/base/thread_pool.h"
#include "genkit/kernels/layers.h"
#include "genkit/kernels/linear.h"
#include "genkit/kernels/rotation.h"
#include "genkit/kernels/routing.h"
#include "genkit/ops/eager.h"

namespace genkit::nn {
namespace {

kernels::NormParams params_of(const Norm& norm) {
  return {norm.weight ? norm.weight->data<float>() : nullptr, norm.bias ? norm.bias->data<float>() : nullptr,
          norm.eps, norm.offset};
}

// Rows of x by themselves; x and out may be the same.
void run_norm(const Norm& norm, const float* x, int64_t rows, int64_t n, float* out) {
  if (norm.kind == Norm::Kind::kRms)
    kernels::rms_norm(x, rows, n, params_of(norm), out);
  else
    kernels::layer_norm(x, rows, n, params_of(norm), out);
}

bool is_one_rms_weight(const Norm& norm) {
  return norm.kind == Norm::Kind::kRms && norm.weight && norm.weight->ndim() == 1;
}

}  // namespace

KernelOps::KernelOps(const AttentionContext& context, Arena& arena)
    : context_(context), arena_(arena), wanted_(context.wanted_tokens()) {}

Buffer KernelOps::copy(const float* x, int64_t rows, int64_t width) {
  Buffer y = arena_.take(rows, width);
  std::copy_n(x, rows * width, y.data());
  return y;
}

Buffer KernelOps::wanted(const Buffer& x) {
  Buffer y = arena_.take(static_cast<int64_t>(wanted_.size()), x.width());
  for (size_t i = 0; i < wanted_.size(); ++i)
    std::copy_n(x.data() + wanted_[i] * x.width(), x.width(), y.data() + static_cast<int64_t>(i) * x.width());
  return y;
}

std::vector<Buffer> KernelOps::linear(const Buffer& x, std::initializer_list<const Linear*> layers) {
  std::vector<Buffer> outputs;
  std::vector<kernels::LinearTarget> targets;
  for (const Linear* layer : layers) {
    kernels::LinearTarget t;
    t.weight = ops::resident_rows(layer->weight);
    t.out = layer->weight.shape[0];
    t.bias = layer->bias ? layer->bias->data<float>() : nullptr;
    t.product = ops::product_of(layer->weight);
    t.cache = layer->weight.panels.get();
    t.y = outputs.emplace_back(arena_.take(x.rows(), t.out)).data();
    targets.push_back(t);
  }
  kernels::linear(x.data(), x.rows(), x.width(), targets);
  return outputs;
}

Buffer KernelOps::norm(const Norm& norm, const Buffer& x) {
  Buffer y = arena_.take(x.rows(), x.width());
  run_norm(norm, x.data(), x.rows(), x.width(), y.data());
  return y;
}

Buffer KernelOps::norm(const Norm& norm, Buffer&& x) {
  run_norm(norm, x.data(), x.rows(), x.width(), x.data());
  return std::move(x);
}

Buffer KernelOps::head_norm(const Norm& norm, Buffer x, int heads) {
  const int64_t dim = x.width() / heads, count = x.rows() * heads;
  if (!norm.weight || norm.weight->ndim() == 1) {
    run_norm(norm, x.data(), count, dim, x.data());
    return x;
  }
  const kernels::KernelTable& table = kernels::active_table();
  const float* weights = norm.weight->data<float>();  // [heads, dim]
  parallel_for(count, std::max<int64_t>(1, kGrain / dim), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      float* row = x.data() + i * dim;
      const float* weight = weights + i % heads * dim;
      if (norm.kind == Norm::Kind::kRms)
        table.rms_norm(row, dim, weight, norm.eps, 0.0f, row);
      else
        table.layer_norm(row, dim, weight, nullptr, norm.eps, row);
    }
  });
  return x;
}

std::pair<Buffer, Buffer> KernelOps::add_and_norm(const Buffer& x, Buffer y, const Norm* post,
                                                  const Norm& norm) {
  Buffer normed = arena_.take(x.rows(), x.width());
  if (is_one_rms_weight(norm) && (!post || is_one_rms_weight(*post))) {
    const kernels::NormParams post_params = post ? params_of(*post) : kernels::NormParams{};
    kernels::residual_rms_norm(x.data(), y.data(), x.rows(), x.width(), post ? &post_params : nullptr,
                               params_of(norm), y.data(), normed.data());
    return {std::move(y), std::move(normed)};
  }
  if (post) run_norm(*post, y.data(), y.rows(), y.width(), y.data());
  y = add(std::move(y), x);
  run_norm(norm, y.data(), y.rows(), y.width(), normed.data());
  return {std::move(y), std::move(normed)};
}

Buffer KernelOps::add(Buffer a, const Buffer& b) {
  const kernels::KernelTable& table = kernels::active_table();
  parallel_for(a.size(), kGrain, [&](int64_t begin, int64_t end) {
    table.add(a.data() + begin, b.data() + begin, end - begin, a.data() + begin);
  });
  return a;
}

Buffer KernelOps::scale(Buffer x, float factor) {
  if (factor == 1.0f) return x;
  parallel_for(x.size(), kGrain, [&](int64_t begin, int64_t end) {
    float* p = x.data();
    for (int64_t i = begin; i < end; ++i) p[i] *= factor;
  });
  return x;
}

std::vector<Buffer> KernelOps::split_heads(const Buffer& x, int heads) {
  const int64_t width = x.width() / 3, dim = width / heads;
  std::vector<Buffer> parts;
  for (int part = 0; part < 3; ++part) {
    Buffer& y = parts.emplace_back(arena_.take(x.rows(), width));
    for (int64_t i = 0; i < x.rows() * heads; ++i)
      std::copy_n(x.data() + (3 * i + part) * dim, dim, y.data() + i * dim);
  }
  return parts;
}

const KernelOps::Angles& KernelOps::angles(const Rope& rope, bool wanted_only) {
  const auto [it, is_new] = angles_.try_emplace({&rope, wanted_only});
  Angles& a = it->second;
  if (!is_new) return a;
  const Positions positions = wanted_only ? context_.wanted_positions() : context_.positions;
  const int64_t half = rope.half_dims();
  a.interleaved = rope.interleaved();
  a.cosines = arena_.take(positions.ids.shape(0), half);
  a.sines = arena_.take(positions.ids.shape(0), half);
  for (const RopeRun& run : rope.runs(positions)) {
    const ops::RopeParams params = rope.params_for(run.length);
    kernels::rope_angles(positions.ids.data<int32_t>() + run.begin, run.end - run.begin,
                         params.inv_freq.data<float>(), half, params.attention_scaling,
                         a.cosines.data() + run.begin * half, a.sines.data() + run.begin * half);
  }
  return a;
}

Buffer KernelOps::rotate(const Rope& rope, Buffer x, int heads, bool wanted_only) {
  const Angles& a = angles(rope, wanted_only);
  const kernels::Rotation rotation{.tokens = x.rows(),
                                   .heads = heads,
                                   .dim = x.width() / heads,
                                   .half_dims = a.cosines.width(),
                                   .cosines = a.cosines.data(),
                                   .sines = a.sines.data(),
                                   .interleaved = a.interleaved};
  kernels::rotate(x.data(), rotation, x.data());
  return x;
}

Buffer KernelOps::attention(const Attention& a, const Buffer& q, const Buffer& k, const Buffer& v) {
  Buffer y = arena_.take(q.rows(), int64_t{a.params.heads} * a.params.value_dim);
  const ops::AttentionParams params = a.rounded_params();
  if (!drops_tokens_) {
    ops::attend(context_.rows[a.layer], params, q.data(), k.data(), v.data(), y.data());
    return y;
  }
  std::vector<ops::AttentionRow> rows = context_.rows[a.layer];
  for (size_t i = 0; i < rows.size(); ++i) rows[i].queries = context_.wanted[i];
  ops::attend(rows, params, q.data(), k.data(), v.data(), y.data());
  return y;
}

Buffer KernelOps::activate(Buffer x, ops::Activation activation) {
  if (activation == ops::Activation::kIdentity) return x;
  kernels::activate(ops::kind_of(activation), x.data(), nullptr, x.size(), x.data());
  return x;
}

Buffer KernelOps::gate(Buffer gate, const Buffer& up, ops::Activation activation) {
  kernels::activate(ops::kind_of(activation), gate.data(), up.data(), gate.size(), gate.data());
  return gate;
}

void KernelOps::expert_linear(const Buffer& x, bool row_a_choice, const std::vector<int32_t>& experts,
                              const ops::Weight& w, Buffer& y) {
  kernels::ExpertTask task;
  task.x = x.data();
  task.row_a_choice = row_a_choice;
  task.choices = row_a_choice ? 1 : static_cast<int64_t>(experts.size()) / x.rows();
  task.tokens = static_cast<int64_t>(experts.size()) / task.choices;
  task.experts = experts.data();
  task.weight = ops::resident_rows(w);
  task.num_experts = w.shape[0];
  task.out = w.shape[1];
  task.y = y.data();
  task.product = ops::product_of(w);
  task.cache = w.panels.get();
  kernels::expert_linear(task);
}

Buffer KernelOps::mixture(const MoeMlp& mlp, const Buffer& x) {
  const int64_t tokens = x.rows(), choices = mlp.experts_per_token;
  Buffer y = arena_.take(tokens, mlp.down.shape[1]);
  if (tokens == 0) return y;
  const Buffer logits = std::move(linear(x, {&mlp.router})[0]);
  std::vector<int32_t> experts(tokens * choices);
  std::vector<float> weights(tokens * choices);
  kernels::route({logits.data(), tokens, logits.width(), choices, mlp.normalize}, experts.data(),
                 weights.data());
  Buffer h = arena_.take(tokens * choices, mlp.gate.shape[1]);
  Buffer up = arena_.take(tokens * choices, mlp.up.shape[1]);
  expert_linear(x, false, experts, mlp.gate, h);
  expert_linear(x, false, experts, mlp.up, up);
  h = gate(std::move(h), up, mlp.activation);
  Buffer out = arena_.take(tokens * choices, mlp.down.shape[1]);
  expert_linear(h, true, experts, mlp.down, out);
  kernels::mix_experts(out.data(), weights.data(), tokens, choices, out.width(), y.data());
  return y;
}

}  // namespace genkit::nn
