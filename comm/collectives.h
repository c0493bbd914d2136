#pragma once

// What all ranks of a world do together; each calls the same function with the same root, channel
// and sizes. They block, and fail as World::wait does. Nothing else is under way on the channel.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "comm/world.h"
#include "runtime/base/result.h"

namespace switchyard {

inline constexpr uint64_t kTextBytesMax = uint64_t{1} << 30;

// Waits until all the messages are over, or for the first error: then none is in flight.
Status wait_all(World& world, std::span<const World::Ticket> tickets, const Awaited& awaited);

// The root's bytes, to everybody.
Status broadcast(World& world, uint32_t root, std::span<std::byte> bytes, const Awaited& awaited,
                 Channel channel = Channel::kControl);
// The root's text, whatever its length; what the others pass is ignored. kInternal beyond
// kTextBytesMax.
Result<std::string> broadcast_text(World& world, uint32_t root, std::string text,
                                   const Awaited& awaited, Channel channel = Channel::kControl);

// Everybody's bytes to everybody, by rank: all.size() is size() × mine.size(). `mine` may lie in
// its own place of `all`.
Status all_gather(World& world, std::span<const std::byte> mine, std::span<std::byte> all,
                  const Awaited& awaited, Channel channel = Channel::kControl);
// Everybody's text to the root, by rank; nothing on the others. kInternal beyond kTextBytesMax.
Result<std::vector<std::string>> gather_texts(World& world, uint32_t root, const std::string& mine,
                                              const Awaited& awaited,
                                              Channel channel = Channel::kControl);

// Nobody returns before everybody has called.
Status barrier(World& world, const Awaited& awaited, Channel channel = Channel::kControl);

}  // namespace switchyard
