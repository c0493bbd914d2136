#pragma once

#include <cstdint>
#include <vector>

#include "runtime/base/result.h"
#include "runtime/device/slab.h"
#include "runtime/engine/model_spec.h"
#include "runtime/kernels/kernel_table.h"
#include "scheduler/step_plan.h"

namespace switchyard {

// Keys and values in fp32, in pages of 16 positions that sequences take as they grow. A page is
// [keys, values][kv head][position][head_dim]; one page id serves all layers.
class KvCache {
 public:
  static uint64_t bytes(const ModelSpec& spec, uint32_t context, uint32_t sequences);
  static Result<KvCache> create(const ModelSpec& spec, uint32_t context, uint32_t sequences);

  // kNoMemory when all sequences are open.
  Result<SequenceId> open();
  void close(SequenceId sequence);
  uint32_t length(SequenceId sequence) const { return at(sequence).length; }
  uint32_t context() const { return context_; }
  bool is_open(SequenceId sequence) const;

  // Pages for positions up to length() + count; they stay with the sequence. Within the context
  // there are always enough.
  void reserve(SequenceId sequence, uint32_t count);
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
    std::vector<uint32_t> pages;
  };
  const Sequence& at(SequenceId sequence) const;
  Sequence& at(SequenceId sequence);
  float* slot(SequenceId sequence, uint32_t layer, uint32_t position);

  uint32_t context_ = 0;
  uint32_t head_dim_ = 0;
  uint32_t kv_heads_ = 0;
  size_t page_stride_ = 0;   // floats
  size_t layer_stride_ = 0;  // floats
  Slab slab_;
  std::vector<Sequence> sequences_;
  std::vector<uint32_t> free_pages_;
};

}  // namespace switchyard
