#include "perf/experts/cross_entropy.h"

#include <algorithm>
#include <bit>
#include <numeric>

#include "runtime/base/check.h"
#include "runtime/base/prng.h"

namespace switchyard {
namespace {

struct Sample {
  std::vector<uint32_t> part_of;  // [experts]
  double cost = 0;
};

using Chances = std::vector<std::vector<double>>;  // [experts][parts]

// Experts in any order, each on a part that has room, by its chances.
std::vector<uint32_t> draw(const Chances& chances, uint32_t parts, Prng& prng) {
  const auto experts = static_cast<uint32_t>(chances.size());
  std::vector<uint32_t> order(experts), room(parts), part_of(experts);
  std::iota(order.begin(), order.end(), 0U);
  for (uint32_t i = experts; i > 1; --i) std::swap(order[i - 1], order[prng.below(i)]);
  for (uint32_t place = 0; place < experts; ++place) room[place * parts / experts] += 1;
  for (const uint32_t expert : order) {
    double all = 0;
    for (uint32_t part = 0; part < parts; ++part) {
      all += room[part] > 0 ? chances[expert][part] : 0;
    }
    double left = all * prng.uniform();
    uint32_t chosen = parts;
    for (uint32_t part = 0; part < parts; ++part) {
      if (room[part] == 0) continue;
      chosen = part;
      left -= chances[expert][part];
      if (left < 0) break;
    }
    part_of[expert] = chosen;
    room[chosen] -= 1;
  }
  return part_of;
}

double cost_of(const LayerRoutes& routes, const std::vector<uint32_t>& part_of, uint32_t parts,
               double balance) {
  uint64_t touched = 0;
  std::vector<double> loads(parts);
  for (size_t token = 0; token < routes.tokens(); ++token) {
    uint64_t set = 0;
    for (const uint16_t expert : routes.of(token)) {
      set |= uint64_t{1} << part_of[expert];
      loads[part_of[expert]] += 1;
    }
    touched += static_cast<uint64_t>(std::popcount(set));
  }
  const double mean = static_cast<double>(routes.picks.size()) / parts;
  double cost = static_cast<double>(touched) / static_cast<double>(routes.tokens());
  for (const double load : loads) {
    cost += balance * (load / mean - 1) * (load / mean - 1) / parts;
  }
  return cost;
}

}  // namespace

std::vector<uint32_t> cross_entropy_groups(const LayerRoutes& routes, uint32_t parts, uint64_t seed,
                                           const CrossEntropySettings& settings) {
  CHECK(parts >= 1 && parts <= 64 && routes.tokens() > 0);
  Prng prng(seed);
  Chances chances(routes.experts, std::vector<double>(parts, 1.0 / parts));
  std::vector<Sample> samples(settings.samples);
  Sample best{{}, 1e300};
  const auto elite = static_cast<size_t>(settings.elite * settings.samples);
  for (uint32_t round = 0; round < settings.rounds; ++round) {
    for (Sample& sample : samples) {
      sample.part_of = draw(chances, parts, prng);
      sample.cost = cost_of(routes, sample.part_of, parts, settings.balance);
    }
    std::ranges::sort(samples, {}, &Sample::cost);
    if (samples.front().cost < best.cost) best = samples.front();
    for (uint32_t expert = 0; expert < routes.experts; ++expert) {
      for (double& chance : chances[expert]) chance *= 1 - settings.smoothing;
      for (size_t i = 0; i < elite; ++i) {
        chances[expert][samples[i].part_of[expert]] +=
            settings.smoothing / static_cast<double>(elite);
      }
    }
  }
  return best.part_of;
}

}  // namespace switchyard
