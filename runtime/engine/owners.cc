#include "runtime/engine/owners.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <charconv>

#include "runtime/base/prng.h"

namespace switchyard {
namespace {

constexpr std::string_view kRandom = "random";

}  // namespace

Result<OwnerOptions> parse_owners(std::string_view text) {
  if (text == "none") return OwnerOptions{OwnerKind::kNone};
  if (text == "predicted") return OwnerOptions{OwnerKind::kPredicted};
  if (text == "adversarial") return OwnerOptions{OwnerKind::kAdversarial};
  OwnerOptions random{OwnerKind::kRandom};
  if (text == kRandom) return random;
  if (text.starts_with(kRandom) && text.substr(kRandom.size()).starts_with(':')) {
    const std::string_view seed = text.substr(kRandom.size() + 1);
    const auto [end, error] = std::from_chars(seed.data(), seed.data() + seed.size(), random.seed);
    if (error == std::errc{} && end == seed.data() + seed.size()) return random;
  }
  return fail(Code::kUsage, fmt::format("no owners are named '{}'", text), "--owners",
              "none, predicted, random[:SEED] or adversarial");
}

std::string owners_name(const OwnerOptions& options) {
  switch (options.kind) {
    case OwnerKind::kNone:
      return "none";
    case OwnerKind::kPredicted:
      return "predicted";
    case OwnerKind::kRandom:
      return fmt::format("random:{}", options.seed);
    case OwnerKind::kAdversarial:
      return "adversarial";
  }
  return "?";
}

uint8_t Owners::of_row(const OwnerQuestion& question) const {
  const uint64_t all = ranks_ == 64 ? ~uint64_t{0} : (uint64_t{1} << ranks_) - 1;
  switch (options_.kind) {
    case OwnerKind::kNone:
      return static_cast<uint8_t>(question.index % ranks_);
    case OwnerKind::kRandom: {
      const uint64_t mixed = options_.seed ^ uint64_t { question.layer } << 48 ^
                             uint64_t { question.index } << 32 ^ question.position;
      return static_cast<uint8_t>(Prng(mixed).below(ranks_));
    }
    case OwnerKind::kPredicted: {
      const uint64_t likely = question.ranks_before & all;
      return static_cast<uint8_t>(likely != 0 ? std::countr_zero(likely) : question.index % ranks_);
    }
    case OwnerKind::kAdversarial: {
      const uint64_t unlikely = ~question.ranks_before & all;
      return static_cast<uint8_t>(unlikely != 0 ? 63 - std::countl_zero(unlikely) : ranks_ - 1);
    }
  }
  return 0;
}

uint32_t Owners::of_sequence(uint32_t index, std::span<const uint32_t> held, uint32_t most) const {
  if (options_.kind == OwnerKind::kRandom || options_.kind == OwnerKind::kAdversarial) {
    const bool random = options_.kind == OwnerKind::kRandom;
    const auto wish = static_cast<uint32_t>(
        random ? Prng(options_.seed ^ uint64_t{index} << 32).below(ranks_) : ranks_ - 1);
    for (uint32_t i = 0; i < ranks_; ++i) {
      const uint32_t rank = (wish + i) % ranks_;
      if (held[rank] < most) return rank;
    }
  }
  return static_cast<uint32_t>(std::min_element(held.begin(), held.end()) - held.begin());
}

}  // namespace switchyard
