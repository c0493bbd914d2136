// Groups of experts found by different searches on one routing trace, measured on others:
//   compare_groupings RANKS LEARNED MEASURED…

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <functional>
#include <iostream>
#include <string>
#include <vector>

#include "experts/grouping.h"
#include "experts/trace_file.h"
#include "perf/experts/cross_entropy.h"

namespace switchyard {
namespace {

using Layers = std::vector<LayerRoutes>;
using Parts = std::vector<std::vector<uint32_t>>;  // [layers][experts]

Parts one_by_one(const Layers& layers, const std::function<std::vector<uint32_t>(size_t)>& find) {
  Parts parts;
  for (size_t at = 0; at < layers.size(); ++at) parts.push_back(find(at));
  return parts;
}

void measure(const std::string& name, const Layers& layers, const Parts& parts, uint32_t ranks) {
  double touched = 0, busiest = 0;
  for (size_t at = 0; at < layers.size(); ++at) {
    touched += parts_per_token(layers[at], parts[at]) / static_cast<double>(layers.size());
    busiest += imbalance(layers[at], parts[at], ranks) / static_cast<double>(layers.size());
  }
  std::cout << fmt::format("    {:<24} random owner {:.3f}, best owner {:.3f}, busiest {:.2f}\n",
                           name, touched * (1 - 1.0 / ranks), touched - 1, busiest);
}

int compare(uint32_t ranks, const std::vector<std::string>& paths) {
  std::vector<Layers> traces;
  for (const std::string& path : paths) {
    std::string warning;
    const auto trace = read_trace(path, warning);
    if (!trace) {
      std::cerr << "cannot read " << path << '\n';
      return 1;
    }
    traces.push_back(routes_of(*trace));
  }
  const Layers& learned = traces.front();
  const auto run = [&](const char* name, const std::function<Parts()>& search) {
    const auto begin = std::chrono::steady_clock::now();
    const Parts parts = search();
    const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - begin;
    std::cout << fmt::format("{}: {:.1f} s\n", name, spent.count());
    for (size_t i = 0; i < traces.size(); ++i) measure(paths[i], traces[i], parts, ranks);
  };
  run("plain", [&] {
    const ExpertOrder order = plain_order(learned.size(), learned.front().experts);
    return one_by_one(learned, [&](size_t at) { return ranks_of(order[at], ranks); });
  });
  run("cross-entropy", [&] {
    return one_by_one(learned,
                      [&](size_t at) { return cross_entropy_groups(learned[at], ranks, at + 1); });
  });
  run("annealing, these parts alone", [&] {
    return one_by_one(learned,
                      [&](size_t at) { return group_experts(learned[at], ranks, at + 1); });
  });
  run("group_order", [&] {
    const ExpertOrder order = group_order(learned, ranks, 1);
    return one_by_one(learned, [&](size_t at) { return ranks_of(order[at], ranks); });
  });
  return 0;
}

}  // namespace
}  // namespace switchyard

int main(int argc, char** argv) {
  if (argc < 3) {
    std::cerr << "compare_groupings RANKS LEARNED MEASURED…\n";
    return 2;
  }
  const int ranks = std::atoi(argv[1]);
  if (ranks < 1 || ranks > 64) {
    std::cerr << "1 to 64 ranks\n";
    return 2;
  }
  return switchyard::compare(static_cast<uint32_t>(ranks), {argv + 2, argv + argc});
}
