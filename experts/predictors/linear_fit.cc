#include "experts/predictors/linear_fit.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>
#include <utility>
#include <vector>

#include "experts/predictors/best_experts.h"

namespace switchyard {
namespace {

constexpr uint64_t kTokensMin = 10;
constexpr double kRidge = 0.3;
constexpr double kRidgeOfConstant = 1e-6;  // only so that the system has one solution

struct TraceToken {
  const RoutingStep* step;
  size_t token;
};

std::vector<TraceToken> tokens_of(const RoutingTrace& trace) {
  std::vector<TraceToken> tokens;
  for (const RoutingStep& step : trace.steps) {
    for (size_t token = 0; token < step.tokens.size(); ++token) tokens.push_back({&step, token});
  }
  return tokens;
}

// The least squares of one layer and distance: (XᵀX + ridge) W = XᵀY.
class Regression {
 public:
  explicit Regression(size_t experts)
      : experts_(experts), size_(experts + 1), gram_(size_ * size_), solution_(size_ * experts) {
    for (size_t i = 0; i < experts; ++i) gram_[i * size_ + i] = kRidge;
    gram_.back() = kRidgeOfConstant;
  }

  void add(std::span<const RoutedExpert> from, std::span<const RoutedExpert> to) {
    const double scale = 1.0 / gate_weight_sum(from);
    for (size_t i = 0; i <= from.size(); ++i) {
      const auto [row, x] = input(from, i, scale);
      for (size_t j = 0; j <= from.size(); ++j) {
        const auto [column, y] = input(from, j, scale);
        gram_[row * size_ + column] += x * y;
      }
      for (const RoutedExpert& expert : to) solution_[row * experts_ + expert.expert] += x;
    }
  }

  // Writes W [experts + 1, experts].
  void solve(std::span<float> weights) {
    factorise();
    for (size_t row = 0; row < size_; ++row) substitute(row, 0, row);
    for (size_t row = size_; row-- > 0;) substitute(row, row + 1, size_);
    std::ranges::transform(solution_, weights.begin(),
                           [](double weight) { return static_cast<float>(weight); });
  }

 private:
  // The i-th input that is not zero; the constant comes last.
  std::pair<size_t, double> input(std::span<const RoutedExpert> from, size_t i,
                                  double scale) const {
    if (i == from.size()) return {experts_, 1.0};
    return {from[i].expert, from[i].gate_weight * scale};
  }

  // Cholesky: the lower triangle of gram_ becomes L, the upper its transpose.
  void factorise() {
    for (size_t row = 0; row < size_; ++row) {
      for (size_t column = 0; column <= row; ++column) {
        double sum = gram_[row * size_ + column];
        for (size_t i = 0; i < column; ++i) {
          sum -= gram_[row * size_ + i] * gram_[column * size_ + i];
        }
        const double value = row == column ? std::sqrt(sum) : sum / gram_[column * size_ + column];
        gram_[row * size_ + column] = gram_[column * size_ + row] = value;
      }
    }
  }

  void substitute(size_t row, size_t begin, size_t end) {
    const auto target = std::span(solution_).subspan(row * experts_, experts_);
    for (size_t other = begin; other < end; ++other) {
      const double factor = gram_[row * size_ + other];
      const auto known = std::span(solution_).subspan(other * experts_, experts_);
      for (size_t i = 0; i < experts_; ++i) target[i] -= factor * known[i];
    }
    const double diagonal = gram_[row * size_ + row];
    for (double& value : target) value /= diagonal;
  }

  size_t experts_;
  size_t size_;
  std::vector<double> gram_;      // [size_, size_]
  std::vector<double> solution_;  // [size_, experts_] XᵀY, then W
};

struct Fitting {
  const TraceShape& shape;
  std::span<const TraceToken> fitted, held_out;
};

void fit_layer(const Fitting& fitting, uint32_t distance, uint32_t layer, LinearMap& map) {
  Regression regression(fitting.shape.experts);
  for (const TraceToken& token : fitting.fitted) {
    const auto from = token.step->at(fitting.shape, layer - distance, token.token);
    const auto to = token.step->at(fitting.shape, layer, token.token);
    if (!from.empty() && !to.empty()) regression.add(from, to);
  }
  regression.solve(map.at(distance, layer));
}

void measure_layer(const Fitting& fitting, uint32_t distance, uint32_t layer, const LinearMap& map,
                   LinearRecall& recall) {
  std::vector<float> scores(fitting.shape.experts);
  std::vector<uint16_t> best(fitting.shape.top_k);
  for (const TraceToken& token : fitting.held_out) {
    const auto from = token.step->at(fitting.shape, layer - distance, token.token);
    const auto to = token.step->at(fitting.shape, layer, token.token);
    if (from.empty() || to.empty()) continue;
    std::ranges::fill(scores, 0.0F);
    map.add_scores(distance, layer, from, scores);
    const uint32_t count = best_experts(scores, std::numeric_limits<float>::lowest(), best);
    recall.slots += to.size();
    for (const RoutedExpert& expert : to) {
      const auto end = best.begin() + count;
      recall.slots_hit += std::find(best.begin(), end, expert.expert) != end ? 1 : 0;
    }
  }
}

}  // namespace

Result<LinearFit> fit_linear_map(const RoutingTrace& trace) {
  const auto layers = static_cast<uint32_t>(trace.shape.layers.size());
  const std::vector<TraceToken> tokens = tokens_of(trace);
  if (tokens.size() < kTokensMin || layers < 2) {
    return fail(Code::kBadData,
                fmt::format("a routing trace of {} tokens and {} layers is too small to fit to",
                            tokens.size(), layers),
                {}, fmt::format("record at least {} tokens", kTokensMin));
  }
  LinearMap map = TRY(LinearMap::create(layers, trace.shape.experts));
  LinearFit fit{std::move(map)};
  fit.tokens_held_out = tokens.size() / 5;
  fit.tokens_fitted = tokens.size() - fit.tokens_held_out;
  const std::span all(tokens);
  const Fitting fitting{trace.shape, all.first(fit.tokens_fitted), all.last(fit.tokens_held_out)};
  for (uint32_t distance = 1; distance <= kLinearDistances; ++distance) {
    for (uint32_t layer = distance; layer < layers; ++layer) {
      fit_layer(fitting, distance, layer, fit.map);
      measure_layer(fitting, distance, layer, fit.map, fit.recall[distance - 1]);
    }
  }
  return fit;
}

}  // namespace switchyard
