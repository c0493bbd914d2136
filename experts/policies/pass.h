#pragma once

#include <vector>

#include "experts/policies/policy.h"
#include "experts/policies/token_clock.h"

namespace switchyard {

// In the manner of MoE-Infinity (arXiv 2401.14361): how often the sequence activated an expert,
// times how near its layer is to the one at work, layers behind being farthest. Counts begin anew,
// at a half, when what they hold is older than a sequence's typical memory.
class ActivationPolicy final : public EvictionPolicy {
 public:
  explicit ActivationPolicy(const PolicyShape& shape) : keys_(shape.keys), count_(keys_.size()) {
    layers_ = keys_.empty() ? 1 : keys_.back().layer + 1U;
  }
  void begin_layer(uint16_t layer) override {
    const uint32_t before = clock_.token;
    clock_.begin_layer(layer);
    if (clock_.token == before || clock_.token % kWindow != 0) return;
    for (float& count : count_) count /= 2;
  }
  void use(uint32_t place) override { count_[place] += 1; }
  double worth(uint32_t place) const override {
    const uint16_t layer = keys_[place].layer;
    const uint32_t away = clock_.layers_until(layer, layers_);
    return (count_[place] + 1e-3) * (1 - static_cast<double>(away) / (layers_ + 1));
  }

 private:
  static constexpr uint32_t kWindow = 64;  // tokens
  std::vector<ExpertKey> keys_;
  uint32_t layers_ = 1;
  TokenClock clock_;
  std::vector<float> count_;  // [places]
};

// Least-Stale (arXiv 2602.03921): experts that this pass has not used go first, of these the ones
// whose layer's turn is farthest away; then those of this pass, the earliest layers first.
class LeastStalePolicy final : public EvictionPolicy {
 public:
  explicit LeastStalePolicy(const PolicyShape& shape) : keys_(shape.keys), last_(keys_.size()) {
    layers_ = keys_.empty() ? 1 : keys_.back().layer + 1U;
  }
  void begin_layer(uint16_t layer) override { clock_.begin_layer(layer); }
  void use(uint32_t place) override { last_[place] = clock_.token; }
  double worth(uint32_t place) const override {
    const uint16_t layer = keys_[place].layer;
    // Turns of its layer that went by without it.
    uint32_t stale = clock_.token - last_[place];
    if (stale > 0 && clock_.ahead(layer)) --stale;
    const uint32_t away = clock_.layers_until(layer, layers_);
    return -static_cast<double>(stale) * 2 - static_cast<double>(away) / layers_;
  }

 private:
  std::vector<ExpertKey> keys_;
  uint32_t layers_ = 1;
  TokenClock clock_;
  std::vector<uint32_t> last_;  // [places] the step of its latest use
};

}  // namespace switchyard
