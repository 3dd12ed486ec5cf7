#include <fmt/format.h>
#include <mlx/ops.h>

#include <algorithm>
#include <limits>

#include "genkit/base/byte_hash.h"
#include "genkit/base/error.h"
#include "genkit/steering/hook_parts.h"
#include "genkit/steering/hooks.h"

namespace genkit::steering {
namespace {

constexpr const char* kName = "SoftPromptHook";

std::shared_ptr<const VectorStore> store_of_one(const mx::array& embeddings) {
  auto store = std::make_shared<VectorStore>();
  store->set_soft_prompt(kName, embeddings);
  return store;
}

}  // namespace

SoftPromptHook::SoftPromptHook(const mx::array& embeddings, std::optional<std::set<int64_t>> rows)
    : SoftPromptHook(store_of_one(embeddings), kName, std::move(rows)) {}

SoftPromptHook::SoftPromptHook(std::shared_ptr<const VectorStore> store, std::string param_key,
                               std::optional<std::set<int64_t>> rows)
    : store_(std::move(store)), key_(std::move(param_key)), rows_(std::move(rows)) {
  if (!store_) throw ArgumentError("param_key: given without a store");
  store_->soft_prompt(key_);
}

const mx::array& SoftPromptHook::embeddings() const { return store_->soft_prompt(key_); }

void SoftPromptHook::prepare(const models::Model& model) {
  if (!model.has_site(models::Site::kTokenEmbedding))
    throw ArgumentError(fmt::format("{}: the model gives no access to its token embeddings", kName));
  detail::check_hidden(kName, static_cast<size_t>(embeddings().shape(1)), model);
}

int SoftPromptHook::prefix_tokens(int64_t row) const {
  return rows_ && !rows_->contains(row) ? 0 : embeddings().shape(0);
}

int SoftPromptHook::untouched(int64_t row, int) const {
  return prefix_tokens(row) > 0 ? 0 : std::numeric_limits<int>::max();
}

int SoftPromptHook::mark(const models::RowSpan& row, std::span<models::KvMark> marks) const {
  const size_t count = row.has_prefix ? static_cast<size_t>(prefix_tokens(row.row)) : 0;
  const size_t hidden = static_cast<size_t>(embeddings().shape(1));
  for (size_t p = 0; p < std::min(count, marks.size()); ++p) {
    ByteHash hash;
    hash.add("SoftPromptHook");
    hash.add(embeddings().data<float>() + p * hidden, hidden * sizeof(float));
    marks[p] = detail::mixed(marks[p], hash.number(), 1);
  }
  return std::numeric_limits<int>::max();
}

bool SoftPromptHook::wants(models::Site site, int) const { return site == models::Site::kTokenEmbedding; }

mx::array SoftPromptHook::apply(models::Site, int, const mx::array& x, const models::ForwardInput& input) {
  const mx::array& soft = embeddings();
  const int count = soft.shape(0), hidden = soft.shape(1);
  std::vector<mx::array> parts;
  int begin = 0, kept = 0;  // of x up to `kept` is in `parts`
  for (const models::RowSpan& span : input.rows) {
    const int end = std::min(span.position + span.length, count);
    if (end > span.position && span.has_prefix && prefix_tokens(span.row) > 0) {
      if (begin > kept) parts.push_back(mx::slice(x, {kept, 0}, {begin, hidden}));
      parts.push_back(mx::slice(soft, {span.position, 0}, {end, hidden}));
      kept = begin + end - span.position;
    }
    begin += span.length;
  }
  if (parts.empty()) return x;
  if (begin > kept) parts.push_back(mx::slice(x, {kept, 0}, {begin, hidden}));
  return parts.size() == 1 ? parts[0] : mx::concatenate(parts, 0);
}

}  // namespace genkit::steering
