#include "experts/token_forecast.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <optional>

namespace switchyard {
namespace {

constexpr size_t kContextsKept = 8192;         // of single tokens, and of pairs …
constexpr size_t kUsesKept = size_t{1} << 24;  // … with so many experts of a layer at most
constexpr uint32_t kWidth = 2;                 // experts kept of a layer, for each of top-k
constexpr double kShareMin = 1 / 32.;          // of those
constexpr double kForecastPrior[] = {2, 8};  // tokens' worth of the mean beside a token's own uses

TokenContext alone(TokenContext context) { return {.token = context.token}; }

// The smallest ones have no token before.
uint64_t number_of(TokenContext context) {
  return uint64_t{static_cast<uint32_t>(context.before) + 1U} << 32 |
         static_cast<uint32_t>(context.token);
}
TokenId token_of(uint64_t context) { return static_cast<TokenId>(context & UINT32_MAX); }

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

// A token of the trace; what followed it in its request, and the rows that it counts in.
struct TokenForecast::Seen {
  TokenContext context;
  const RoutingStep* step = nullptr;
  size_t at = 0;
  std::optional<size_t> next = std::nullopt;
  std::vector<size_t> rows = {};
};

std::vector<TokenForecast::Seen> TokenForecast::tokens_of(const RoutingTrace& trace) {
  std::vector<Seen> seen;
  std::map<uint32_t, size_t> last;  // of a request
  for (const RoutingStep& step : trace.steps) {
    for (size_t at = 0; at < step.tokens.size(); ++at) {
      const auto [before, first] = last.try_emplace(step.request, seen.size());
      TokenContext context{.token = step.tokens[at]};
      if (!first) {
        context.before = seen[before->second].context.token;
        seen[before->second].next = seen.size();
      }
      before->second = seen.size();
      seen.push_back({context, &step, at});
    }
  }
  return seen;
}

// The most frequent of what `of` makes of contexts, unless that has no token.
template <class Of>
void TokenForecast::choose_contexts(const std::vector<Seen>& seen, uint64_t times_min,
                                    const Of& of) {
  std::map<uint64_t, uint64_t> counts;
  for (const Seen& one : seen) {
    const TokenContext context = of(one.context);
    if (context.token >= 0) counts[number_of(context)] += 1;
  }
  std::vector<std::pair<uint64_t, uint64_t>> often(counts.begin(), counts.end());
  std::erase_if(often, [&](const auto& counted) { return counted.second < times_min; });
  std::ranges::stable_sort(often, std::ranges::greater(), &std::pair<uint64_t, uint64_t>::second);
  const size_t most = std::min(kContextsKept, kUsesKept / experts_);
  if (often.size() > most) often.resize(most);
  for (const auto& [context, count] : often) contexts_.push_back(context);
}

TokenForecast::TokenForecast(const RoutingTrace& trace)
    : layers_(trace.shape.layers), experts_(trace.shape.experts) {
  std::vector<Seen> seen = tokens_of(trace);
  choose_contexts(seen, 1, [](TokenContext context) { return alone(context); });
  choose_contexts(
      seen, 2, [](TokenContext context) { return context.before >= 0 ? context : TokenContext{}; });
  std::ranges::sort(contexts_);
  for (Seen& one : seen) one.rows = rows_of(one.context);
  for (const Horizon horizon : {kNow, kLater}) rows_[horizon] = learn(trace, seen, horizon);
}

std::span<const TokenForecast::Share> TokenForecast::Rows::at(size_t row) const {
  return std::span(shares).subspan(begin[row], begin[row + 1] - begin[row]);
}

bool TokenForecast::is_pair(size_t row) const {
  return row < contexts_.size() && contexts_[row] > UINT32_MAX;
}

// Those that tell of it, the most telling first and the mean last.
std::vector<size_t> TokenForecast::rows_of(TokenContext context) const {
  std::vector<size_t> rows;
  for (const uint64_t known : {number_of(context), number_of(alone(context))}) {
    const auto found = std::ranges::lower_bound(contexts_, known);
    const auto row = static_cast<size_t>(found - contexts_.begin());
    if (found == contexts_.end() || *found != known) continue;
    if (rows.empty() || rows.back() != row) rows.push_back(row);
  }
  rows.push_back(contexts_.size());
  return rows;
}

TokenForecast::Rows TokenForecast::learn(const RoutingTrace& trace, const std::vector<Seen>& seen,
                                         Horizon horizon) const {
  std::vector<std::vector<Share>> rows(contexts_.size() + 1);
  for (size_t layer = 0; layer < layers_.size(); ++layer) learn(trace, layer, seen, horizon, rows);
  Rows all{.begin = {0}, .shares = {}};
  for (const std::vector<Share>& row : rows) {
    all.begin.push_back(all.begin.back() + static_cast<uint32_t>(row.size()));
  }
  all.shares.reserve(all.begin.back());
  for (const std::vector<Share>& row : rows) {
    all.shares.insert(all.shares.end(), row.begin(), row.end());
  }
  return all;
}

// Adds the layer's. What comes later is told by single tokens alone: pairs tell no more of it.
void TokenForecast::learn(const RoutingTrace& trace, size_t layer, const std::vector<Seen>& seen,
                          Horizon horizon, std::vector<std::vector<Share>>& rows) const {
  // [contexts and the mean, experts] uses, behind each row of how many tokens; then shares.
  const size_t stride = experts_ + 1, mean = contexts_.size();
  std::vector<double> uses((mean + 1) * stride);
  for (const Seen& one : seen) {
    const Seen* used = horizon == kNow ? &one : one.next ? &seen[*one.next] : nullptr;
    if (used == nullptr) continue;
    const auto route = used->step->at(trace.shape, layer, used->at);
    if (route.empty()) continue;
    for (const size_t row : one.rows) {
      for (const RoutedExpert& routed : route) uses[row * stride + routed.expert] += 1;
      uses[row * stride + experts_] += 1;
    }
  }
  const auto row_at = [&](size_t row) { return std::span(uses).subspan(row * stride, stride); };
  const auto keep = [&](size_t row) {
    const size_t most = size_t{kWidth} * trace.shape.top_k;
    for (const uint32_t expert : highest(row_at(row).first(experts_), most)) {
      rows[row].push_back({static_cast<uint32_t>(layer * experts_ + expert),
                           static_cast<uint8_t>(std::lround(255 * row_at(row)[expert]))});
    }
  };
  const double all = std::max(row_at(mean).back(), 1.0);
  for (double& count : row_at(mean).first(experts_)) count /= all;
  keep(mean);
  for (size_t row = 0; row < mean; ++row) {
    if (is_pair(row) && horizon == kLater) break;
    const auto own = row_at(row);
    const auto prior =
        row_at(is_pair(row) ? rows_of({.token = token_of(contexts_[row])}).front() : mean);
    for (uint32_t expert = 0; expert < experts_; ++expert) {
      own[expert] = (own[expert] + kForecastPrior[horizon] * prior[expert]) /
                    (own.back() + kForecastPrior[horizon]);
    }
    keep(row);
  }
}

uint64_t TokenForecast::bytes() const {
  uint64_t bytes = contexts_.size() * sizeof(uint64_t) +
                   layers_.size() * experts_ * (sizeof(ForeseenUse) + 2 * sizeof(float));
  for (const Rows& rows : rows_) {
    bytes += rows.begin.size() * sizeof(uint32_t) + rows.shares.size() * sizeof(Share);
  }
  return bytes;
}

// Of several tokens' uses, the probability that one of them comes.
void TokenForecast::add(TokenContext context, Horizon horizon,
                        std::vector<ForeseenUse>& uses) const {
  for (const Share& share : rows_[horizon].at(rows_of(context).front())) {
    float& probability = horizon == kNow ? uses[share.place].now : uses[share.place].later;
    probability += (1 - probability) * static_cast<float>(share.of_255) / 255;
  }
}

void TokenForecast::foretell(std::span<const TokenContext> tokens,
                             std::vector<ForeseenUse>& uses) const {
  uses.clear();
  if (tokens.size() > kTokensMax) return;
  for (const uint16_t layer : layers_) {
    for (uint32_t expert = 0; expert < experts_; ++expert) {
      uses.push_back({{layer, static_cast<uint16_t>(expert)}, 0, 0});
    }
  }
  for (const TokenContext context : tokens) {
    add(context, kNow, uses);
    add(alone(context), kLater, uses);
  }
  std::erase_if(uses, [](const ForeseenUse& use) { return use.now == 0 && use.later == 0; });
}

}  // namespace switchyard
