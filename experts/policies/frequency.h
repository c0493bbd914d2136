#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "experts/policies/policy.h"
#include "experts/policies/token_clock.h"

namespace switchyard {

// How often each expert was used, older uses counting less: one sum for each time scale.
class DecayedFrequency {
 public:
  struct Scale {
    double tokens;  // a use counts e^−1 after so many
    double weight;
  };
  DecayedFrequency(const PolicyShape& shape, std::vector<Scale> scales)
      : keys_(shape.keys), scales_(std::move(scales)), last_(keys_.size()) {
    for (const Scale& scale : scales_) {
      decay_.emplace_back(scale.tokens);
      sums_.emplace_back(keys_.size());
    }
  }

  void use(uint32_t place, const TokenClock& clock) {
    const uint32_t age = clock.token - last_[place];
    for (size_t i = 0; i < scales_.size(); ++i) {
      float& sum = sums_[i][place];
      sum = static_cast<float>(sum * decay_[i](age) + 1);
    }
    last_[place] = clock.token;
  }

  // Ages count the turns of its layer that it missed.
  double at(uint32_t place, const TokenClock& clock) const {
    uint32_t age = clock.token - last_[place];
    if (age > 0 && clock.ahead(keys_[place].layer)) --age;
    double sum = 0;
    for (size_t i = 0; i < scales_.size(); ++i) {
      sum += scales_[i].weight * sums_[i][place] * decay_[i](age);
    }
    return sum;
  }

 private:
  std::vector<ExpertKey> keys_;
  std::vector<Scale> scales_;
  std::vector<Decay> decay_;              // [scales]
  std::vector<std::vector<float>> sums_;  // [scales][places]
  std::vector<uint32_t> last_;            // [places]
};

// Least frequently used, with decay.
class LfuPolicy final : public EvictionPolicy {
 public:
  explicit LfuPolicy(const PolicyShape& shape) : frequency_(shape, {{32, 1}}) {}
  void begin_layer(uint16_t layer) override { clock_.begin_layer(layer); }
  void use(uint32_t place) override { frequency_.use(place, clock_); }
  double worth(uint32_t place) const override { return frequency_.at(place, clock_); }

 private:
  TokenClock clock_;
  DecayedFrequency frequency_;
};

// Frequency × recency: uses in all over the tokens since the latest.
class FreqRecencyPolicy final : public EvictionPolicy {
 public:
  explicit FreqRecencyPolicy(const PolicyShape& shape)
      : count_(shape.keys.size()), last_(shape.keys.size()) {}
  void begin_layer(uint16_t layer) override { clock_.begin_layer(layer); }
  void use(uint32_t place) override {
    count_[place] += 1;
    last_[place] = clock_.token;
  }
  double worth(uint32_t place) const override {
    return count_[place] / (1.0 + clock_.token - last_[place]);
  }

 private:
  TokenClock clock_;
  std::vector<uint32_t> count_, last_;  // [places]
};

// Decayed LFU by layer: a use counts as much as its share of the layer's recent uses, so that
// layers with few favourites do not push out those with many.
class DecayedLfuPolicy final : public EvictionPolicy {
 public:
  explicit DecayedLfuPolicy(const PolicyShape& shape)
      : keys_(shape.keys), frequency_(shape, {{16, 1}}) {
    for (const ExpertKey key : keys_) {
      if (key.layer >= peak_.size()) peak_.resize(key.layer + 1U, 1);
    }
  }
  void begin_layer(uint16_t layer) override {
    clock_.begin_layer(layer);
    if (layer < peak_.size()) peak_[layer] *= kFading;
  }
  void use(uint32_t place) override {
    frequency_.use(place, clock_);
    double& peak = peak_[keys_[place].layer];
    peak = std::max(peak, frequency_.at(place, clock_));
  }
  double worth(uint32_t place) const override {
    return frequency_.at(place, clock_) / peak_[keys_[place].layer];
  }

 private:
  static constexpr double kFading = 0.98;
  std::vector<ExpertKey> keys_;
  TokenClock clock_;
  DecayedFrequency frequency_;
  std::vector<double> peak_;  // [layers] the largest frequency lately
};

// Frequencies at three time scales, discounted by how many layers away the expert's turn is.
class MultiScalePolicy final : public EvictionPolicy {
 public:
  explicit MultiScalePolicy(const PolicyShape& shape)
      : keys_(shape.keys), frequency_(shape, scales()) {
    layers_ = keys_.empty() ? 1 : keys_.back().layer + 1U;
  }
  void begin_layer(uint16_t layer) override { clock_.begin_layer(layer); }
  void use(uint32_t place) override { frequency_.use(place, clock_); }
  double worth(uint32_t place) const override {
    return frequency_.at(place, clock_) * nearness(clock_, keys_[place].layer, layers_);
  }

  // Weights fall with the root of the scale.
  static std::vector<DecayedFrequency::Scale> scales() {
    return {{3, 0.577}, {12, 0.289}, {48, 0.144}};
  }
  // 1 for a layer whose turn is next, a little less for one that was just there.
  static double nearness(const TokenClock& clock, uint16_t layer, uint32_t layers) {
    const uint32_t away = clock.layers_until(layer, layers);
    return 1 - kDiscount * away / layers;
  }

 private:
  static constexpr double kDiscount = 0.3;
  std::vector<ExpertKey> keys_;
  uint32_t layers_ = 1;
  TokenClock clock_;
  DecayedFrequency frequency_;
};

}  // namespace switchyard
