#include "experts/trace_stats.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <numeric>
#include <set>

#include "runtime/base/align.h"

namespace switchyard {
namespace {

constexpr uint64_t kWindows[] = {1, 8, 32};

// Counts the different experts touched since an expert's last use. A Fenwick tree has a mark at the
// time of each expert's last use; when its times are spent, the marks move together at its front.
class ReuseMeter {
 public:
  explicit ReuseMeter(uint64_t pool)
      : times_(2 * pool + 1), marks_(times_ + 1), last_(pool), distances_(pool) {}

  void use(uint64_t expert) {
    if (now_ == times_) move_together();
    if (last_[expert] == 0) {
      first_uses_ += 1;
      touched_ += 1;
    } else {
      distances_[touched_ - marked_until(last_[expert])] += 1;
      mark(last_[expert], -1);
    }
    last_[expert] = ++now_;
    mark(now_, 1);
  }

  uint64_t first_uses() const { return first_uses_; }
  const std::vector<uint64_t>& distances() const { return distances_; }  // uses at each distance

 private:
  void mark(uint64_t time, int64_t change) {
    for (; time <= times_; time += time & (~time + 1)) {
      marks_[time] = static_cast<uint32_t>(marks_[time] + change);
    }
  }
  uint64_t marked_until(uint64_t time) const {
    uint64_t sum = 0;
    for (; time > 0; time -= time & (~time + 1)) sum += marks_[time];
    return sum;
  }
  void move_together() {
    std::vector<uint64_t> experts;
    for (uint64_t expert = 0; expert < last_.size(); ++expert) {
      if (last_[expert] != 0) experts.push_back(expert);
    }
    std::ranges::sort(experts, {}, [&](uint64_t expert) { return last_[expert]; });
    std::ranges::fill(marks_, 0);
    now_ = 0;
    for (const uint64_t expert : experts) {
      last_[expert] = ++now_;
      mark(now_, 1);
    }
  }

  const uint64_t times_;
  std::vector<uint32_t> marks_;  // [1 … times_]
  std::vector<uint64_t> last_;   // [pool] 0: not used yet
  std::vector<uint64_t> distances_;
  uint64_t now_ = 0, touched_ = 0, first_uses_ = 0;
};

// Windows of `tokens` tokens; one that is not full at the end counts only when it is the first.
class WindowMeter {
 public:
  WindowMeter(uint64_t tokens, uint64_t pool) : tokens_(tokens), seen_in_(pool) {}

  void use(uint64_t expert) {
    if (seen_in_[expert] == window_) return;
    seen_in_[expert] = window_;
    different_ += 1;
  }
  void end_token() {
    if (++filled_ == tokens_) end_window();
  }
  WorkingSet finish() {
    if (window_ == 1 && filled_ > 0) end_window();
    const double windows = static_cast<double>(std::max<uint64_t>(1, window_ - 1));
    return {tokens_, static_cast<double>(sum_) / windows, max_};
  }

 private:
  void end_window() {
    sum_ += different_;
    max_ = std::max(max_, different_);
    window_ += 1;
    filled_ = different_ = 0;
  }

  const uint64_t tokens_;
  std::vector<uint64_t> seen_in_;  // [pool] the last window that an expert was used in
  uint64_t window_ = 1, filled_ = 0, different_ = 0, sum_ = 0, max_ = 0;
};

LayerSkew skew_of(uint16_t layer, std::vector<uint64_t> picks) {
  LayerSkew skew;
  skew.layer = layer;
  skew.picks = std::accumulate(picks.begin(), picks.end(), uint64_t{0});
  if (skew.picks == 0) return skew;
  std::ranges::sort(picks);
  const double total = static_cast<double>(skew.picks), count = static_cast<double>(picks.size());
  double ranked = 0;
  for (size_t i = 0; i < picks.size(); ++i) {
    const double share = static_cast<double>(picks[i]) / total;
    if (share > 0) skew.entropy_bits -= share * std::log2(share);
    ranked += static_cast<double>(i + 1) * share;
  }
  skew.gini = (2 * ranked - count - 1) / count;
  skew.imbalance = static_cast<double>(picks.back()) * count / total;
  return skew;
}

std::vector<double> popularity_of(std::vector<uint64_t> picks, uint64_t uses) {
  std::ranges::sort(picks, std::greater<>());
  std::vector<uint64_t> sums(picks.size() + 1);
  std::partial_sum(picks.begin(), picks.end(), sums.begin() + 1);
  std::vector<double> shares(101);
  for (uint64_t percent = 0; percent <= 100; ++percent) {
    const uint64_t most = sums[ceil_div(picks.size() * percent, 100)];
    shares[percent] = uses > 0 ? static_cast<double>(most) / static_cast<double>(uses) : 0;
  }
  return shares;
}

void set_reuse(const ReuseMeter& meter, TraceStats& stats) {
  stats.first_uses = meter.first_uses();
  const std::vector<uint64_t>& distances = meter.distances();
  const uint64_t reuses = stats.uses - stats.first_uses;
  uint64_t sum = 0;
  for (uint64_t distance = 0; distance < distances.size(); ++distance) {
    const bool below = sum * 2 < reuses;
    sum += distances[distance];
    if (below && sum * 2 >= reuses) stats.reuse_median = distance;
    if (distance == 0 || std::has_single_bit(distance)) {
      stats.reuse.push_back(
          {distance, std::min<uint64_t>(std::max<uint64_t>(1, 2 * distance), distances.size()), 0});
    }
    stats.reuse.back().uses += distances[distance];
  }
}

}  // namespace

TraceStats measure_trace(const RoutingTrace& trace) {
  const TraceShape& shape = trace.shape;
  TraceStats stats;
  stats.steps = trace.steps.size();
  stats.pool = shape.layers.size() * uint64_t{shape.experts};
  std::vector<uint64_t> picks(stats.pool);
  ReuseMeter reuse(stats.pool);
  std::vector<WindowMeter> windows;
  for (const uint64_t tokens : kWindows) windows.emplace_back(tokens, stats.pool);
  std::set<uint32_t> requests;
  for (const RoutingStep& step : trace.steps) {
    requests.insert(step.request);
    (step.phase == TracePhase::kPrefill ? stats.prefill_tokens : stats.decode_tokens) +=
        step.tokens.size();
    for (size_t token = 0; token < step.tokens.size(); ++token) {
      for (size_t layer = 0; layer < shape.layers.size(); ++layer) {
        for (const RoutedExpert& chosen : step.at(shape, layer, token)) {
          const uint64_t expert = layer * shape.experts + chosen.expert;
          picks[expert] += 1;
          stats.uses += 1;
          reuse.use(expert);
          for (WindowMeter& window : windows) window.use(expert);
        }
      }
      for (WindowMeter& window : windows) window.end_token();
    }
  }
  stats.requests = requests.size();
  stats.touched = reuse.first_uses();
  for (WindowMeter& window : windows) stats.working_sets.push_back(window.finish());
  stats.working_sets.push_back({stats.tokens(), static_cast<double>(stats.touched), stats.touched});
  set_reuse(reuse, stats);
  for (size_t layer = 0; layer < shape.layers.size(); ++layer) {
    const auto first = picks.begin() + static_cast<ptrdiff_t>(layer * shape.experts);
    stats.picks.emplace_back(first, first + shape.experts);
    stats.layers.push_back(skew_of(shape.layers[layer], stats.picks.back()));
  }
  stats.popularity = popularity_of(std::move(picks), stats.uses);
  return stats;
}

}  // namespace switchyard
