#include "experts/token_forecast.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <optional>

namespace switchyard {
namespace {

constexpr size_t kTokensKept = 8192;
constexpr uint32_t kWidth = 2;         // experts kept of a layer, for each of top-k
constexpr double kShareMin = 1 / 32.;  // of those
constexpr double kPrior[] = {2, 8};    // tokens' worth of the mean beside a token's own uses

// The places with the highest shares, at most `most`, none below kShareMin.
std::vector<uint32_t> highest(std::span<const double> shares, size_t most) {
  std::vector<uint32_t> places(shares.size());
  std::iota(places.begin(), places.end(), 0U);
  std::ranges::stable_sort(places, std::ranges::greater(), [&](uint32_t at) { return shares[at]; });
  if (places.size() > most) places.resize(most);
  std::erase_if(places, [&](uint32_t at) { return shares[at] < kShareMin; });
  return places;
}

}  // namespace

// A token of the trace; what followed it in its request.
struct TokenForecast::Seen {
  TokenId token = -1;
  const RoutingStep* step = nullptr;
  size_t at = 0;
  std::optional<size_t> next = std::nullopt;
};

std::vector<TokenForecast::Seen> TokenForecast::tokens_of(const RoutingTrace& trace) {
  std::vector<Seen> seen;
  std::map<uint32_t, size_t> last;  // of a request
  for (const RoutingStep& step : trace.steps) {
    for (size_t at = 0; at < step.tokens.size(); ++at) {
      const auto [before, first] = last.try_emplace(step.request, seen.size());
      if (!first) seen[before->second].next = seen.size();
      before->second = seen.size();
      seen.push_back({step.tokens[at], &step, at});
    }
  }
  return seen;
}

void TokenForecast::choose_tokens(const std::vector<Seen>& seen) {
  std::map<TokenId, uint64_t> counts;
  for (const Seen& one : seen) {
    if (one.token >= 0) counts[one.token] += 1;
  }
  std::vector<std::pair<TokenId, uint64_t>> often(counts.begin(), counts.end());
  std::ranges::stable_sort(often, std::ranges::greater(), &std::pair<TokenId, uint64_t>::second);
  if (often.size() > kTokensKept) often.resize(kTokensKept);
  for (const auto& [token, count] : often) tokens_.push_back(token);
  std::ranges::sort(tokens_);
}

TokenForecast::TokenForecast(const RoutingTrace& trace)
    : layers_(trace.shape.layers), experts_(trace.shape.experts) {
  const std::vector<Seen> seen = tokens_of(trace);
  choose_tokens(seen);
  for (auto& rows : rows_) rows.resize(tokens_.size() + 1);
  for (size_t layer = 0; layer < layers_.size(); ++layer) {
    learn(trace, layer, seen, kNow);
    learn(trace, layer, seen, kLater);
    place_of_layer_.resize(layers_[layer] + size_t{1});
    place_of_layer_.back() = static_cast<uint32_t>(layer * experts_);
  }
}

size_t TokenForecast::row_of(TokenId token) const {
  const auto found = std::ranges::lower_bound(tokens_, token);
  const bool known = found != tokens_.end() && *found == token;
  return known ? static_cast<size_t>(found - tokens_.begin()) : tokens_.size();
}

void TokenForecast::learn(const RoutingTrace& trace, size_t layer, const std::vector<Seen>& seen,
                          Horizon horizon) {
  // [tokens and the mean, experts] uses, behind each row of how many tokens.
  const size_t stride = experts_ + 1;
  std::vector<double> uses((tokens_.size() + 1) * stride);
  for (const Seen& one : seen) {
    const Seen* used = horizon == kNow ? &one : one.next ? &seen[*one.next] : nullptr;
    if (used == nullptr) continue;
    const auto route = used->step->at(trace.shape, layer, used->at);
    if (route.empty()) continue;
    for (const size_t row : {row_of(one.token), tokens_.size()}) {
      for (const RoutedExpert& routed : route) uses[row * stride + routed.expert] += 1;
      uses[row * stride + experts_] += 1;
      if (row == tokens_.size()) break;  // a token that is not kept counts once
    }
  }
  const auto mean = std::span(uses).last(stride);
  const double all = std::max(mean.back(), 1.0);
  std::vector<double> shares(experts_);
  for (size_t row = 0; row <= tokens_.size(); ++row) {
    const auto own = std::span(uses).subspan(row * stride, stride);
    for (uint32_t expert = 0; expert < experts_; ++expert) {
      shares[expert] =
          (own[expert] + kPrior[horizon] * mean[expert] / all) / (own.back() + kPrior[horizon]);
    }
    for (const uint32_t expert : highest(shares, size_t{kWidth} * trace.shape.top_k)) {
      rows_[horizon][row].push_back({{trace.shape.layers[layer], static_cast<uint16_t>(expert)},
                                     static_cast<uint8_t>(std::lround(255 * shares[expert]))});
    }
  }
}

uint64_t TokenForecast::bytes() const {
  uint64_t bytes = tokens_.size() * sizeof(TokenId) +
                   layers_.size() * experts_ * (sizeof(ForeseenUse) + 2 * sizeof(float));
  for (const auto& rows : rows_) {
    bytes += rows.capacity() * sizeof(std::vector<Share>);
    for (const auto& row : rows) bytes += row.capacity() * sizeof(Share);
  }
  return bytes;
}

// Of several tokens' uses, the probability that one of them comes.
void TokenForecast::add(const std::vector<Share>& row, Horizon horizon,
                        std::vector<ForeseenUse>& uses) const {
  for (const Share& share : row) {
    ForeseenUse& use = uses[place_of_layer_[share.key.layer] + share.key.expert];
    float& probability = horizon == kNow ? use.now : use.later;
    probability += (1 - probability) * static_cast<float>(share.of_255) / 255;
  }
}

void TokenForecast::foretell(std::span<const TokenId> tokens,
                             std::vector<ForeseenUse>& uses) const {
  uses.clear();
  if (tokens.size() > kTokensMax) return;
  for (const uint16_t layer : layers_) {
    for (uint32_t expert = 0; expert < experts_; ++expert) {
      uses.push_back({{layer, static_cast<uint16_t>(expert)}, 0, 0});
    }
  }
  for (const TokenId token : tokens) {
    add(rows_[kNow][row_of(token)], kNow, uses);
    add(rows_[kLater][row_of(token)], kLater, uses);
  }
  std::erase_if(uses, [](const ForeseenUse& use) { return use.now == 0 && use.later == 0; });
}

}  // namespace switchyard
