// The policies on what two models' routers chose for one prompt and 128 tokens after it, in the
// manner of the published reference figures. The traces were recorded by Helldez/BigMoeOnEdge
// (Apache-2.0) and brought into this project's form.

#include <gtest/gtest.h>

#include <memory>
#include <span>
#include <sstream>
#include <string>
#include <vector>

#include "experts/policies/registry.h"
#include "experts/simulation.h"
#include "experts/slot_pool.h"
#include "experts/trace_file.h"

namespace switchyard {
namespace {

RoutingTrace recorded(const std::string& model) {
  std::string warning;
  auto trace = read_trace(SWITCHYARD_TEST_DATA "/traces/" + model + ".trace", warning);
  EXPECT_TRUE(trace) << to_line(trace.error());
  return *std::move(trace);
}
const std::string kQwen = "qwen3-30b-a3b", kGemma = "gemma-4-26b-a4b";

enum class Order : uint8_t {
  kPickByPick,  // each pick evicts before the next one is known
  kByLayer,     // as in a run: a layer's picks are all known first, and none evicts another
};

// One pool over all layers, of which `percent` are resident; tokens one by one.
class Replay {
 public:
  Replay(const RoutingTrace& trace, std::string_view policy, uint32_t percent)
      : trace_(trace), future_(future_uses(trace)) {
    for (const uint16_t layer : trace.shape.layers) {
      for (uint32_t expert = 0; expert < trace.shape.experts; ++expert) {
        keys_.push_back({layer, static_cast<uint16_t>(expert)});
      }
    }
    memory_.resize(keys_.size() * percent / 100);
    auto made = make_policy(
        policy,
        {.slots = static_cast<uint32_t>(memory_.size()), .keys = keys_, .future = &future_});
    pool_ = std::make_unique<SlotPool>(memory_, 1, keys_, *std::move(made));
  }

  // Of the uses while decoding, in percent.
  double hit_rate(Order order) {
    for (const RoutingStep& step : trace_.steps) {
      for (size_t token = 0; token < step.tokens.size(); ++token) replay(step, token, order);
    }
    return 100.0 * static_cast<double>(hits_) / static_cast<double>(uses_);
  }

 private:
  void replay(const RoutingStep& step, size_t token, Order order) {
    for (size_t layer = 0; layer < trace_.shape.layers.size(); ++layer) {
      pool_->begin_layer(trace_.shape.layers[layer]);
      const auto route = step.at(trace_.shape, layer, token);
      const size_t stride = order == Order::kByLayer ? route.size() : 1;
      for (size_t at = 0; at < route.size(); at += stride) {
        const size_t hits = take(trace_.shape.layers[layer], route.subspan(at, stride));
        if (step.phase != TracePhase::kDecode) continue;
        uses_ += stride;
        hits_ += hits;
      }
    }
  }

  size_t take(uint16_t layer, std::span<const RoutedExpert> picks) {
    std::vector<ExpertKey> missing;
    std::vector<SlotIndex> leased;
    for (const RoutedExpert& pick : picks) {
      const ExpertKey key{layer, pick.expert};
      pool_->use(key);
      if (const auto slot = pool_->find(key)) {
        leased.push_back(*slot);
        pool_->lease(*slot);
      } else {
        missing.push_back(key);
      }
    }
    for (const ExpertKey key : missing) {
      leased.push_back(*pool_->take(key));
      pool_->loaded(leased.back());
      pool_->lease(leased.back());
    }
    for (const SlotIndex slot : leased) pool_->unlease(slot);
    return picks.size() - missing.size();
  }

  const RoutingTrace& trace_;
  FutureUses future_;
  std::vector<ExpertKey> keys_;
  std::vector<std::byte> memory_;
  std::unique_ptr<SlotPool> pool_;
  uint64_t hits_ = 0, uses_ = 0;
};

std::vector<std::string> all_policies() {
  std::vector<std::string> names;
  std::istringstream list(policy_names(true));
  for (std::string name; std::getline(list >> std::ws, name, ',');) names.push_back(name);
  return names;
}

TEST(PolicyTraces, LruAndTheOptimumAreTheKnownOnes) {
  struct Known {
    std::string model;
    uint32_t percent;
    double lru, optimum;
  };
  for (const Known& known : {Known{kQwen, 10, 50.1, 75.0}, Known{kQwen, 20, 74.1, 89.2},
                             Known{kGemma, 10, 49.2, 73.9}, Known{kGemma, 20, 72.7, 87.7}}) {
    SCOPED_TRACE(testing::Message() << known.model << " at " << known.percent << " %");
    const RoutingTrace trace = recorded(known.model);
    const auto hit_rate = [&](std::string_view policy) {
      return Replay(trace, policy, known.percent).hit_rate(Order::kPickByPick);
    };
    EXPECT_NEAR(hit_rate("lru"), known.lru, 0.1);
    EXPECT_NEAR(hit_rate("oracle"), known.optimum, 0.1);
  }
}

TEST(PolicyTraces, TheDefaultKeepsItsLead) {
  struct Known {
    std::string model;
    uint32_t percent;
    double hit_rate;
  };
  for (const Known& known : {Known{kQwen, 10, 61.4}, Known{kQwen, 20, 79.4},
                             Known{kGemma, 10, 61.1}, Known{kGemma, 20, 77.7}}) {
    SCOPED_TRACE(testing::Message() << known.model << " at " << known.percent << " %");
    const RoutingTrace trace = recorded(known.model);
    EXPECT_GT(Replay(trace, kPolicyDefault, known.percent).hit_rate(Order::kByLayer),
              known.hit_rate - 0.3);
  }
}

TEST(PolicyTraces, NoneBeatsTheOptimumOrTheDefault) {
  const RoutingTrace trace = recorded(kGemma);
  const auto hit_rate = [&](std::string_view policy) {
    return Replay(trace, policy, 10).hit_rate(Order::kByLayer);
  };
  const double optimum = hit_rate("oracle"), best = hit_rate(kPolicyDefault);
  EXPECT_LT(best, optimum);
  for (const std::string& policy : all_policies()) {
    if (policy == "oracle" || policy == kPolicyDefault) continue;
    const double rate = hit_rate(policy);
    RecordProperty(policy, std::to_string(rate));
    EXPECT_LT(rate, best) << policy;
  }
}

}  // namespace
}  // namespace switchyard
