#include "runtime/engine/kv_cache.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "runtime/base/align.h"
#include "runtime/base/check.h"

namespace switchyard {
namespace {

uint64_t page_bytes(const ModelSpec& spec) {
  return uint64_t{2} * spec.attention.kv_width() * kPagePositions * sizeof(float);
}

}  // namespace

uint64_t KvCache::bytes(const ModelSpec& spec, uint64_t positions, uint32_t sequences) {
  return ceil_div(positions, kPagePositions) * sequences * spec.layers.size() * page_bytes(spec);
}

KvCache::Needs KvCache::needs(const ModelSpec& spec, uint32_t context, uint32_t sequences,
                              uint64_t piece_bytes) {
  Needs needs{.own_bytes = bytes(spec, context, sequences),
              .piece_bytes = round_down(piece_bytes, page_bytes(spec))};
  if (needs.piece_bytes == 0) return needs;
  needs.pieces = static_cast<uint32_t>(needs.own_bytes / needs.piece_bytes);
  needs.own_bytes %= needs.piece_bytes;
  return needs;
}

uint32_t KvCache::Needs::pieces_for(uint64_t bytes) const {
  if (bytes <= own_bytes) return 0;
  return std::min(pieces, static_cast<uint32_t>(ceil_div(bytes - own_bytes, piece_bytes)));
}

Result<KvCache> KvCache::create(const ModelSpec& spec, uint32_t context, uint32_t sequences,
                                uint32_t ids, uint64_t piece_bytes, KvLender lender) {
  KvCache cache;
  cache.context_ = context;
  cache.layers_ = static_cast<uint32_t>(spec.layers.size());
  cache.head_dim_ = spec.attention.head_dim;
  cache.kv_heads_ = spec.attention.kv_heads;
  cache.page_bytes_ = page_bytes(spec);
  cache.lender_ = std::move(lender);
  cache.sequences_.resize(ids);
  const uint64_t own = needs(spec, context, sequences, piece_bytes).own_bytes;
  if (own > 0) {
    cache.own_ = TRY(Slab::allocate(own, "keys and values"));
    cache.add_piece(cache.own_.span().first(own), false);
  }
  return cache;
}

void KvCache::populate(uint32_t positions) const {
  const uint64_t wanted = ceil_div(positions, kPagePositions) * layers_ * page_bytes_;
  own_.populate(std::min<uint64_t>(wanted, own_.size()));
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

void KvCache::open(SequenceId sequence) {
  CHECK(!is_open(sequence) && static_cast<uint32_t>(sequence) < sequences_.size());
  Sequence& opened = sequences_[static_cast<uint32_t>(sequence)];
  opened.open = true;
  opened.pages.resize(layers_);
}

void KvCache::close(SequenceId sequence) {
  Sequence& closed = at(sequence);
  for (const std::vector<float*>& pages : closed.pages) {
    for (float* page : pages) free_page(page);
  }
  closed = {};
}

void KvCache::add_piece(std::span<std::byte> memory, bool borrowed) {
  for (uint64_t i = memory.size() / page_bytes_; i-- > 0;) {
    free_pages_.push_back(reinterpret_cast<float*>(memory.data() + i * page_bytes_));
  }
  pieces_[reinterpret_cast<float*>(memory.data())] = {.memory = memory, .borrowed = borrowed};
}

KvCache::Piece& KvCache::piece_of(float* page) {
  return std::prev(pieces_.upper_bound(page))->second;
}

Result<float*> KvCache::take_page() {
  if (free_pages_.empty()) add_piece(TRY(lender_.lend()), true);
  float* page = free_pages_.back();
  free_pages_.pop_back();
  piece_of(page).pages_used += 1;
  return page;
}

void KvCache::free_page(float* page) {
  free_pages_.push_back(page);
  Piece& piece = piece_of(page);
  piece.pages_used -= 1;
  if (piece.pages_used == 0 && piece.borrowed) give_back(piece);
}

void KvCache::give_back(const Piece& piece) {
  const std::span<std::byte> memory = piece.memory;
  std::erase_if(free_pages_, [&](const float* page) {
    const auto* at = reinterpret_cast<const std::byte*>(page);
    return at >= memory.data() && at < memory.data() + memory.size();
  });
  pieces_.erase(reinterpret_cast<float*>(memory.data()));
  lender_.take_back(memory);
}

Status KvCache::reserve(SequenceId sequence, uint32_t count) {
  Sequence& grown = at(sequence);
  CHECK_THAT(grown.length + count <= context_, "{} + {} of {}", grown.length, count, context_);
  const uint64_t pages = ceil_div(grown.length + count, kPagePositions);
  for (std::vector<float*>& of_layer : grown.pages) {
    while (of_layer.size() < pages) of_layer.push_back(TRY(take_page()));
  }
  return {};
}

KvView KvCache::view(SequenceId sequence, uint32_t layer, uint32_t head) const {
  const size_t head_floats = static_cast<size_t>(kPagePositions) * head_dim_;
  return {.pages = at(sequence).pages[layer].data(),
          .key_offset = head * head_floats,
          .value_offset = (kv_heads_ + head) * head_floats,
          .position_stride = head_dim_};
}

float* KvCache::key(SequenceId sequence, uint32_t layer, uint32_t head, uint32_t position) {
  return at(sequence).pages[layer][position / kPagePositions] +
         (static_cast<size_t>(head) * kPagePositions + position % kPagePositions) * head_dim_;
}

float* KvCache::value(SequenceId sequence, uint32_t layer, uint32_t head, uint32_t position) {
  return key(sequence, layer, kv_heads_ + head, position);
}

}  // namespace switchyard
