#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "experts/policies/policy.h"
#include "experts/routing_trace.h"
#include "runtime/base/ids.h"

namespace switchyard {

// A token and the one before it in its sequence; -1: there is none, or it is not known.
struct TokenContext {
  TokenId before = -1;
  TokenId token = -1;
};

// Which experts a token will need in all layers, and which the one after it, by its id and that of
// the one before: learned from a routing trace with ids. Known before a token's first layer, it
// tells an eviction policy what is worth keeping. Any thread; never blocks.
class TokenForecast {
 public:
  static constexpr uint32_t kTokensMax = 16;  // of a step; nothing is foretold of larger ones

  // Of the trace's 8,192 most frequent tokens and as many pairs (fewer where a layer has thousands
  // of experts); other pairs are taken for their second tokens, other tokens for the mean.
  explicit TokenForecast(const RoutingTrace& trace);

  uint64_t bytes() const;
  // What these tokens, one of each sequence, foretell: distinct experts, by layer.
  void foretell(std::span<const TokenContext> tokens, std::vector<ForeseenUse>& uses) const;

 private:
  enum Horizon : uint8_t { kNow, kLater };
  struct Share {
    uint32_t place : 24 = 0;  // of the expert, counting all layers'
    uint32_t of_255 : 8 = 0;  // how often it is used
  };
  // One after the other; row r is [begin[r], begin[r + 1]).
  struct Rows {
    std::vector<uint32_t> begin;
    std::vector<Share> shares;
    std::span<const Share> at(size_t row) const;
  };
  struct Seen;
  static std::vector<Seen> tokens_of(const RoutingTrace& trace);
  template <class Of>
  void choose_contexts(const std::vector<Seen>& seen, uint64_t times_min, const Of& of);
  Rows learn(const RoutingTrace& trace, const std::vector<Seen>& seen, Horizon horizon) const;
  void learn(const RoutingTrace& trace, size_t layer, const std::vector<Seen>& seen,
             Horizon horizon, std::vector<std::vector<Share>>& rows) const;
  bool is_pair(size_t row) const;
  std::vector<size_t> rows_of(TokenContext context) const;
  void add(TokenContext context, Horizon horizon, std::vector<ForeseenUse>& uses) const;

  const std::vector<uint16_t> layers_;  // the model's that have routers
  const uint32_t experts_;              // of a layer
  std::vector<uint64_t> contexts_;      // their numbers, ascending: single tokens, then pairs
  Rows rows_[2];                        // [horizons], of contexts and, last, the mean
};

}  // namespace switchyard
