#include "experts/owner_tables.h"

#include <algorithm>

#include "experts/owner_hash.h"

namespace switchyard {

uint32_t OwnerTables::row_of(TokenId token) const {
  if (token < 0 || keys_.empty()) return kNoRow;
  const size_t last = keys_.size() - 1;
  for (size_t slot = hash_token(token) & last; keys_[slot] >= 0; slot = (slot + 1) & last) {
    if (keys_[slot] == token) return rows_[slot];
  }
  return kNoRow;
}

OwnerGuess OwnerTables::look_up(uint64_t hash) const {
  if (by_sets_.empty()) return {};
  const size_t last = by_sets_.size() - 1;
  for (size_t slot = hash & last; by_sets_[slot].check != 0; slot = (slot + 1) & last) {
    if (by_sets_[slot].check == check_of(hash)) return by_sets_[slot].guess;
  }
  return {};
}

OwnerGuess OwnerTables::by_token(size_t layer, TokenId token) const {
  const uint32_t row = row_of(token);
  return row != kNoRow ? by_token_[size_t{row} * layers() + layer] : OwnerGuess{};
}

OwnerGuess OwnerTables::by_previous(size_t layer, std::span<const RankSet> previous) const {
  if (previous.empty()) return {};
  OwnerGuess guess;
  if (previous.size() > 1) guess = look_up(hash_sets(layer, previous[0], previous[1]));
  return guess.confidence > 0 ? guess : look_up(hash_sets(layer, previous[0], 0));
}

OwnerGuess OwnerTables::owner(size_t layer, TokenId token,
                              std::span<const RankSet> previous) const {
  const OwnerGuess token_says = by_token(layer, token);
  if (token_says.confidence > 0 && !previous.empty()) {
    const uint32_t kind = kind_of(token_says.rank, token_says.confidence);
    const OwnerGuess both_say = look_up(hash_both(layer, previous[0], kind));
    if (both_say.confidence > 0) return both_say;
  }
  const OwnerGuess sets_say = by_previous(layer, previous);
  const OwnerGuess best = sets_say.confidence > token_says.confidence ? sets_say : token_says;
  return best.confidence > 0 ? best : usual_[layer];
}

uint32_t OwnerTables::home(std::span<const TokenId> tokens) const {
  std::vector<uint64_t> chances(ranks_);
  for (const TokenId token : tokens) {
    const uint32_t row = row_of(token);
    const uint8_t* home = row != kNoRow ? &home_[size_t{row} * ranks_] : usual_home_.data();
    for (uint32_t rank = 0; rank < ranks_; ++rank) chances[rank] += home[rank];
  }
  return static_cast<uint32_t>(std::ranges::max_element(chances) - chances.begin());
}

uint64_t OwnerTables::bytes() const {
  return usual_.size() * sizeof(Packed) + usual_home_.size() + keys_.size() * sizeof(TokenId) +
         rows_.size() * sizeof(uint32_t) + by_token_.size() * sizeof(Packed) + home_.size() +
         by_sets_.size() * sizeof(SetEntry);
}

}  // namespace switchyard
