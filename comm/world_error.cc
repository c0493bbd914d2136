#include "comm/world_error.h"

#include <fmt/format.h>

namespace switchyard {

namespace {

// A poll awaits nothing by name.
std::string while_waiting(const Awaited& awaited) {
  return awaited.what.empty() ? "" : " while this rank waited for " + to_text(awaited);
}

}  // namespace

std::string rank_place(uint32_t rank) { return fmt::format("rank {}", rank); }

std::string to_text(const Awaited& awaited) {
  if (awaited.layer < 0) return std::string(awaited.what);
  return fmt::format("{} of layer {}", awaited.what, awaited.layer);
}

Error late_error(uint32_t rank, double seconds, const Awaited& awaited) {
  return {Code::kUnavailable,
          fmt::format("nothing after {:.4g} s while waiting for {}", seconds, to_text(awaited)),
          rank_place(rank),
          {}};
}

Error silent_error(uint32_t rank, double seconds, const Awaited& awaited) {
  return {Code::kUnavailable,
          fmt::format("silent for {:.4g} s{}", seconds, while_waiting(awaited)),
          rank_place(rank),
          {}};
}

Error gone_error(uint32_t rank, const Awaited& awaited) {
  return {Code::kUnavailable, "left" + while_waiting(awaited), rank_place(rank), {}};
}

Error length_error(uint32_t rank, size_t bytes, size_t bytes_came, const Awaited& awaited) {
  return {Code::kInternal,
          fmt::format("a message of {} bytes instead of {}{}", bytes_came, bytes,
                      while_waiting(awaited)),
          rank_place(rank),
          {}};
}

Error deadlock_error(uint32_t rank, bool sends, const Awaited& awaited) {
  return {Code::kInternal,
          fmt::format("deadlock, nobody can go on: waiting for {} {} rank {}", to_text(awaited),
                      sends ? "to" : "from", rank),
          rank_place(rank),
          {}};
}

Error left_error(uint32_t rank, const Error& error) {
  Error told = error;
  told.where = error.where.empty() ? rank_place(rank) : rank_place(rank) + ": " + error.where;
  return told;
}

}  // namespace switchyard
