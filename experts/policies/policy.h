#pragma once

#include <cstdint>
#include <vector>

#include "runtime/base/ids.h"

namespace switchyard {

// When each expert will be used, for the offline optimum: `uses[place]` are the ordinals (from 0)
// of the begin_layer() calls during which it is used, ascending.
struct FutureUses {
  std::vector<std::vector<uint32_t>> uses;  // [places]
};

// How probably an expert will be used in the step that begins, and in the one after it.
struct ForeseenUse {
  ExpertKey key;
  float now = 0, later = 0;
};

// What a policy decides over. Places are indices into `keys`.
struct PolicyShape {
  uint32_t slots = 0;
  std::vector<ExpertKey> keys;         // all experts there are, by layer
  const FutureUses* future = nullptr;  // known offline only; outlives the policy
};

// Which resident expert goes when a slot is needed: the one that is worth least. A policy chooses
// when results come, never what they are. To add one, write policies/NAME.{h,cc} and its line in
// registry.cc. Used from one thread; never blocks; deterministic.
class EvictionPolicy {
 public:
  virtual ~EvictionPolicy() = default;

  // A layer's work begins. Layers ascend within a step, so one that is not above the last begins a
  // new step: policies that reckon with age or distance in layers keep their clock by it.
  virtual void begin_layer(uint16_t /*layer*/) {}
  // A step begins, before its first layer; [places], all 0 where nothing is known.
  struct Forecast {
    std::vector<float> now, later;
  };
  virtual void foresee(const Forecast& /*forecast*/) {}
  // The router chose this expert, resident or not: once in a layer of a step.
  virtual void use(uint32_t place) = 0;
  // It has become resident, or is so no more. A prefetched expert is admitted without a use.
  virtual void admitted(uint32_t /*place*/) {}
  virtual void evicted(uint32_t /*place*/) {}
  // What keeping it is worth, on the policy's own scale. Of equals, the lowest slot goes.
  virtual double worth(uint32_t place) const = 0;
};

}  // namespace switchyard
