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
  if (text == "none") return OwnerOptions{.kind = OwnerKind::kNone};
  if (text == "predicted") return OwnerOptions{.kind = OwnerKind::kPredicted};
  if (text == "adversarial") return OwnerOptions{.kind = OwnerKind::kAdversarial};
  OwnerOptions random{.kind = OwnerKind::kRandom};
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
      if (options_.tables) {
        const size_t known = question.before[0] == 0 ? 0 : question.before[1] == 0 ? 1 : 2;
        return options_.tables
            ->owner(question.layer, question.token, std::span(question.before).first(known))
            .rank;
      }
      const uint64_t likely = question.before[0] & all;
      return static_cast<uint8_t>(likely != 0 ? std::countr_zero(likely) : question.index % ranks_);
    }
    case OwnerKind::kAdversarial: {
      const uint64_t unlikely = ~question.before[0] & all;
      return static_cast<uint8_t>(unlikely != 0 ? 63 - std::countl_zero(unlikely) : ranks_ - 1);
    }
  }
  return 0;
}

uint32_t Owners::of_sequence(uint32_t index, std::span<const TokenId> beginning,
                             std::span<const uint32_t> held, uint32_t most) const {
  const auto least_held =
      static_cast<uint32_t>(std::min_element(held.begin(), held.end()) - held.begin());
  uint32_t wish = least_held;
  switch (options_.kind) {
    case OwnerKind::kNone:
      return least_held;
    case OwnerKind::kRandom:
      wish = static_cast<uint32_t>(Prng(options_.seed ^ uint64_t{index} << 32).below(ranks_));
      break;
    case OwnerKind::kPredicted:
      if (options_.tables && !beginning.empty()) wish = options_.tables->home(beginning);
      break;
    case OwnerKind::kAdversarial:
      wish = ranks_ - 1;
      break;
  }
  return held[wish] < most ? wish : least_held;
}

}  // namespace switchyard
