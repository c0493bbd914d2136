#include "comm/collectives.h"

#include <fmt/format.h>

#include <cstring>
#include <utility>

#include "comm/world_error.h"
#include "runtime/base/check.h"

namespace switchyard {

namespace {

using Tickets = std::vector<World::Ticket>;
using Length = uint64_t;  // of a text, as it goes ahead of it

std::span<std::byte> bytes_of(std::string& text) { return std::as_writable_bytes(std::span(text)); }
std::span<std::byte> bytes_of(Length& length) {
  return std::as_writable_bytes(std::span(&length, 1));
}

// Where to receive each of them.
template <class T>
std::vector<std::span<std::byte>> places_of(std::vector<T>& values) {
  std::vector<std::span<std::byte>> places;
  places.reserve(values.size());
  for (T& value : values) places.push_back(bytes_of(value));
  return places;
}

// Everybody's `mine` into the root's places[rank], but for its own.
Status gather(World& world, uint32_t root, std::span<const std::byte> mine,
              const std::vector<std::span<std::byte>>& places, const Awaited& awaited,
              Channel channel) {
  CHECK_THAT(root < world.size(), "root {} of {}", root, world.size());
  if (world.rank() != root) return world.wait(world.send(root, channel, mine), awaited);
  Tickets tickets;
  for (uint32_t rank = 0; rank < world.size(); ++rank) {
    if (rank != root) tickets.push_back(world.receive(rank, channel, places[rank]));
  }
  return wait_all(world, tickets, awaited);
}

// Before anybody makes room for it.
Status check_length(uint32_t rank, Length length, const Awaited& awaited) {
  if (length <= kTextBytesMax) return {};
  return fail(Code::kInternal, fmt::format("{}: a text of {} bytes", to_text(awaited), length),
              fmt::format("rank {}", rank));
}

}  // namespace

Status wait_all(World& world, std::span<const World::Ticket> tickets, const Awaited& awaited) {
  for (const World::Ticket ticket : tickets) TRY_STATUS(world.wait(ticket, awaited));
  return {};
}

Status broadcast(World& world, uint32_t root, std::span<std::byte> bytes, const Awaited& awaited,
                 Channel channel) {
  CHECK_THAT(root < world.size(), "root {} of {}", root, world.size());
  if (world.rank() != root) return world.wait(world.receive(root, channel, bytes), awaited);
  Tickets tickets;
  for (uint32_t rank = 0; rank < world.size(); ++rank) {
    if (rank != root) tickets.push_back(world.send(rank, channel, bytes));
  }
  return wait_all(world, tickets, awaited);
}

Result<std::string> broadcast_text(World& world, uint32_t root, std::string text,
                                   const Awaited& awaited, Channel channel) {
  Length length = text.size();
  TRY_STATUS(broadcast(world, root, bytes_of(length), awaited, channel));
  TRY_STATUS(check_length(root, length, awaited));
  if (world.rank() != root) text.assign(length, '\0');
  TRY_STATUS(broadcast(world, root, bytes_of(text), awaited, channel));
  return text;
}

Status all_gather(World& world, std::span<const std::byte> mine, std::span<std::byte> all,
                  const Awaited& awaited, Channel channel) {
  const size_t bytes = mine.size();
  CHECK_THAT(all.size() == bytes * world.size(), "{} of {} × {}", all.size(), world.size(), bytes);
  Tickets tickets;
  for (uint32_t rank = 0; rank < world.size(); ++rank) {
    const std::span<std::byte> theirs = all.subspan(rank * bytes, bytes);
    if (rank != world.rank()) {
      tickets.push_back(world.receive(rank, channel, theirs));
      tickets.push_back(world.send(rank, channel, mine));
    } else if (bytes > 0) {
      std::memmove(theirs.data(), mine.data(), bytes);
    }
  }
  return wait_all(world, tickets, awaited);
}

Result<std::vector<std::string>> gather_texts(World& world, uint32_t root, const std::string& mine,
                                              const Awaited& awaited, Channel channel) {
  TRY_STATUS(check_length(world.rank(), mine.size(), awaited));
  const bool is_root = world.rank() == root;
  std::vector<Length> lengths(is_root ? world.size() : 0);
  Length length = mine.size();
  TRY_STATUS(gather(world, root, bytes_of(length), places_of(lengths), awaited, channel));
  for (uint32_t rank = 0; rank < lengths.size(); ++rank) {
    TRY_STATUS(check_length(rank, lengths[rank], awaited));
  }
  std::vector<std::string> texts;
  texts.reserve(lengths.size());
  for (const Length bytes : lengths) texts.emplace_back(bytes, '\0');
  const auto text = std::as_bytes(std::span(mine));
  TRY_STATUS(gather(world, root, text, places_of(texts), awaited, channel));
  if (is_root) texts[root] = mine;
  return texts;
}

Status barrier(World& world, const Awaited& awaited, Channel channel) {
  constexpr uint32_t kRoot = 0;
  const std::vector<std::span<std::byte>> nothing(world.size());
  TRY_STATUS(gather(world, kRoot, {}, nothing, awaited, channel));
  return broadcast(world, kRoot, {}, awaited, channel);
}

}  // namespace switchyard
