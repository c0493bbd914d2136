#include "experts/policies/recall.h"

#include <algorithm>

namespace switchyard {
namespace {

constexpr double kFading = 0.85;   // of a layer's part in the likeness, with each layer after it
constexpr double kSharpness = 12;  // how much more the most alike count
constexpr double kWeight = 5;      // of what is recalled, beside frequencies

}  // namespace

RecallPolicy::RecallPolicy(const PolicyShape& shape)
    : keys_(shape.keys),
      layers_(keys_.empty() ? 1 : keys_.back().layer + 1U),
      frequency_(shape, MultiScalePolicy::scales()),
      routes_(kTokens),
      taken_(keys_.size()),
      recalled_(keys_.size()) {
  for (Route& route : routes_) route.taken.resize(layers_);
}

// How alike the layer's experts were to those of earlier tokens.
void RecallPolicy::end_layer() {
  if (clock_.token == 0) return;
  const auto& mine = route(clock_.token).taken[clock_.layer];
  if (mine.empty()) return;
  for (Route& other : routes_) {
    if (other.token == 0 || other.token == clock_.token) continue;
    const auto& theirs = other.taken[clock_.layer];
    const auto same = std::ranges::count_if(theirs, [&](uint32_t place) { return taken_[place]; });
    other.likeness =
        other.likeness * kFading + static_cast<double>(same) / static_cast<double>(mine.size());
  }
  likeness_max_ = likeness_max_ * kFading + 1;
  for (const uint32_t place : mine) taken_[place] = false;
}

void RecallPolicy::begin_token() {
  Route& mine = route(clock_.token);
  mine.token = clock_.token;
  for (auto& taken : mine.taken) taken.clear();
  for (Route& other : routes_) other.likeness = 0;
  likeness_max_ = 0;
}

void RecallPolicy::begin_layer(uint16_t layer) {
  end_layer();
  const uint32_t before = clock_.token;
  clock_.begin_layer(layer);
  if (clock_.token != before) begin_token();
  stale_ = true;
}

void RecallPolicy::use(uint32_t place, float) {
  frequency_.use(place, clock_);
  route(clock_.token).taken[clock_.layer].push_back(place);
  taken_[place] = true;
}

// The layer at work counts as behind: its experts are known.
void RecallPolicy::refresh() const {
  stale_ = false;
  std::ranges::fill(recalled_, 0.0F);
  double sum = 0;
  std::vector<double> weights(routes_.size());
  for (size_t i = 0; i < routes_.size(); ++i) {
    const Route& other = routes_[i];
    if (other.token == 0 || other.token == clock_.token) continue;
    const double alike = likeness_max_ > 0 ? other.likeness / likeness_max_ : 0;
    weights[i] = exact_exp(kSharpness * (alike - 1));
    sum += weights[i];
  }
  if (!(sum > 0)) return;
  const auto add = [&](const Route& from, size_t begin, size_t end, double weight) {
    for (size_t layer = begin; layer < end; ++layer) {
      for (const uint32_t place : from.taken[layer]) {
        recalled_[place] += static_cast<float>(weight);
      }
    }
  };
  const size_t next = clock_.layer + size_t{1};
  for (size_t i = 0; i < routes_.size(); ++i) {
    if (weights[i] == 0) continue;
    const Route& successor = route(routes_[i].token + 1);
    add(routes_[i], next, layers_, weights[i] / sum);
    if (successor.token == routes_[i].token + 1) add(successor, 0, next, weights[i] / sum);
  }
}

double RecallPolicy::worth(uint32_t place) const {
  if (stale_) refresh();
  return (frequency_.at(place, clock_) + kWeight * recalled_[place]) *
         MultiScalePolicy::nearness(clock_, keys_[place].layer, layers_);
}

}  // namespace switchyard
