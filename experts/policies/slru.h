#pragma once

#include <list>
#include <vector>

#include "experts/policies/policy.h"

namespace switchyard {

// Segmented LRU: an expert that is used again while resident is protected; of the protected, which
// hold half of the slots at most, the one used longest ago falls back to probation. (With four
// fifths probation is shorter than the way to an expert's next turn: nothing is ever promoted.)
class SlruPolicy final : public EvictionPolicy {
 public:
  explicit SlruPolicy(const PolicyShape& shape)
      : protected_max_(shape.slots / 2), states_(shape.keys.size()) {}

  void use(uint32_t place) override {
    State& state = states_[place];
    state.last = ++now_;
    if (!state.resident) return;
    if (state.protected_now) order_.erase(state.at);
    state.protected_now = true;
    state.at = order_.insert(order_.end(), place);
    if (order_.size() > protected_max_) demote(order_.front());
  }
  void admitted(uint32_t place) override {
    states_[place].resident = true;
    if (states_[place].last == 0) states_[place].last = ++now_;
  }
  void evicted(uint32_t place) override {
    if (states_[place].protected_now) demote(place);
    states_[place].resident = false;
  }
  double worth(uint32_t place) const override {
    const State& state = states_[place];
    return static_cast<double>(state.last) + (state.protected_now ? kProtected : 0);
  }

 private:
  struct State {
    uint64_t last = 0;
    bool resident = false;
    bool protected_now = false;
    std::list<uint32_t>::iterator at;  // in order_ when protected
  };
  static constexpr double kProtected = 0x1p52;  // above any time
  void demote(uint32_t place) {
    State& state = states_[place];
    order_.erase(state.at);
    state.protected_now = false;
    state.last = ++now_;
  }

  const size_t protected_max_;
  std::vector<State> states_;  // [places]
  std::list<uint32_t> order_;  // the protected, used longest ago first
  uint64_t now_ = 0;
};

}  // namespace switchyard
