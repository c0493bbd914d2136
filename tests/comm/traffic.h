#pragma once

// Random messages between all ranks on all channels, whose bytes every rank knows beforehand.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "comm/in_flight.h"
#include "comm/world.h"
#include "runtime/base/prng.h"

namespace switchyard {

struct Traffic {
  uint64_t seed = 0;
  uint32_t rounds = 4;
  uint32_t messages = 12;  // of a round, on average
  uint32_t bytes_max = 200;
};

struct TrafficEnd {
  Status status;
  uint32_t received = 0;
  uint32_t wrong = 0;  // messages with other bytes than were sent
};

namespace traffic_parts {

struct Item {
  uint32_t from, to;
  Channel channel;
  std::vector<std::byte> bytes;
};

inline std::vector<Item> draw_round(const Traffic& traffic, uint32_t ranks, uint32_t round) {
  Prng prng(traffic.seed * 1000 + round);
  std::vector<Item> items(prng.below(2 * traffic.messages + 1));
  for (Item& item : items) {
    item.from = static_cast<uint32_t>(prng.below(ranks));
    item.to = static_cast<uint32_t>((item.from + 1 + prng.below(ranks - 1)) % ranks);
    item.channel = Channel{static_cast<uint8_t>(prng.below(kChannels))};
    item.bytes.resize(prng.below(4) == 0 ? 0 : prng.below(traffic.bytes_max + 1));
    for (std::byte& byte : item.bytes) byte = static_cast<std::byte>(prng.next());
  }
  return items;
}

struct Pending {
  World::Ticket ticket;
  const Item* item;
  std::vector<std::byte> got;
};

// The messages of the round that are this rank's, begun in their order.
inline std::vector<Pending> begin(World& world, const std::vector<Item>& items) {
  std::vector<Pending> pending;
  for (const Item& item : items) {
    if (item.from == world.rank()) {
      pending.push_back({world.send(item.to, item.channel, item.bytes), &item, item.bytes});
    } else if (item.to == world.rank()) {
      std::vector<std::byte> got(item.bytes.size(), std::byte{0xee});
      const World::Ticket ticket = world.receive(item.from, item.channel, got);
      pending.push_back({ticket, &item, std::move(got)});  // the memory moves along
    }
  }
  return pending;
}

}  // namespace traffic_parts

// This rank's part; its messages are waited for in an order of its own, some by polling.
inline TrafficEnd run_traffic(World& world, const Traffic& traffic) {
  TrafficEnd end;
  Prng own(traffic.seed * 77 + world.rank());
  for (uint32_t round = 0; round < traffic.rounds; ++round) {
    const auto items = traffic_parts::draw_round(traffic, world.size(), round);
    auto pending = traffic_parts::begin(world, items);
    while (!pending.empty()) {
      std::swap(pending[own.below(pending.size())], pending.back());
      traffic_parts::Pending& last = pending.back();
      if (own.below(4) == 0) {
        const Result<bool> over = world.poll(last.ticket);
        if (!over) end.status = tl::unexpected(over.error());
        if (over && !*over) continue;
      } else {
        end.status = world.wait(last.ticket, {"rows", static_cast<int32_t>(round)});
      }
      if (!end.status) return end;
      end.received += last.item->to == world.rank() ? 1 : 0;
      end.wrong += last.got == last.item->bytes ? 0 : 1;
      pending.pop_back();
    }
  }
  return end;
}

}  // namespace switchyard
