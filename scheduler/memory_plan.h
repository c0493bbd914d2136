#pragma once

// How a budget is spent, before anything is allocated. Pure.

#include <cstdint>

#include "runtime/base/result.h"

namespace switchyard {

// What the model and the request ask for, in bytes.
struct MemoryNeeds {
  uint64_t dense_bytes = 0;                // weights that every token uses
  uint64_t kv_bytes = 0;                   // memory of its own for keys and values …
  uint32_t kv_slots = 0;                   // … and slots that they take from experts as they grow
  uint64_t other_bytes = 0;                // tokenizer, tables
  uint64_t activation_bytes = 0;           // buffers that do not grow with the chunk
  uint64_t activation_row_bytes = 0;       // buffers for each token computed together
  uint64_t logits_row_bytes = 0;           // for each row of logits computed together
  uint64_t slot_bytes = 0;                 // of one expert
  uint64_t staging_bytes = 0;              // of one expert on its way from a folder; 0: from a pack
  uint32_t experts = 0;                    // of all layers
  uint32_t slots_min = 0;                  // one layer's top-k
  uint32_t chunk_wanted = 0;               // tokens computed together at most
  uint32_t chunk_min = 0;                  // a batch's decode step must fit
  uint64_t expert_bytes_max = UINT64_MAX;  // --expert-memory
};

struct MemoryPlan {
  uint64_t budget_bytes = 0;
  uint64_t dense_bytes = 0;
  uint64_t kv_bytes = 0;  // of all sequences at their full context, kv_slots included
  uint64_t other_bytes = 0;
  uint64_t activation_bytes = 0;  // logits included
  uint64_t staging_bytes = 0;
  uint64_t slots_bytes = 0;
  uint32_t chunk = 0;        // tokens computed together at most
  uint32_t logits_rows = 0;  // rows of logits computed together at most
  uint32_t staging = 0;      // experts on their way at most, of those there are
  uint32_t slots = 0;        // for experts, whatever the context
  uint32_t kv_slots = 0;     // more of them, until keys and values take them

  uint64_t total_bytes() const {
    return dense_bytes + kv_bytes + other_bytes + activation_bytes + staging_bytes + slots_bytes;
  }
};

// The smallest budget plan_memory() accepts.
uint64_t minimum_memory_bytes(const MemoryNeeds& needs);

// A quarter of what is left beyond the minimum goes to buffers (half of it to larger chunks), and
// all that the slots cannot use; the rest goes to slots. kNoMemory names the budget given and the
// one that does.
Result<MemoryPlan> plan_memory(const MemoryNeeds& needs, uint64_t budget_bytes);

}  // namespace switchyard
