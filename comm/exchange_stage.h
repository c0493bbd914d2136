#pragma once

// One leg of rows' way to the ranks of their experts. Pure values.

#include <cstdint>
#include <vector>

namespace switchyard {

struct ExchangeStage {
  bool crosses_nodes = false;                     // rows go to a node, whose rank passes them on
  std::vector<uint32_t> peers = {};               // ranks that this one exchanges with
  std::vector<std::vector<uint32_t>> sends = {};  // [peers] rows, ascending
  std::vector<uint32_t> begins = {};              // [peers + 1] of the rows that each sends here
};

}  // namespace switchyard
