// Which experts an engine holds, the cache that has them, and how both change between requests.

#include <algorithm>
#include <utility>

#include "comm/collectives.h"
#include "experts/staged_source.h"
#include "runtime/base/check.h"
#include "runtime/base/clock.h"
#include "runtime/engine/engine_impl.h"
#include "runtime/engine/engine_needs.h"
#include "storage/faulty_queue.h"
#include "storage/rated_queue.h"

namespace switchyard {
namespace {

// What stands before the real drive: a rate it is held to, and faults. A folder has no checksums: a
// flipped bit would be computed on.
Result<std::function<std::unique_ptr<ReadQueue>(std::unique_ptr<ReadQueue>)>> drive_in_front(
    const ModelSource& source, const EngineOptions& options) {
  FaultMix mix;
  if (!options.faults.empty()) mix = TRY(parse_faults(options.faults));
  if (mix.bit_flip > 0 && !source.experts().direct()) {
    return fail(Code::kUsage, "bits flipped in a folder's weights cannot be noticed", "--faults",
                "pack the model, or name other kinds");
  }
  return [mix, options](std::unique_ptr<ReadQueue> queue) -> std::unique_ptr<ReadQueue> {
    if (options.drive_bytes_per_second > 0) {
      DriveModel model{.bytes_per_second = options.drive_bytes_per_second};
      model.now_seconds = now_seconds;
      model.sleep_until = sleep_until_seconds;
      const uint32_t depth = queue->depth();
      queue = std::make_unique<RatedQueue>(std::move(queue), depth, std::move(model));
    }
    if (!options.faults.empty()) queue = std::make_unique<FaultyQueue>(std::move(queue), mix);
    return queue;
  };
}

Result<ExpertCacheOptions> cache_options(const ModelSource& source, const EngineOptions& options,
                                         const ExpertSource& experts, const MemoryPlan& plan) {
  const ModelSpec& spec = source.spec();
  ExpertCacheOptions cache;
  cache.slots = plan.slots + plan.kv_slots;
  cache.staging = plan.staging;
  cache.policy = options.policy;
  cache.buffered = options.buffered_reads;
  cache.spans = options.spans;
  cache.device = options.device.get();
  cache.memory_bytes_per_second = options.memory_bytes_per_second;
  if (options.prefetch) {
    cache.prefetch_bytes_per_step = experts.expert_bytes() * spec.moe.top_k * spec.sparse_layers();
  }
  if (!options.faults.empty() || options.drive_bytes_per_second > 0) {
    cache.wrap_queue = TRY(drive_in_front(source, options));
  }
  return cache;
}

void add(const ExpertCacheCounters& more, ExpertCacheCounters& sum) {
  sum.hits += more.hits;
  sum.misses += more.misses;
  sum.bytes_read += more.bytes_read;
  sum.retries += more.retries;
  sum.stall_seconds += more.stall_seconds;
  sum.prefetch.add(more.prefetch);
  sum.device.add(more.device);
  if (sum.layers.size() < more.layers.size()) sum.layers.resize(more.layers.size());
  for (size_t layer = 0; layer < more.layers.size(); ++layer) {
    sum.layers[layer].hits += more.layers[layer].hits;
    sum.layers[layer].misses += more.layers[layer].misses;
  }
}

}  // namespace

std::vector<RankWork> work_of(const std::vector<RankReport>& reports) {
  std::vector<RankWork> work;
  work.reserve(reports.size());
  for (const RankReport& report : reports) work.push_back(report.work);
  return work;
}

Status Engine::Impl::take_experts() {
  staged.reset();
  own_experts = rank_experts(source, team, placement);
  if (own_experts) TRY_STATUS(own_experts->verify());
  if (!options.stage.empty()) {
    staged = TRY(stage_experts(own_experts ? *own_experts : source.experts(), options.stage, {}));
  }
  experts = static_cast<uint32_t>(expert_source().keys().size());
  return {};
}

Status Engine::Impl::open_cache(const std::function<void(uint64_t bytes_done)>& report) {
  cache = TRY(ExpertCache::create(expert_source(),
                                  TRY(cache_options(source, options, expert_source(), plan))));
  return cache->fill([&](uint64_t done, uint64_t) {
    if (report) report(done);
  });
}

ExpertCacheCounters Engine::Impl::cache_counters() const {
  ExpertCacheCounters all = counted_before;
  add(cache->counters(), all);
  return all;
}

RankWork Engine::Impl::rank_work() const {
  RankWork work{.picks = picks};
  if (picks.empty()) return work;
  Traffic traffic = traffic_before;
  for (const auto& exchange : exchanges) add_traffic(exchange->traffic(), traffic);
  if (slice_exchange) add_traffic(slice_exchange->traffic(), traffic);
  for (const uint16_t layer : spec.router_layers()) {
    work.computed.push_back(layer < traffic.size() ? traffic[layer].computed : 0);
  }
  return work;
}

// Rank 0's, with no sequence open.
Status Engine::Impl::adapt_placement() {
  const bool idle = std::ranges::none_of(sequences, &Sequence::open);
  if (!placement_watch || !idle || !placement_watch->due()) return {};
  auto next = placement_watch->advise(work_of(TRY(rank_reports())));
  if (!next) return {};
  return order({.kind = RankCommand::Kind::kPlace, .placement = *std::move(next)});
}

// The cache begins anew, cold but for its fill, with what is this rank's now; all ranks go on
// together. What was learned of owners holds: it is of the base, which stays.
Status Engine::Impl::change_placement(const Placement& next) {
  const auto same_size = [](const auto& a, const auto& b) { return a.size() == b.size(); };
  const auto held = [&](const Placement& of) {
    return rank_experts(source, team, of)->keys().size();
  };
  Placement changed = placement;
  changed.holders = next.holders;
  const bool fits = team.adapt && next.ranks == placement.ranks &&
                    std::ranges::equal(next.holders, placement.holders, same_size) &&
                    changed.valid() && held(changed) <= experts_max &&
                    std::ranges::none_of(sequences, &Sequence::open);
  if (!fits) return fail(Code::kInternal, "a placement that does not fit", "rank 0");
  counted_before = cache_counters();
  traffic_at_change = exchanges.front()->traffic();
  cache.reset();
  placement = std::move(changed);
  TRY_STATUS(take_experts());
  TRY_STATUS(open_cache({}));
  if (watch) watch->use(*cache);
  if (hints) hints->use(*cache);
  return barrier(*team.world, {"the new placement"});
}

void Engine::Impl::watch_placement() {
  if (team.alone() || !team.adapt) return;
  picks.assign(spec.sparse_layers(), std::vector<uint64_t>(spec.moe.experts));
  if (team.rank() == 0) {
    placement_watch = std::make_unique<PlacementWatch>(*team.adapt, team.placement);
  }
}

// What the routers chose for the own rows of the layer.
void Engine::Impl::count_picks() {
  if (picks.empty()) return;
  const size_t count = own_rows.size() * spec.moe.top_k;
  for (const RoutedExpert& routed : std::span(workspace.routed, count)) {
    picks[router_now][routed.expert] += 1;
  }
}

}  // namespace switchyard
