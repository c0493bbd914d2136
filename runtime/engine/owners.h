#pragma once

// Which rank a token's row goes to before its router has spoken. It changes what travels, never a
// result.

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "experts/owner_tables.h"
#include "runtime/base/ids.h"
#include "runtime/base/result.h"

namespace switchyard {

enum class OwnerKind : uint8_t { kNone, kPredicted, kRandom, kAdversarial };

struct OwnerOptions {
  OwnerKind kind = OwnerKind::kNone;
  uint64_t seed = 1;
  // What predictions go by; null: the layer before alone.
  std::shared_ptr<const OwnerTables> tables = nullptr;
};

// "none", "predicted", "random[:SEED]" or "adversarial"; kUsage.
Result<OwnerOptions> parse_owners(std::string_view text);
std::string owners_name(const OwnerOptions& options);

// What is known of a row before a layer's attention.
struct OwnerQuestion {
  uint32_t index = 0;  // of the row in its step
  uint32_t layer = 0;  // of those that have routers
  TokenId token = 0;
  uint32_t position = 0;
  // The owners that were good for it in the layers before, the latest first (MoeBlock's
  // saving_owners); 0: not known.
  std::array<uint64_t, 2> before = {};
};

// Chooses owners, the same on every rank.
class Owners {
 public:
  Owners(const OwnerOptions& options, uint32_t ranks) : options_(options), ranks_(ranks) {}
  uint8_t of_row(const OwnerQuestion& question) const;
  // The home of a new sequence of which `beginning` is known, among ranks that hold so many
  // already; `most` is what one may hold.
  uint32_t of_sequence(uint32_t index, std::span<const TokenId> beginning,
                       std::span<const uint32_t> held, uint32_t most) const;

 private:
  const OwnerOptions options_;
  const uint32_t ranks_;
};

}  // namespace switchyard
