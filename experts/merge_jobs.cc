#include "experts/merge_jobs.h"

#include <algorithm>
#include <tuple>

namespace switchyard {

std::vector<PrefetchJob> merge_jobs(std::span<const PrefetchJob> jobs) {
  std::vector<PrefetchJob> merged(jobs.begin(), jobs.end());
  std::ranges::stable_sort(
      merged, {}, [](const PrefetchJob& job) { return std::tuple(job.key.layer, job.key.expert); });
  size_t count = 0;
  for (const PrefetchJob& job : merged) {
    if (count > 0 && merged[count - 1].key == job.key) {
      double& probability = merged[count - 1].probability;
      probability = 1 - (1 - probability) * (1 - job.probability);
    } else {
      merged[count++] = job;
    }
  }
  merged.resize(count);
  std::ranges::stable_sort(merged, [](const PrefetchJob& a, const PrefetchJob& b) {
    return std::tuple(a.layers_ahead, -a.probability) < std::tuple(b.layers_ahead, -b.probability);
  });
  return merged;
}

}  // namespace switchyard
