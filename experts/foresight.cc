#include "experts/foresight.h"

#include <algorithm>
#include <functional>
#include <utility>

#include "runtime/base/check.h"

namespace switchyard {
namespace {

constexpr float kBeliefAtFirst = 0.5F;
constexpr float kNewerGuess = 0.05F;     // weight of the latest guess in a belief
constexpr float kProbabilityMin = 0.1F;  // below it, neither read nor kept
constexpr uint32_t kForeseenLayers = 6;  // so far ahead is told at most what tokens foretell

}  // namespace

Foresight::Foresight(std::unique_ptr<Predictor> predictor, const PredictorShape& shape,
                     std::vector<uint16_t> layers)
    : predictor_(std::move(predictor)),
      shape_(shape),
      layers_(std::move(layers)),
      width_(std::min(shape.experts, 2 * shape.top_k)),
      guesses_(kHorizons * shape.layers),
      belief_(kHorizons * shape.layers * width_, kBeliefAtFirst),
      not_used_(shape.experts) {
  CHECK(predictor_ != nullptr && layers_.size() == shape.layers);
  for (auto& layers_recall : recall_) layers_recall.resize(shape.layers);
}

std::vector<RouterQuery> Foresight::queries() const {
  std::vector<RouterQuery> queries = predictor_->queries();
  queries.push_back(RouterQuery::kSameLayer);
  return queries;
}

uint64_t Foresight::bytes() const {
  const uint64_t guess_bytes = kTokensMax * (width_ * sizeof(uint16_t) + sizeof(uint32_t));
  const uint64_t foreseen = uint64_t{2} * shape_.layers * shape_.experts;  // at most
  return predictor_->bytes() + guesses_.size() * (guess_bytes + sizeof(Guess)) +
         belief_.size() * sizeof(float) + foreseen * sizeof(PrefetchJob);
}

Foresight::Guess& Foresight::guess(Horizon horizon, uint32_t layer) {
  return guesses_[static_cast<size_t>(horizon) * shape_.layers + layer];
}

float& Foresight::belief(Horizon horizon, uint32_t layer, uint32_t rank) {
  return belief_[(static_cast<size_t>(horizon) * shape_.layers + layer) * width_ + rank];
}

// Guesses for every token of the step and adds the jobs that follow.
void Foresight::ask(Horizon horizon, uint32_t layer, uint32_t layers_ahead) {
  if (tokens_ == 0 || layer >= shape_.layers) return;
  Guess& made = guess(horizon, layer);
  made.experts.resize(size_t{tokens_} * width_);
  made.counts.resize(tokens_);
  std::ranges::fill(not_used_, 1.0F);
  for (uint32_t token = 0; token < tokens_; ++token) {
    const auto out = std::span(made.experts).subspan(size_t{token} * width_, width_);
    made.counts[token] = predictor_->predict(layer, token, out);
    for (uint32_t rank = 0; rank < made.counts[token]; ++rank) {
      not_used_[out[rank]] *= 1 - belief(horizon, layer, rank);
    }
  }
  const auto first = static_cast<ptrdiff_t>(jobs_.size());
  for (uint32_t expert = 0; expert < shape_.experts; ++expert) {
    const float probability = 1 - not_used_[expert];
    if (probability < kProbabilityMin) continue;
    jobs_.push_back({{layers_[layer], static_cast<uint16_t>(expert)}, probability, layers_ahead});
  }
  std::stable_sort(
      jobs_.begin() + first, jobs_.end(),
      [](const PrefetchJob& a, const PrefetchJob& b) { return a.probability > b.probability; });
}

void Foresight::foresee(std::span<const ForeseenUse> uses) {
  foreseen_.clear();
  const auto add = [&](ExpertKey key, double probability, ptrdiff_t layers_ahead) {
    if (probability < kProbabilityMin) return;
    foreseen_.push_back({key, probability, static_cast<uint32_t>(layers_ahead)});
  };
  for (const ForeseenUse& use : uses) {
    const auto ahead = std::ranges::lower_bound(layers_, use.key.layer) - layers_.begin() + 1;
    add(use.key, use.now, ahead);
    add(use.key, use.later, ahead + std::ssize(layers_));
  }
  std::ranges::stable_sort(foreseen_, std::greater(), &PrefetchJob::probability);
}

// The jobs that the tokens foretell when so many layers are over.
void Foresight::add_foreseen(uint32_t layers_over) {
  for (PrefetchJob job : foreseen_) {
    if (job.layers_ahead <= layers_over || job.layers_ahead > layers_over + kForeseenLayers) {
      continue;
    }
    job.layers_ahead -= layers_over;
    jobs_.push_back(job);
  }
}

std::span<const PrefetchJob> Foresight::begin_step(std::span<const TokenId> tokens,
                                                   std::span<const uint32_t> requests) {
  tokens_ = tokens.size() <= kTokensMax ? static_cast<uint32_t>(tokens.size()) : 0;
  for (Guess& made : guesses_) made.counts.clear();
  predictor_->begin_step(tokens, requests);
  jobs_.clear();
  ask(Horizon::kOneAhead, 0, 1);
  ask(Horizon::kTwoAhead, 1, 2);
  add_foreseen(0);
  return jobs_;
}

std::span<const PrefetchJob> Foresight::answer(RouterQuery query, uint32_t layer,
                                               std::span<const RoutedExpert> answers,
                                               uint32_t width) {
  jobs_.clear();
  if (tokens_ == 0) return jobs_;
  if (query == RouterQuery::kSameLayer) {
    Guess& made = guess(Horizon::kSameLayer, layer);
    made.counts.assign(tokens_, std::min(width, width_));
    made.experts.resize(size_t{tokens_} * width_);
    for (uint32_t token = 0; token < tokens_; ++token) {
      for (uint32_t rank = 0; rank < made.counts[token]; ++rank) {
        made.experts[size_t{token} * width_ + rank] = answers[size_t{token} * width + rank].expert;
      }
    }
    return jobs_;
  }
  predictor_->answer(query, layer, answers, width);
  if (query == RouterQuery::kPreAttention) ask(Horizon::kPreAttention, layer, 1);
  return jobs_;
}

// How much of the truth the guess for this layer held, and how far each of its ranks was right.
void Foresight::check(Horizon horizon, uint32_t layer, std::span<const RoutedExpert> routed) {
  const Guess& made = guess(horizon, layer);
  LayerRecall& recall = recall_[static_cast<size_t>(horizon)][layer];
  for (uint32_t token = 0; token < made.counts.size(); ++token) {
    const uint32_t count = made.counts[token];
    if (count == 0) continue;
    const auto experts = std::span(made.experts).subspan(size_t{token} * width_, count);
    const auto truth = routed.subspan(size_t{token} * shape_.top_k, shape_.top_k);
    const auto first = experts.first(std::min(count, shape_.top_k));
    uint32_t hit = 0;
    for (const RoutedExpert& expert : truth) {
      const bool guessed = std::ranges::find(first, expert.expert) != first.end();
      hit += guessed ? 1 : 0;
      recall.mass += expert.gate_weight;
      recall.mass_hit += guessed ? expert.gate_weight : 0;
    }
    recall.tokens += 1;
    recall.slots += shape_.top_k;
    recall.slots_hit += hit;
    recall.routes_hit += hit == shape_.top_k ? 1 : 0;
    for (uint32_t rank = 0; rank < count; ++rank) {
      const bool used = std::ranges::any_of(
          truth, [&](const RoutedExpert& expert) { return expert.expert == experts[rank]; });
      float& believed = belief(horizon, layer, rank);
      believed += kNewerGuess * ((used ? 1.0F : 0.0F) - believed);
    }
  }
}

void Foresight::observe(uint32_t layer, std::span<const RoutedExpert> routed) {
  for (size_t horizon = 0; horizon < kHorizons; ++horizon) {
    check(static_cast<Horizon>(horizon), layer, routed);
  }
  predictor_->observe(layer, routed);
}

std::span<const PrefetchJob> Foresight::look_ahead(uint32_t layer) {
  jobs_.clear();
  ask(Horizon::kOneAhead, layer + 1, 1);
  ask(Horizon::kTwoAhead, layer + 2, 2);
  add_foreseen(layer + 1);
  return jobs_;
}

}  // namespace switchyard
