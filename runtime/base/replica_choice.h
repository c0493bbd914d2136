#pragma once

// Which of the ranks that hold an expert computes it for a token, where there are several. The
// choice decides how many copies of the token travel, never its result. Pure, does not block or
// allocate.

#include <cstdint>
#include <span>

namespace switchyard {

inline constexpr uint32_t kNoOwner = 64;  // the token's row lies on none of the ranks

// chosen[i] becomes one of the ranks in holders[i] (a bit each, none empty) for every pick of a
// token whose row lies on `owner`: few distinct ranks besides the owner, whose own work costs no
// copy. Where ranks do equally well, one of those in present[i], which have the pick in memory;
// then the one with the smaller of loads[rank] or, without loads, the first one behind the owner.
// `present` as holders, or empty: not known. Greedy: seldom one rank more than the fewest there
// are.
void choose_holders(std::span<const uint64_t> holders, uint32_t owner, std::span<uint8_t> chosen,
                    std::span<const uint64_t> loads = {}, std::span<const uint64_t> present = {});

// Ranks besides `owner` that such a choice sends the token to.
uint32_t copies_needed(std::span<const uint64_t> holders, uint32_t owner);

// The owners with which copies_needed is the least, a bit each: one copy less than with any other.
// Without replicas they are the ranks that have one of the picks. None for no picks.
uint64_t saving_owners(std::span<const uint64_t> holders);

}  // namespace switchyard
