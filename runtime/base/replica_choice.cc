#include "runtime/base/replica_choice.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "runtime/base/check.h"

namespace switchyard {
namespace {

uint64_t bit_of(uint32_t owner) { return owner < kNoOwner ? uint64_t{1} << owner : 0; }

// Ranks in the order in which ties go to them: those behind the owner first.
class Preference {
 public:
  Preference(uint32_t owner, std::span<const uint64_t> loads) : owner_(owner), loads_(loads) {}

  // The first of the ranks in `among`, which is not empty.
  uint32_t first(uint64_t among) const {
    if (!loads_.empty()) return least_loaded(among);
    const uint64_t behind = owner_ < kNoOwner ? among & ~((bit_of(owner_) << 1) - 1) : among;
    return static_cast<uint32_t>(std::countr_zero(behind != 0 ? behind : among));
  }

 private:
  uint32_t least_loaded(uint64_t among) const {
    auto best = static_cast<uint32_t>(std::countr_zero(among));
    for (uint64_t left = among & (among - 1); left != 0; left &= left - 1) {
      const auto rank = static_cast<uint32_t>(std::countr_zero(left));
      if (loads_[rank] < loads_[best]) best = rank;
    }
    return best;
  }

  const uint32_t owner_;
  const std::span<const uint64_t> loads_;
};

// Those of `among` that have a pick in memory, if any of them does.
uint64_t rather_present(uint64_t among, std::span<const uint64_t> present, size_t pick) {
  const uint64_t there = present.empty() ? 0 : among & present[pick];
  return there != 0 ? there : among;
}

// The rank that holds most of the picks that none of `used` holds, and of such ranks one that has
// most of them in memory; kNoOwner when there are none.
uint32_t best_addition(std::span<const uint64_t> holders, uint64_t used,
                       std::span<const uint64_t> present, const Preference& preference) {
  uint64_t open = 0;
  for (const uint64_t ranks : holders) open |= (ranks & used) == 0 ? ranks : 0;
  if (open == 0) return kNoOwner;
  std::pair<uint32_t, uint32_t> most = {0, 0};
  uint64_t equal = 0;
  for (; open != 0; open &= open - 1) {
    const uint64_t rank = open & (~open + 1);
    std::pair<uint32_t, uint32_t> covers = {0, 0};  // picks, and those in memory
    for (size_t i = 0; i < holders.size(); ++i) {
      if ((holders[i] & used) != 0 || (holders[i] & rank) == 0) continue;
      covers.first += 1;
      covers.second += !present.empty() && (present[i] & rank) != 0 ? 1 : 0;
    }
    if (covers > most) equal = 0;
    if (covers >= most) equal |= rank;
    most = std::max(covers, most);
  }
  return preference.first(equal);
}

bool covers_all(std::span<const uint64_t> holders, uint64_t used) {
  for (const uint64_t ranks : holders) {
    if ((ranks & used) == 0) return false;
  }
  return true;
}

// Ranks that together hold all the picks, the owner among them if there is one. Those without which
// it cannot be done come first; those that later ones made superfluous are taken out again.
uint64_t cover(std::span<const uint64_t> holders, uint32_t owner, std::span<const uint64_t> present,
               const Preference& preference) {
  uint64_t used = bit_of(owner), added = 0;
  for (const uint64_t ranks : holders) used |= std::has_single_bit(ranks) ? ranks : 0;
  for (;;) {
    const uint32_t rank = best_addition(holders, used | added, present, preference);
    if (rank == kNoOwner) break;
    added |= uint64_t{1} << rank;
  }
  for (uint64_t left = added; left != 0; left &= left - 1) {
    const uint64_t rank = left & (~left + 1);
    if (covers_all(holders, used | (added & ~rank))) added &= ~rank;
  }
  return used | added;
}

}  // namespace

void choose_holders(std::span<const uint64_t> holders, uint32_t owner, std::span<uint8_t> chosen,
                    std::span<const uint64_t> loads, std::span<const uint64_t> present) {
  CHECK(holders.size() == chosen.size());
  CHECK(present.empty() || present.size() == holders.size());
  const Preference preference(owner, loads);
  const uint64_t used = cover(holders, owner, present, preference);
  for (size_t i = 0; i < holders.size(); ++i) {
    const uint64_t among = rather_present(holders[i] & used, present, i);
    // Without loads the owner's own picks stay with it.
    const bool own = loads.empty() && (among & bit_of(owner)) != 0;
    chosen[i] = static_cast<uint8_t>(own ? owner : preference.first(among));
  }
}

uint32_t copies_needed(std::span<const uint64_t> holders, uint32_t owner) {
  const uint64_t used = cover(holders, owner, {}, Preference(owner, {}));
  return static_cast<uint32_t>(std::popcount(used & ~bit_of(owner)));
}

uint64_t saving_owners(std::span<const uint64_t> holders) {
  uint64_t all = 0;
  bool replicas = false;
  for (const uint64_t ranks : holders) {
    all |= ranks;
    replicas |= !std::has_single_bit(ranks);
  }
  if (!replicas) return all;
  uint32_t least = kNoOwner;
  uint64_t best = 0;
  for (uint64_t left = all; left != 0; left &= left - 1) {
    const auto rank = static_cast<uint32_t>(std::countr_zero(left));
    const uint32_t copies = copies_needed(holders, rank);
    if (copies < least) best = 0;
    if (copies <= least) best |= uint64_t{1} << rank;
    least = copies < least ? copies : least;
  }
  return best;
}

}  // namespace switchyard
