#include "experts/predictors/history_predictor.h"

#include <algorithm>

#include "experts/predictors/best_experts.h"

namespace switchyard {
namespace {

constexpr uint64_t kRoutesBytesMax = uint64_t{64} << 20;
constexpr uint32_t kRequestsMax = 16;
constexpr uint32_t kHistoryTokensMax = 1024;
constexpr uint16_t kNoExpert = UINT16_MAX;  // of a layer that is still to come
constexpr float kLayerBefore = 0.8F;        // what its likeness counts for
constexpr float kTokenBefore = 0.98F;       // what its lateness counts for

uint64_t bytes_per_token(const PredictorShape& shape) {
  return std::max<uint64_t>(sizeof(uint16_t) * shape.layers * shape.top_k, 1);
}

uint32_t tokens_for(const PredictorShape& shape) {
  const uint64_t fitting = kRoutesBytesMax / bytes_per_token(shape);
  return static_cast<uint32_t>(std::clamp<uint64_t>(fitting, 1, kHistoryTokensMax));
}

uint32_t requests_for(const PredictorShape& shape) {
  const uint64_t fitting = kRoutesBytesMax / (bytes_per_token(shape) * tokens_for(shape));
  return static_cast<uint32_t>(std::clamp<uint64_t>(fitting, 1, kRequestsMax));
}

}  // namespace

HistoryPredictor::HistoryPredictor(const PredictorShape& shape)
    : shape_(shape),
      capacity_(tokens_for(shape)),
      requests_(requests_for(shape)),
      routes_(requests_.size() * shape.layers * capacity_ * shape.top_k),
      likeness_(size_t{kComparedMax} * capacity_),
      lateness_(capacity_),
      marks_(shape.experts),
      votes_(shape.experts) {
  float late = 1;
  for (float& lateness : lateness_) {
    lateness = late;
    late *= kTokenBefore;
  }
}

uint64_t HistoryPredictor::bytes() const {
  return routes_.size() * sizeof(uint16_t) +
         (likeness_.size() + lateness_.size() + marks_.size() + votes_.size()) * sizeof(float);
}

std::span<const uint16_t> HistoryPredictor::routes(uint32_t request, uint32_t layer) const {
  const size_t size = size_t{capacity_} * shape_.top_k;
  return std::span(routes_).subspan((size_t{request} * shape_.layers + layer) * size, size);
}

std::span<uint16_t> HistoryPredictor::routes(uint32_t request, uint32_t layer) {
  const size_t size = size_t{capacity_} * shape_.top_k;
  return std::span(routes_).subspan((size_t{request} * shape_.layers + layer) * size, size);
}

// The request's, or the longest unused one's, or none when the step uses them all.
HistoryPredictor::Request* HistoryPredictor::request_of(uint32_t id) {
  const auto known = std::ranges::find_if(
      requests_, [&](const Request& request) { return request.step > 0 && request.id == id; });
  if (known != requests_.end()) return &*known;
  Request& oldest = *std::ranges::min_element(requests_, {}, &Request::step);
  if (oldest.step == step_) return nullptr;
  oldest = {.id = id};
  return &oldest;
}

HistoryPredictor::Place HistoryPredictor::begin_token(uint32_t id) {
  Request* request = request_of(id);
  if (request == nullptr) return {};
  request->step = step_;
  const Place place{static_cast<uint32_t>(request - requests_.data()),
                    static_cast<uint32_t>(request->tokens++ % capacity_)};
  for (uint32_t layer = 0; layer < shape_.layers; ++layer) {
    std::ranges::fill(
        routes(place.request, layer).subspan(size_t{place.at} * shape_.top_k, shape_.top_k),
        kNoExpert);
  }
  return place;
}

void HistoryPredictor::begin_step(std::span<const TokenId> tokens,
                                  std::span<const uint32_t> requests) {
  step_ += 1;
  places_.resize(tokens.size());
  for (size_t token = 0; token < tokens.size(); ++token) {
    places_[token] = begin_token(requests[token]);
  }
  std::ranges::fill(likeness_, 0.0F);
}

// Adds to the likeness of every token of the past, the step's own among them: these have no routes
// for the layers to come, and so no vote.
void HistoryPredictor::compare(uint32_t layer, uint32_t token,
                               std::span<const RoutedExpert> routed) {
  const Place place = places_[token];
  const uint64_t kept = std::min<uint64_t>(requests_[place.request].tokens, capacity_);
  for (const RoutedExpert& expert : routed) marks_[expert.expert] = 1;
  const auto past = routes(place.request, layer);
  const auto likeness = std::span(likeness_).subspan(size_t{token} * capacity_, kept);
  const uint16_t* expert = past.data();
  for (float& like : likeness) {
    float same = 0;
    for (uint32_t i = 0; i < shape_.top_k; ++i, ++expert) {
      if (*expert < shape_.experts) same += marks_[*expert];
    }
    like = like * kLayerBefore + same;
  }
  for (const RoutedExpert& one : routed) marks_[one.expert] = 0;
}

void HistoryPredictor::observe(uint32_t layer, std::span<const RoutedExpert> routed) {
  for (uint32_t token = 0; token < places_.size(); ++token) {
    const Place place = places_[token];
    if (place.request == UINT32_MAX) continue;
    const auto chosen = routed.subspan(size_t{token} * shape_.top_k, shape_.top_k);
    std::ranges::transform(
        chosen, routes(place.request, layer).subspan(size_t{place.at} * shape_.top_k).begin(),
        &RoutedExpert::expert);
    if (places_.size() <= kComparedMax) compare(layer, token, chosen);
  }
}

uint32_t HistoryPredictor::predict(uint32_t layer, uint32_t token, std::span<uint16_t> out) const {
  const Place place = places_[token];
  if (place.request == UINT32_MAX || places_.size() > kComparedMax) return 0;
  const uint64_t kept = std::min<uint64_t>(requests_[place.request].tokens, capacity_);
  const auto likeness = std::span(likeness_).subspan(size_t{token} * capacity_, kept);
  const auto past = routes(place.request, layer);
  std::ranges::fill(votes_, 0.0F);
  for (uint32_t at = 0; at < kept; ++at) {
    const uint32_t age = (place.at + capacity_ - at) % capacity_;
    const float like_2 = likeness[at] * likeness[at], like_4 = like_2 * like_2;
    const float weight = like_4 * like_4 + lateness_[age];  // so steep that the nearest decide
    for (const uint16_t expert : past.subspan(size_t{at} * shape_.top_k, shape_.top_k)) {
      if (expert < shape_.experts) votes_[expert] += weight;
    }
  }
  return best_experts(votes_, 0, out);
}

}  // namespace switchyard
