#include "runtime/engine/routing_watch.h"

#include <algorithm>
#include <array>
#include <numeric>
#include <string>
#include <utility>

#include "experts/simulation.h"
#include "runtime/base/check.h"

namespace switchyard {
namespace {

constexpr std::array<RouterQuery, kRouterQueries> kAllQueries = {
    RouterQuery::kSameLayer, RouterQuery::kPreAttention,    RouterQuery::kNextLayer,
    RouterQuery::kNextTwo,   RouterQuery::kNextLayerShared, RouterQuery::kNextTwoShared};

bool with_shared(RouterQuery query) {
  return query == RouterQuery::kNextLayerShared || query == RouterQuery::kNextTwoShared;
}

constexpr RoutedExpert kNotAsked = {0, -1};

}  // namespace

RoutingWatch::RoutingWatch(const ModelSpec& spec, const DenseWeights& weights, ExpertCache& cache,
                           Parts parts)
    : spec_(spec),
      cache_(&cache),
      foresight_(std::move(parts.foresight)),
      forecast_(std::move(parts.forecast)),
      sink_(std::move(parts.sink)),
      replay_(parts.replay),
      probe_(spec, weights, Foresight::kTokensMax),
      layers_(spec.router_layers()),
      place_of_(spec.layers.size()),
      asked_(parts.asked),
      answers_(kRouterQueries) {
  CHECK(sink_ == nullptr || replay_ == nullptr);
  for (uint32_t at = 0; at < layers_.size(); ++at) place_of_[layers_[at]] = at;
}

uint32_t RoutingWatch::queries_for(const Foresight* foresight, bool records) {
  uint32_t queries = records ? (1U << kRouterQueries) - 1 : 0;
  if (foresight == nullptr) return queries;
  for (const RouterQuery query : foresight->queries()) {
    queries |= 1U << static_cast<uint32_t>(query);
  }
  return queries;
}

bool RoutingWatch::asks(RouterQuery query) const {
  if (with_shared(query) && spec_.moe.shared_intermediate == 0) return false;
  const bool asked = (asked_ >> static_cast<uint32_t>(query) & 1) != 0;
  return asked && rows_.size() <= Foresight::kTokensMax;
}

// A sequence at its first position is a new request.
void RoutingWatch::number_requests() {
  for (const StepRow& row : rows_) {
    const auto sequence = static_cast<uint32_t>(row.sequence);
    if (sequence >= request_of_.size()) {
      request_of_.resize(sequence + 1);
      before_.resize(sequence + 1, -1);
    }
    if (row.position > 0) continue;
    request_of_[sequence] = requests_++;
    before_[sequence] = -1;
  }
}

void RoutingWatch::begin_step(std::span<const StepRow> rows) {
  rows_.assign(rows.begin(), rows.end());
  all_rows_.resize(rows.size());
  std::iota(all_rows_.begin(), all_rows_.end(), 0U);
  number_requests();
  routes_.assign(layers_.size() * rows.size() * spec_.moe.top_k, {});
  if (sink_) {
    const bool small = rows.size() <= Foresight::kTokensMax;
    for (auto& answers : answers_) {
      answers.assign(small ? layers_.size() * rows.size() * probe_.width() : 0, kNotAsked);
    }
  }
  if (!foresight_ && !forecast_) return;
  std::vector<TokenId> tokens;
  std::vector<TokenContext> contexts;
  std::vector<uint32_t> requests;
  for (size_t i = 0; i < rows.size(); ++i) {
    const auto sequence = static_cast<uint32_t>(rows[i].sequence);
    tokens.push_back(replay_ != nullptr ? replay_->token(i) : rows[i].token);
    contexts.push_back({std::exchange(before_[sequence], tokens.back()), tokens.back()});
    requests.push_back(request_of_[sequence]);
  }
  if (forecast_) {
    forecast_->foretell(contexts, foreseen_);
    cache_->foresee(foreseen_);
    if (foresight_) foresight_->foresee(foreseen_);
  }
  if (foresight_) cache_->prefetch(foresight_->begin_step(tokens, requests));
}

// Of the router of layers_[at], about all rows.
void RoutingWatch::take_answers(RouterQuery query, uint32_t at,
                                std::span<const RoutedExpert> answers) {
  RoutingReplay::Answers said = {answers, probe_.width()};
  if (replay_ != nullptr) said = replay_->answers(query, at);
  if (sink_) {
    std::ranges::copy(said.answers, answers_[static_cast<size_t>(query)].begin() +
                                        static_cast<ptrdiff_t>(at * said.answers.size()));
  }
  if (foresight_ && !said.answers.empty()) {
    cache_->prefetch(foresight_->answer(query, at, said.answers, said.width));
  }
}

void RoutingWatch::before_attention(const Compute& compute, uint32_t layer,
                                    const Workspace& workspace) {
  if (!spec_.layers[layer].sparse || !asks(RouterQuery::kPreAttention)) return;
  take_answers(RouterQuery::kPreAttention, place_of_[layer],
               probe_.ask(compute, layer, false, all_rows_, workspace));
}

void RoutingWatch::routed(const Compute& compute, uint32_t layer, std::span<const uint32_t> rows,
                          const Workspace& workspace) {
  const uint32_t at = place_of_[layer], k = spec_.moe.top_k;
  noted_queries_.clear();
  for (const RouterQuery query : kAllQueries) {
    const bool ahead = query != RouterQuery::kPreAttention;
    if (ahead && asks(query) && at + query_distance(query) < layers_.size()) {
      noted_queries_.push_back(query);
    }
  }
  const size_t width = k + noted_queries_.size() * probe_.width();
  notes_.assign(rows_.size() * width, {});
  const auto note = [&](std::span<const RoutedExpert> said, size_t begin, size_t count) {
    for (size_t i = 0; i < rows.size(); ++i) {
      std::ranges::copy(said.subspan(i * count, count), notes_.data() + rows[i] * width + begin);
    }
  };
  note({workspace.routed, rows.size() * k}, 0, k);
  for (size_t i = 0; i < noted_queries_.size(); ++i) {
    const RouterQuery query = noted_queries_[i];
    note(probe_.ask(compute, layers_[at + query_distance(query)], with_shared(query), rows,
                    workspace),
         k + i * probe_.width(), probe_.width());
  }
}

// Places [begin, begin + width) of every row's notes, side by side.
std::span<const RoutedExpert> RoutingWatch::noted(size_t begin, size_t width) {
  const size_t stride = spec_.moe.top_k + noted_queries_.size() * probe_.width();
  of_rows_.resize(rows_.size() * width);
  for (size_t row = 0; row < rows_.size(); ++row) {
    std::copy_n(notes_.data() + row * stride + begin, width, of_rows_.data() + row * width);
  }
  return of_rows_;
}

void RoutingWatch::learn(uint32_t layer) {
  const uint32_t at = place_of_[layer], k = spec_.moe.top_k;
  for (size_t i = 0; i < noted_queries_.size(); ++i) {
    const RouterQuery query = noted_queries_[i];
    take_answers(query, at + query_distance(query), noted(k + i * probe_.width(), probe_.width()));
  }
  const std::span<const RoutedExpert> routed = noted(0, k);
  std::ranges::copy(routed, routes_.begin() + static_cast<ptrdiff_t>(at * routed.size()));
  if (!foresight_) return;
  foresight_->observe(at, routed);
  guesses_ = foresight_->look_ahead(at);
  cache_->prefetch(guesses_);
}

// Rows [begin, end) of what was recorded.
RoutingStep RoutingWatch::part_of(uint32_t begin, uint32_t end) const {
  RoutingStep step;
  step.request = request_of_[static_cast<uint32_t>(rows_[begin].sequence)];
  step.phase = rows_[begin].prompt ? TracePhase::kPrefill : TracePhase::kDecode;
  for (uint32_t row = begin; row < end; ++row) step.tokens.push_back(rows_[row].token);
  const auto cut = [&](const std::vector<RoutedExpert>& from, uint32_t width) {
    std::vector<RoutedExpert> part;
    for (size_t layer = 0; layer < layers_.size(); ++layer) {
      const auto first =
          from.begin() + static_cast<ptrdiff_t>((layer * rows_.size() + begin) * width);
      part.insert(part.end(), first, first + static_cast<ptrdiff_t>(size_t{end - begin} * width));
    }
    return part;
  };
  step.routed = cut(routes_, spec_.moe.top_k);
  for (const RouterQuery query : kAllQueries) {
    if (!asks(query)) continue;
    step.predictions.push_back({std::string(query_name(query)), probe_.width(),
                                cut(answers_[static_cast<size_t>(query)], probe_.width())});
  }
  return step;
}

std::optional<double> RoutingWatch::oracle_hit_rate(uint32_t slots) const {
  if (recent_.size() < kRecent) return std::nullopt;
  RoutingTrace trace;
  trace.shape = {layers_, spec_.moe.experts, spec_.moe.top_k, 1};
  for (const auto& routes : recent_) {
    RoutingStep step;
    step.phase = trace.steps.size() < kRecent / 2 ? TracePhase::kPrefill : TracePhase::kDecode;
    step.tokens = {-1};
    step.routed = routes;
    trace.steps.push_back(std::move(step));
  }
  const FutureUses future = future_uses(trace);
  const auto result = simulate(trace, {.slots = slots,
                                       .policy = "oracle",
                                       .predictor = "none",
                                       .expert_bytes = 1,
                                       .bytes_per_second = 1e18,
                                       .future = &future});
  return result ? std::optional(result->hit_rate()) : std::nullopt;
}

void RoutingWatch::end_step() {
  if (rows_.size() == 1) {
    if (recent_.size() == kRecent) recent_.pop_front();
    recent_.push_back(routes_);
  }
  if (!sink_) return;
  for (uint32_t begin = 0; begin < rows_.size();) {
    uint32_t end = begin + 1;
    while (end < rows_.size() && rows_[end].sequence == rows_[begin].sequence) ++end;
    sink_(part_of(begin, end));
    begin = end;
  }
}

}  // namespace switchyard
