#pragma once

// One leg of rows' way to the ranks of their experts. Pure values.

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "runtime/base/hash.h"

namespace switchyard {

// What ranks tell each other with their rows: so many come, and what it is about.
struct RowCounts {
  uint32_t step = 0;
  uint32_t layer = 0;
  uint32_t rows = 0;
  uint32_t unused = 0;
  uint64_t checksum = 0;

  uint64_t sum() const {
    return hash_bytes(std::as_bytes(std::span(this, 1)).first(offsetof(RowCounts, checksum)));
  }
};

struct ExchangeStage {
  bool crosses_nodes = false;                     // rows go to a node, whose rank passes them on
  std::vector<uint32_t> peers = {};               // ranks that this one exchanges with
  std::vector<std::vector<uint32_t>> sends = {};  // [peers] rows, ascending
  std::vector<RowCounts> told = {}, heard = {};   // [peers], where counts are exchanged
  std::vector<uint32_t> begins = {};              // [peers + 1] of the rows that each sends here
};

}  // namespace switchyard
