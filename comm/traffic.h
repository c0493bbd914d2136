#pragma once

#include <cstdint>
#include <vector>

namespace switchyard {

// What one rank did for others in one layer, since the counting began.
struct LayerTraffic {
  uint64_t tokens = 0;                  // rows it brought
  uint64_t copies_out = 0;              // times that one of them went to another rank
  uint64_t copies_to_nodes = 0;         // of them, to another node
  uint64_t copies_needed = 0;           // ranks that had one of its experts
  uint64_t copies_back = 0;             // partials that came back for them
  uint64_t picks = 0;                   // experts of its rows
  uint64_t picks_here = 0;              // of them, computed here
  uint64_t computed = 0;                // experts computed here, for the others' rows too
  uint64_t gathers = 0;                 // steps in which all rows went everywhere …
  uint64_t steps = 0;                   // … of so many
  std::vector<uint64_t> bytes_to = {};  // [ranks]
};

using Traffic = std::vector<LayerTraffic>;  // [the model's layers], as far as there was any

// `more`, added layer by layer.
void add_traffic(const Traffic& more, Traffic& sum);

}  // namespace switchyard
