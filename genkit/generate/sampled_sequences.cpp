#include "genkit/generate/sampled_sequences.h"

#include <fmt/format.h>

#include <algorithm>

#include "genkit/base/error.h"

namespace genkit::generate {

SampledSequences::SampledSequences(RowSetup setup) {
  const auto count = static_cast<size_t>(*setup.config.values.num_return_sequences);
  if (setup.key.row >= kKeyStride) {
    throw ArgumentError(
        fmt::format("num_return_sequences: a row of key {} cannot draw several; keys are below {}",
                    setup.key.row, kKeyStride));
  }
  for (size_t i = 0; i < count; ++i) {
    RowSetup own = setup;
    own.sequence = i;
    own.key.row += i * kKeyStride;
    rows_.push_back(std::make_unique<SingleRow>(std::move(own)));
  }
}

std::vector<Feed> SampledSequences::plan(cache::KvCache& cache) {
  std::vector<Feed> feeds;
  feeds_.assign(rows_.size(), 0);
  for (size_t i = 0; i < (forked_ ? rows_.size() : 1); ++i) {
    if (rows_[i]->done()) continue;
    for (Feed& feed : rows_[i]->plan(cache)) {
      feeds.push_back(std::move(feed));
      ++feeds_[i];
    }
  }
  return feeds;
}

void SampledSequences::advance(cache::KvCache& cache, std::span<const FeedOutput> outputs,
                               std::vector<StreamEvent>& events) {
  if (!forked_) {
    // All go on from the same prompt, with the same logits, and draw by themselves: they fork before the
    // first has added a token.
    forked_ = true;
    for (size_t i = 1; i < rows_.size(); ++i) rows_[i]->begin_as(*rows_[0], cache);
    for (size_t i = 0; i < rows_.size(); ++i) advance_row(i, cache, outputs, events);
    return;
  }
  size_t at = 0;
  for (size_t i = 0; i < rows_.size(); ++i) {
    if (feeds_[i] == 0) continue;
    advance_row(i, cache, outputs.subspan(at, feeds_[i]), events);
    at += feeds_[i];
  }
}

void SampledSequences::advance_row(size_t i, cache::KvCache& cache, std::span<const FeedOutput> outputs,
                                   std::vector<StreamEvent>& events) {
  rows_[i]->advance(cache, outputs, events);
  if (rows_[i]->done()) rows_[i]->release(cache);
}

bool SampledSequences::finished() const {
  return std::all_of(rows_.begin(), rows_.end(), [](const auto& row) { return row->finished(); });
}

bool SampledSequences::done() const {
  return std::all_of(rows_.begin(), rows_.end(), [](const auto& row) { return row->done(); });
}

void SampledSequences::cancel(std::vector<StreamEvent>& events) {
  for (const auto& row : rows_) row->cancel(events);
}

void SampledSequences::release(cache::KvCache& cache) {
  for (const auto& row : rows_) row->release(cache);
}

GeneratedRow SampledSequences::take() {
  GeneratedRow out = rows_[0]->take();
  for (size_t i = 1; i < rows_.size(); ++i) out.others.push_back(rows_[i]->take());
  return out;
}

}  // namespace genkit::generate
