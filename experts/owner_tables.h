#pragma once

// Guesses on which rank a token's row should lie before a layer's experts are known: on one that
// has some of them it saves a copy each way. Learned from a trace, the same on every rank; a wrong
// guess costs a copy, never another result.

#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

#include "experts/placement.h"
#include "experts/routing_trace.h"

namespace switchyard {

struct OwnerGuess {
  uint8_t rank = 0;
  float confidence = 0;  // how probably a row on that rank saves the token a copy; 0: nothing known
};

// Thread-safe once learned.
class OwnerTables {
 public:
  static constexpr uint64_t kBytesMax = 16 << 20;

  // Of the trace's layers that have routers, [0, layers) here. How far counts may be believed is
  // learned on its last fifth, then all of it is counted. Above `bytes_max` the rarest tokens and
  // sets of ranks are left out. No guess is better than rank 0 for an empty trace.
  static OwnerTables learn(const RoutingTrace& trace, const Placement& placement,
                           uint64_t bytes_max = kBytesMax);

  // By the token itself. Not confident of tokens that the trace did not have.
  OwnerGuess by_token(size_t layer, TokenId token) const;
  // By saving_owners() of the token in the layers before, the latest first; two are looked at.
  OwnerGuess by_previous(size_t layer, std::span<const RankSet> previous) const;
  // By both where that was seen often enough; else the more confident of the two, else the rank
  // that most tokens of the layer need.
  OwnerGuess owner(size_t layer, TokenId token, std::span<const RankSet> previous) const;

  // The rank on which a sequence that begins with `tokens` should have its rows in all layers:
  // where most copies are saved.
  uint32_t home(std::span<const TokenId> tokens) const;

  uint64_t bytes() const;
  size_t layers() const { return usual_.size(); }

 private:
  friend class OwnerLearner;

  // Rank and confidence in 16 bits.
  class Packed {
   public:
    Packed() = default;
    explicit Packed(OwnerGuess guess)
        : bits_(static_cast<uint16_t>(guess.rank << 10 | std::lround(guess.confidence * 1023))) {}
    operator OwnerGuess() const {  // NOLINT(google-explicit-constructor)
      return {static_cast<uint8_t>(bits_ >> 10), static_cast<float>(bits_ & 1023) / 1023};
    }

   private:
    uint16_t bits_ = 0;
  };
  // What sets of ranks before a layer say, found by a hash of layer and sets. `check` is a part of
  // it: one look-up in some ten thousand takes another entry for its own.
  struct SetEntry {
    uint16_t check = 0;  // 0: free
    Packed guess;
  };

  // Of by_token_ and home_; kNoRow for unknown tokens.
  uint32_t row_of(TokenId token) const;
  OwnerGuess look_up(uint64_t hash) const;

  static constexpr uint32_t kNoRow = UINT32_MAX;

  uint32_t ranks_ = 1;
  std::vector<Packed> usual_;              // [layers] without knowing anything of the token
  std::vector<uint8_t> usual_home_ = {0};  // [ranks] as home_
  std::vector<TokenId> keys_;              // [2^n] −1: free; open addressing, like by_sets_
  std::vector<uint32_t> rows_;             // [2^n]
  std::vector<Packed> by_token_;           // [rows][layers]
  std::vector<uint8_t> home_;              // [rows][ranks] mean chance over the layers, in 255ths
  std::vector<SetEntry> by_sets_;          // [2^m]
};

}  // namespace switchyard
