#include "experts/predictors/token_predictor.h"

#include <algorithm>

namespace switchyard {
namespace {

constexpr uint32_t kLayersMax = 3;
constexpr size_t kEntries = 16384;
constexpr size_t kSet = 4;          // entries where a token may be
constexpr uint32_t kSetShift = 20;  // leaves a set of 2^32 hashes
static_assert(kEntries == kSet << (32 - kSetShift));

}  // namespace

TokenPredictor::TokenPredictor(const PredictorShape& shape)
    : shape_(shape),
      layers_(std::min(shape.layers, kLayersMax)),
      tokens_(kEntries, kFree),
      used_(kEntries),
      known_(kEntries),
      routes_(kEntries * layers_ * shape.top_k) {}

uint64_t TokenPredictor::bytes() const {
  return kEntries * (sizeof(TokenId) + sizeof(uint64_t) + sizeof(uint8_t)) +
         routes_.size() * sizeof(uint16_t);
}

size_t TokenPredictor::find(TokenId token) const {
  const uint32_t mixed = static_cast<uint32_t>(token) * 2654435769U;
  const size_t first = (mixed >> kSetShift) * kSet;
  size_t oldest = first;
  for (size_t at = first; at < first + kSet; ++at) {
    if (tokens_[at] == token) return at;
    if (used_[at] < used_[oldest]) oldest = at;
  }
  return oldest;
}

void TokenPredictor::begin_step(std::span<const TokenId> tokens, std::span<const uint32_t>) {
  step_ += 1;
  step_tokens_.assign(tokens.begin(), tokens.end());
}

void TokenPredictor::observe(uint32_t layer, std::span<const RoutedExpert> routed) {
  if (layer >= layers_) return;
  for (size_t i = 0; i < step_tokens_.size(); ++i) {
    if (step_tokens_[i] < 0) continue;
    const size_t at = find(step_tokens_[i]);
    if (tokens_[at] != step_tokens_[i]) {
      tokens_[at] = step_tokens_[i];
      known_[at] = 0;
    }
    used_[at] = step_;
    known_[at] = static_cast<uint8_t>(known_[at] | 1 << layer);
    std::ranges::transform(routed.subspan(i * shape_.top_k, shape_.top_k),
                           routes_.begin() + (at * layers_ + layer) * shape_.top_k,
                           &RoutedExpert::expert);
  }
}

uint32_t TokenPredictor::predict(uint32_t layer, uint32_t token, std::span<uint16_t> out) const {
  const TokenId id = step_tokens_[token];
  if (layer >= layers_ || id < 0) return 0;
  const size_t at = find(id);
  if (tokens_[at] != id || (known_[at] >> layer & 1) == 0) return 0;
  const auto route =
      std::span(routes_).subspan((at * layers_ + layer) * shape_.top_k, shape_.top_k);
  const size_t count = std::min(out.size(), route.size());
  std::ranges::copy(route.first(count), out.begin());
  return static_cast<uint32_t>(count);
}

}  // namespace switchyard
