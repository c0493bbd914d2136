#include "runtime/engine/kv_cache.h"

#include <fmt/format.h>

#include "runtime/base/align.h"
#include "runtime/base/check.h"

namespace switchyard {
namespace {

uint64_t pages_needed(uint32_t context, uint32_t sequences) {
  return ceil_div(context, kPagePositions) * sequences;
}

uint64_t page_floats(const ModelSpec& spec) {
  return uint64_t{2} * spec.attention.kv_width() * kPagePositions;
}

}  // namespace

uint64_t KvCache::bytes(const ModelSpec& spec, uint32_t context, uint32_t sequences) {
  return pages_needed(context, sequences) * page_floats(spec) * spec.layers.size() * sizeof(float);
}

Result<KvCache> KvCache::create(const ModelSpec& spec, uint32_t context, uint32_t sequences) {
  KvCache cache;
  cache.context_ = context;
  cache.head_dim_ = spec.attention.head_dim;
  cache.kv_heads_ = spec.attention.kv_heads;
  cache.page_stride_ = page_floats(spec);
  const uint64_t pages = pages_needed(context, sequences);
  cache.layer_stride_ = pages * cache.page_stride_;
  cache.slab_ = TRY(Slab::allocate(bytes(spec, context, sequences), "keys and values"));
  cache.sequences_.resize(sequences);
  for (uint64_t page = pages; page > 0; --page) {
    cache.free_pages_.push_back(static_cast<uint32_t>(page - 1));
  }
  return cache;
}

const KvCache::Sequence& KvCache::at(SequenceId sequence) const {
  CHECK(is_open(sequence));
  return sequences_[static_cast<uint32_t>(sequence)];
}

KvCache::Sequence& KvCache::at(SequenceId sequence) {
  CHECK(is_open(sequence));
  return sequences_[static_cast<uint32_t>(sequence)];
}

bool KvCache::is_open(SequenceId sequence) const {
  const auto index = static_cast<uint32_t>(sequence);
  return index < sequences_.size() && sequences_[index].open;
}

Result<SequenceId> KvCache::open() {
  for (size_t i = 0; i < sequences_.size(); ++i) {
    if (sequences_[i].open) continue;
    sequences_[i].open = true;
    return static_cast<SequenceId>(i);
  }
  return fail(Code::kNoMemory, fmt::format("all {} sequences are in use", sequences_.size()));
}

void KvCache::close(SequenceId sequence) {
  Sequence& closed = at(sequence);
  free_pages_.insert(free_pages_.end(), closed.pages.rbegin(), closed.pages.rend());
  closed = {};
}

void KvCache::reserve(SequenceId sequence, uint32_t count) {
  Sequence& grown = at(sequence);
  CHECK_THAT(grown.length + count <= context_, "{} + {} of {}", grown.length, count, context_);
  while (grown.pages.size() * kPagePositions < grown.length + count) {
    CHECK(!free_pages_.empty());
    grown.pages.push_back(free_pages_.back());
    free_pages_.pop_back();
  }
}

KvView KvCache::view(SequenceId sequence, uint32_t layer, uint32_t head) const {
  const size_t head_floats = static_cast<size_t>(kPagePositions) * head_dim_;
  return {.pool = reinterpret_cast<const float*>(slab_.data()) + layer * layer_stride_,
          .page_stride = page_stride_,
          .page_ids = at(sequence).pages.data(),
          .key_offset = head * head_floats,
          .value_offset = (kv_heads_ + head) * head_floats,
          .position_stride = head_dim_};
}

float* KvCache::slot(SequenceId sequence, uint32_t layer, uint32_t position) {
  const uint32_t page = at(sequence).pages[position / kPagePositions];
  return reinterpret_cast<float*>(slab_.data()) + layer * layer_stride_ + page * page_stride_ +
         static_cast<size_t>(position % kPagePositions) * head_dim_;
}

float* KvCache::key(SequenceId sequence, uint32_t layer, uint32_t head, uint32_t position) {
  return slot(sequence, layer, position) + static_cast<size_t>(head) * kPagePositions * head_dim_;
}

float* KvCache::value(SequenceId sequence, uint32_t layer, uint32_t head, uint32_t position) {
  return key(sequence, layer, kv_heads_ + head, position);
}

}  // namespace switchyard
