#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <vector>

#include "runtime/base/result.h"
#include "runtime/device/slab.h"
#include "runtime/engine/model_spec.h"
#include "runtime/kernels/kernel_table.h"
#include "scheduler/step_plan.h"

namespace switchyard {

// Memory for keys and values in pieces of one size, which are borrowed as sequences grow and given
// back when they end.
struct KvLender {
  std::function<Result<std::span<std::byte>>()> lend;
  std::function<void(std::span<std::byte>)> take_back;
};

// Keys and values in fp32, in pages of 16 positions of one layer that sequences take as they grow:
// [keys, values][kv head][position][head_dim].
class KvCache {
 public:
  // What a cache takes at most: memory of its own first, then pieces.
  struct Needs {
    uint64_t own_bytes = 0;
    uint64_t piece_bytes = 0;  // in pages
    uint32_t pieces = 0;
    // Of them, for pages of `bytes`.
    uint32_t pieces_for(uint64_t bytes) const;
  };
  // Of `sequences` at their full context. A piece holds whole pages; what fills no whole piece is
  // the cache's own, and everything is when no page fits one (piece_bytes 0: there are none).
  static uint64_t bytes(const ModelSpec& spec, uint64_t positions, uint32_t sequences);
  static Needs needs(const ModelSpec& spec, uint32_t context, uint32_t sequences,
                     uint64_t piece_bytes);
  // For ids below `ids`, of which `sequences` at most are open at once. `lender` gives
  // needs().pieces of `piece_bytes` and outlives the cache, unless that is 0.
  static Result<KvCache> create(const ModelSpec& spec, uint32_t context, uint32_t sequences,
                                uint32_t ids, uint64_t piece_bytes, KvLender lender);

  // Makes the pages of a first prompt of so many positions resident, as far as they are own.
  void populate(uint32_t positions) const;

  // Any of `sequences` ids that is not open.
  void open(SequenceId sequence);
  void close(SequenceId sequence);
  uint32_t length(SequenceId sequence) const { return at(sequence).length; }
  uint32_t context() const { return context_; }
  bool is_open(SequenceId sequence) const;

  // Pages for positions up to length() + count, within the context; they stay with the sequence.
  // The lender's errors; then some may be there, and it may be tried again.
  Status reserve(SequenceId sequence, uint32_t count);
  // The reserved positions now count.
  void advance(SequenceId sequence, uint32_t count) { at(sequence).length += count; }

  // One KV head of one layer.
  KvView view(SequenceId sequence, uint32_t layer, uint32_t head) const;
  float* key(SequenceId sequence, uint32_t layer, uint32_t head, uint32_t position);
  float* value(SequenceId sequence, uint32_t layer, uint32_t head, uint32_t position);

 private:
  struct Sequence {
    bool open = false;
    uint32_t length = 0;
    std::vector<std::vector<float*>> pages;  // [layer][page]
  };
  struct Piece {
    std::span<std::byte> memory;
    uint32_t pages_used = 0;
    bool borrowed = false;
  };
  const Sequence& at(SequenceId sequence) const;
  Sequence& at(SequenceId sequence);
  void add_piece(std::span<std::byte> memory, bool borrowed);
  Piece& piece_of(float* page);
  Result<float*> take_page();
  void free_page(float* page);
  void give_back(const Piece& piece);

  uint32_t context_ = 0;
  uint32_t layers_ = 0;
  uint32_t head_dim_ = 0;
  uint32_t kv_heads_ = 0;
  uint64_t page_bytes_ = 0;
  KvLender lender_;
  Slab own_;
  std::map<float*, Piece> pieces_;  // by where they begin
  std::vector<Sequence> sequences_;
  std::vector<float*> free_pages_;
};

}  // namespace switchyard
