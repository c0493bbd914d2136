#include "experts/policies/recall.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "runtime/base/exact_math.h"

namespace switchyard {
namespace {

// Fitted to one model's trace, looked at on another's; all lie on a plateau.
constexpr double kRouteFading = 0.9;  // of a layer's part in the likeness, with each layer after it
constexpr double kSharpness = 12;     // how much more the most alike count
constexpr uint32_t kSteps = 512;      // in which likeness is told apart
constexpr double kPatience = 0.7;     // what a use counts less with each token later
constexpr double kRecalled = 0.6;     // weight of what is recalled …
constexpr double kLinked = 0.3;       // … and of what followed the same experts, …
constexpr double kFast = 0.1;         // … beside frequencies over a few tokens …
constexpr double kSlow = 0.015;       // … and over many
constexpr double kForeseen = 0.6;     // weight of a use that is foreseen
constexpr double kForeseenNext = 0.5;  // what a foreseen use counts less in the next step's turn
constexpr double kLinkPrior = 0.5;     // uses that led nowhere

}  // namespace

RecallPolicy::RecallPolicy(const PolicyShape& shape)
    : keys_(shape.keys),
      layers_(keys_.empty() ? 1 : keys_.back().layer + 1U),
      frequency_(shape, {{1.5, kFast}, {12, kSlow}}),
      taken_(keys_.size()),
      uses_(keys_.size()),
      likeness_(kTokens),
      alike_(kTokens),
      links_(kTokens),
      score_(keys_.size()) {
  for (uint32_t i = 0; i <= kSteps; ++i) {
    trust_.push_back(exact_exp(kSharpness * (i / static_cast<double>(kSteps) - 1)));
  }
  for (Layer& layer : layers_) layer.routes.resize(kTokens);
  for (uint32_t place = 0; place < keys_.size(); ++place) {
    Layer& layer = layers_[keys_[place].layer];
    if (layer.count++ == 0) layer.first = place;
  }
}

void RecallPolicy::begin_layer(uint16_t layer) {
  end_layer();
  const uint32_t before = clock_.token;
  clock_.begin_layer(layer);
  if (clock_.token != before) begin_token();
  step_begun_ = true;
}

void RecallPolicy::foresee(const Forecast& forecast) {
  forecast_ = forecast;
  step_begun_ = false;
}

// The oldest routes make room; what was like the token before makes its successor likely.
void RecallPolicy::begin_token() {
  for (Layer& layer : layers_) {
    std::vector<uint32_t>& mine = layer.routes[slot(clock_.token)];
    for (const uint32_t place : mine) uses_[place] -= 1;
    mine.clear();
  }
  std::rotate(likeness_.begin(), likeness_.end() - 1, likeness_.end());
  likeness_[slot(clock_.token)] = 0;
}

void RecallPolicy::use(uint32_t place) {
  frequency_.use(place, clock_);
  layers_[clock_.layer].routes[slot(clock_.token)].push_back(place);
  taken_[place] = true;
  settled_ = false;
}

void RecallPolicy::end_layer() {
  if (!settled_) settle();
  const std::vector<uint32_t>& mine = route(clock_.token);
  if (mine.empty()) return;
  likeness_ = alike_;
  likeness_max_ = likeness_max_ * kRouteFading + 1;
  for (const uint32_t place : mine) {
    taken_[place] = false;
    uses_[place] += 1;
  }
}

double RecallPolicy::worth(uint32_t place) const {
  if (!settled_) settle();
  const uint16_t layer = keys_[place].layer;
  const double recalled = score_[place] * MultiScalePolicy::nearness(
                                              clock_, layer, static_cast<uint32_t>(layers_.size()));
  if (forecast_.now.empty()) return recalled;
  const double later = forecast_.later[place];
  const bool to_come = !step_begun_ || layer > clock_.layer;
  return recalled + kForeseen * (to_come ? forecast_.now[place] + kForeseenNext * later : later);
}

void RecallPolicy::settle() const {
  settled_ = true;
  const Layer& layer = layers_[clock_.layer];
  for (uint32_t place = layer.first; place < layer.first + layer.count; ++place) {
    score_[place] = frequency_.at(place, clock_);
  }
  compare();
  recall();
}

void RecallPolicy::compare() const {
  const auto mine = static_cast<double>(route(clock_.token).size());
  for (uint32_t token = oldest(); token < clock_.token; ++token) {
    const std::vector<uint32_t>& theirs = route(token);
    uint32_t same = 0;
    double link = 0;
    for (const uint32_t place : theirs) {
      if (!taken_[place]) continue;
      same += 1;
      link += 1 / (uses_[place] + kLinkPrior);
    }
    double& alike = alike_[slot(token)];
    alike = likeness_[slot(token)] * kRouteFading;
    if (same > 0) alike += same / std::sqrt(mine * static_cast<double>(theirs.size()));
    links_[slot(token)] = link / mine;
  }
}

// A token that comes so long after an alike one is expected to follow this one as late.
void RecallPolicy::recall() const {
  const double scale = kSteps / (likeness_max_ * kRouteFading + 1);
  double trail = 0, sum = 0;
  std::array<double, kTokens> trails;
  for (uint32_t token = oldest(); token < clock_.token; ++token) {
    const auto step = static_cast<uint32_t>(alike_[slot(token)] * scale);
    trail = trail * kPatience + trust_[std::min(step, kSteps)];
    trails[slot(token)] = trail;
    sum += trail;
  }
  for (uint32_t token = oldest(); token < clock_.token; ++token) {
    const double amount = kRecalled * trails[slot(token)] / sum + kLinked * links_[slot(token)];
    for (const uint32_t place : route(token + 1)) score_[place] += amount;
  }
}

}  // namespace switchyard
