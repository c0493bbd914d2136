#include "comm/traffic.h"

#include <cstddef>

namespace switchyard {

void add_traffic(const Traffic& more, Traffic& sum) {
  if (sum.size() < more.size()) sum.resize(more.size());
  for (size_t layer = 0; layer < more.size(); ++layer) {
    const LayerTraffic& from = more[layer];
    LayerTraffic& to = sum[layer];
    to.tokens += from.tokens;
    to.copies_out += from.copies_out;
    to.copies_to_nodes += from.copies_to_nodes;
    to.copies_needed += from.copies_needed;
    to.copies_back += from.copies_back;
    to.picks += from.picks;
    to.picks_here += from.picks_here;
    to.computed += from.computed;
    to.gathers += from.gathers;
    to.steps += from.steps;
    if (to.bytes_to.size() < from.bytes_to.size()) to.bytes_to.resize(from.bytes_to.size());
    for (size_t rank = 0; rank < from.bytes_to.size(); ++rank) {
      to.bytes_to[rank] += from.bytes_to[rank];
    }
  }
}

}  // namespace switchyard
