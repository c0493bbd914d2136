#pragma once

// What every World has to carry, whatever it is made of. The suite runs on all ranks at once.

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "comm/in_flight.h"
#include "comm/world.h"
#include "runtime/base/prng.h"
#include "runtime/base/result.h"

namespace switchyard {
namespace world_suite {

// Below, at and above what transports treat alike.
inline constexpr std::array<size_t, 12> kSizes = {0,    1,    7,    64,    4095,   4096,
                                                  4097, 8192, 8200, 65536, 262145, 3000001};

struct Sent {
  uint32_t from = 0, to = 0;
  Channel channel = Channel::kControl;
  size_t bytes = 0;
  uint64_t seed = 0;
};

inline std::vector<std::byte> content(const Sent& sent) {
  Prng prng(sent.seed);
  std::vector<std::byte> bytes(sent.bytes);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(prng.next());
  return bytes;
}

struct Pending {
  Sent sent;
  std::vector<std::byte> memory;
  World::Ticket ticket{};
};

// Whether the message, which is over, is what was sent.
inline Status check(const World& world, const Pending& pending) {
  const Sent& sent = pending.sent;
  if (sent.from == world.rank() || pending.memory == content(sent)) return {};
  return fail(Code::kInternal,
              fmt::format("rank {} got other bytes than rank {} sent, {} on channel {}", sent.to,
                          sent.from, sent.bytes, static_cast<int>(sent.channel)));
}

// Begins this rank's part of `messages`, which are the same on all ranks.
inline std::vector<Pending> begin(World& world, const std::vector<Sent>& messages) {
  std::vector<Pending> mine;
  for (const Sent& sent : messages) {
    if (sent.from == world.rank()) mine.push_back({sent, content(sent)});
    if (sent.to == world.rank()) mine.push_back({sent, std::vector(sent.bytes, std::byte{0xa5})});
  }
  for (Pending& pending : mine) {
    const Sent& sent = pending.sent;
    pending.ticket = sent.from == world.rank()
                         ? world.send(sent.to, sent.channel, pending.memory)
                         : world.receive(sent.from, sent.channel, pending.memory);
  }
  return mine;
}

// In an order of this rank's own, and some by asking again and again.
inline Status finish(World& world, std::vector<Pending> mine, Prng& prng) {
  while (!mine.empty()) {
    std::swap(mine[prng.below(mine.size())], mine.back());
    if (prng.below(3) == 0) {
      if (!TRY(world.poll(mine.back().ticket))) continue;
    } else {
      TRY_STATUS(world.wait(mine.back().ticket, {"messages of the suite", 1}));
    }
    TRY_STATUS(check(world, mine.back()));
    mine.pop_back();
  }
  return {};
}

inline std::vector<Sent> every_size_on_every_channel(uint32_t ranks) {
  std::vector<Sent> messages;
  for (uint32_t from = 0; from < ranks; ++from) {
    for (uint32_t channel = 0; channel < kChannels; ++channel) {
      for (const size_t bytes : kSizes) {
        if (bytes > 1000000 && channel % 3 != 0) continue;  // takes time
        messages.push_back({.from = from,
                            .to = (from + 1 + channel % (ranks - 1)) % ranks,
                            .channel = Channel{static_cast<uint8_t>(channel)},
                            .bytes = bytes,
                            .seed = messages.size()});
      }
    }
  }
  return messages;
}

inline std::vector<Sent> draw(uint32_t ranks, uint64_t seed) {
  Prng prng(seed);
  std::vector<Sent> messages(prng.below(60));
  for (Sent& sent : messages) {
    sent.from = static_cast<uint32_t>(prng.below(ranks));
    sent.to = static_cast<uint32_t>((sent.from + 1 + prng.below(ranks - 1)) % ranks);
    sent.channel = Channel{static_cast<uint8_t>(prng.below(kChannels))};
    sent.bytes = prng.below(uint64_t{1} << prng.below(17));
    sent.seed = prng.next();
  }
  return messages;
}

// One value around all ranks, many times: each wait is for what was not sent yet when it began.
inline Status go_round(World& world, uint32_t rounds) {
  const uint32_t next = (world.rank() + 1) % world.size();
  const uint32_t previous = (world.rank() + world.size() - 1) % world.size();
  std::array<std::byte, 8> token{};
  for (uint32_t round = 0; round < rounds; ++round) {
    const std::array<std::byte, 8> right = {static_cast<std::byte>(round)};
    if (world.rank() == 0) {
      token = right;
      TRY_STATUS(world.wait(world.send(next, Channel::kControl, token), {"token", 0}));
    }
    TRY_STATUS(world.wait(world.receive(previous, Channel::kControl, token), {"token", 0}));
    if (token != right) return fail(Code::kInternal, fmt::format("another token, round {}", round));
    if (world.rank() == 0) continue;
    TRY_STATUS(world.wait(world.send(next, Channel::kControl, token), {"token", 0}));
  }
  return {};
}

}  // namespace world_suite

// For at least two ranks. An error says what a rank got that was not sent.
inline Status exchange_suite(World& world) {
  Prng prng(world.rank());
  const auto sizes = world_suite::every_size_on_every_channel(world.size());
  TRY_STATUS(world_suite::finish(world, world_suite::begin(world, sizes), prng));
  for (uint64_t round = 0; round < 30; ++round) {
    const auto messages = world_suite::draw(world.size(), round);
    TRY_STATUS(world_suite::finish(world, world_suite::begin(world, messages), prng));
  }
  return world_suite::go_round(world, 300);
}

}  // namespace switchyard
