#include "runtime/engine/round_rates.h"

#include <algorithm>
#include <vector>

#include "comm/collectives.h"

namespace switchyard {
namespace {

constexpr size_t kSmallBytes = 64;
constexpr size_t kLargeBytes = 512 << 10;   // to all ranks together
constexpr size_t kLargeBytesMin = 4 << 10;  // to each
constexpr int kSmallRounds = 9;
constexpr int kLargeRounds = 3;

// Everybody to everybody, `bytes` each.
Result<double> round_seconds(World& world, size_t bytes) {
  std::vector<std::byte> out(bytes), in(bytes * world.size());
  std::vector<World::Ticket> tickets;
  const double begin = world.now_seconds();
  for (uint32_t peer = 0; peer < world.size(); ++peer) {
    if (peer == world.rank()) continue;
    tickets.push_back(
        world.receive(peer, Channel::kRows, std::span(in).subspan(peer * bytes, bytes)));
    tickets.push_back(world.send(peer, Channel::kRows, out));
  }
  TRY_STATUS(wait_all(world, tickets, {"the test of links"}));
  return world.now_seconds() - begin;
}

Result<double> median_seconds(World& world, size_t bytes, int rounds) {
  std::vector<double> seconds(static_cast<size_t>(rounds));
  for (double& of_round : seconds) of_round = TRY(round_seconds(world, bytes));
  std::ranges::nth_element(seconds, seconds.begin() + rounds / 2);
  return seconds[static_cast<size_t>(rounds / 2)];
}

}  // namespace

Result<RoundRates> measure_links(World& world) {
  const double small = TRY(median_seconds(world, kSmallBytes, kSmallRounds));
  const size_t peers = world.size() - 1;
  const size_t large_bytes = std::max(kLargeBytes / peers, kLargeBytesMin);
  const double large = TRY(median_seconds(world, large_bytes, kLargeRounds));
  const auto more = static_cast<double>((large_bytes - kSmallBytes) * peers);
  return RoundRates{.round_seconds = small,
                    .seconds_per_byte = std::max(large - small, 0.0) / more};
}

}  // namespace switchyard
