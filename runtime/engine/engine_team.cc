// What an engine does because there are other ranks.

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <utility>

#include "comm/collectives.h"
#include "runtime/base/byte_fields.h"
#include "runtime/base/check.h"
#include "runtime/base/process.h"
#include "runtime/engine/engine_impl.h"

namespace switchyard {
namespace {

constexpr Awaited kReports = {"reports"};
constexpr uint64_t kTokensTold = 32;  // of a layer, until its copies are believed

// The numbers of a report or of a layer in the order in which they travel.
template <class Report>
auto numbers_of(Report& report) {
  auto& prefetch = report.prefetch;
  return std::array{&report.expert_hits,    &report.expert_misses,  &report.expert_bytes_read,
                    &prefetch.started,      &prefetch.hits,         &prefetch.late,
                    &prefetch.useful_bytes, &prefetch.wasted_bytes, &prefetch.steps,
                    &prefetch.steps_rested, &report.experts,        &report.slices,
                    &report.peak_rss_bytes};
}

template <class Layer>
auto numbers_of_layer(Layer& layer) {
  return std::array{
      &layer.tokens,        &layer.copies_out, &layer.copies_back, &layer.copies_to_nodes,
      &layer.copies_needed, &layer.picks,      &layer.picks_here,  &layer.computed,
      &layer.gathers,       &layer.steps};
}

void put_list(std::string& out, const std::vector<uint64_t>& values) {
  put(out, uint64_t{values.size()});
  for (const uint64_t value : values) put(out, value);
}

std::vector<uint64_t> take_list(ByteCursor& cursor) {
  std::vector<uint64_t> values;
  for (auto left = cursor.number<uint64_t>(); left > 0 && cursor.ok(); --left) {
    values.push_back(cursor.number<uint64_t>());
  }
  return values;
}

std::string encode(const RankReport& report) {
  std::string out;
  for (const uint64_t* value : numbers_of(report)) put(out, *value);
  put(out, uint64_t{report.traffic.size()});
  for (const LayerTraffic& layer : report.traffic) {
    for (const uint64_t* value : numbers_of_layer(layer)) put(out, *value);
    put_list(out, layer.bytes_to);
  }
  put_list(out, report.attention_bytes_to);
  put_list(out, report.work.computed);
  for (const auto& layer : report.work.picks) put_list(out, layer);
  return out;
}

bool same_sizes(const RankWork& one, const RankWork& other) {
  const auto same = [](const auto& a, const auto& b) { return a.size() == b.size(); };
  return same(one.computed, other.computed) && std::ranges::equal(one.picks, other.picks, same);
}

Result<RankReport> decode_report(std::string_view bytes) {
  ByteCursor cursor(bytes);
  RankReport report;
  for (uint64_t* value : numbers_of(report)) *value = cursor.number<uint64_t>();
  for (auto left = cursor.number<uint64_t>(); left > 0 && cursor.ok(); --left) {
    LayerTraffic& layer = report.traffic.emplace_back();
    for (uint64_t* value : numbers_of_layer(layer)) *value = cursor.number<uint64_t>();
    layer.bytes_to = take_list(cursor);
  }
  report.attention_bytes_to = take_list(cursor);
  report.work.computed = take_list(cursor);
  for (size_t layer = 0; layer < report.work.computed.size() && cursor.ok(); ++layer) {
    report.work.picks.push_back(take_list(cursor));
  }
  if (!cursor.at_end()) return fail(Code::kInternal, "a report that is none");
  return report;
}

}  // namespace

Result<SequenceId> Engine::Impl::free_sequence() const {
  const auto free = std::ranges::find_if(sequences, [](const Sequence& one) { return !one.open; });
  if (free != sequences.end()) return static_cast<SequenceId>(free - sequences.begin());
  return fail(Code::kNoMemory, fmt::format("all {} sequences are in use", sequences.size()));
}

uint32_t Engine::Impl::home_for(SequenceId sequence, std::span<const TokenId> beginning) const {
  std::vector<uint32_t> held(team.ranks());
  for (const Sequence& one : sequences) held[one.home] += one.open ? 1 : 0;
  return owners.of_sequence(static_cast<uint32_t>(sequence), beginning, held, sequences_here);
}

Status Engine::Impl::order(const RankCommand& command) {
  if (!team.alone()) TRY_STATUS(tell(*team.world, command));
  return obey(command);
}

Status Engine::Impl::obey(const RankCommand& command) {
  const auto index = static_cast<uint32_t>(command.sequence);
  switch (command.kind) {
    case RankCommand::Kind::kOpen:
      sequences[index] = {.open = true, .home = command.home, .length = 0};
      if (team.splits_heads() || command.home == team.rank()) kv.open(command.sequence);
      return {};
    case RankCommand::Kind::kClose:
      sequences[index] = {};
      if (kv.is_open(command.sequence)) kv.close(command.sequence);
      return {};
    case RankCommand::Kind::kReset:
      cache->reset_counters();
      counted_before = {};
      traffic_at_change = {};
      counters = {};
      for (const auto& exchange : exchanges) {
        add_traffic(exchange->traffic(), traffic_before);
        exchange->reset_traffic();
      }
      if (slice_exchange) {
        add_traffic(slice_exchange->traffic(), traffic_before);
        slice_exchange->reset_traffic();
      }
      if (owner_exchange) owner_exchange->reset_traffic();
      if (hints) hints->reset_traffic();
      return {};
    case RankCommand::Kind::kReport:
      if (team.rank() != 0) TRY(gather_texts(*team.world, 0, encode(rank_report()), kReports));
      return {};
    case RankCommand::Kind::kPlace:
      return change_placement(command.placement);
    case RankCommand::Kind::kStep:
    case RankCommand::Kind::kEnd:
      return {};
  }
  return {};
}

Status Engine::Impl::serve() {
  CHECK(team.rank() != 0);
  while (true) {
    const RankCommand command = TRY(hear(*team.world));
    if (command.kind == RankCommand::Kind::kEnd) return {};
    if (command.kind == RankCommand::Kind::kStep) {
      TRY_STATUS(run_step(command, {}, {}));
    } else {
      TRY_STATUS(obey(command));
    }
  }
}

RankReport Engine::Impl::rank_report() const {
  const ExpertCacheCounters of_cache = cache_counters();
  RankReport report{.expert_hits = of_cache.hits,
                    .expert_misses = of_cache.misses,
                    .expert_bytes_read = of_cache.bytes_read,
                    .prefetch = of_cache.prefetch,
                    .experts = experts,
                    .slices = expert_source().layout().slice.count,
                    .peak_rss_bytes = peak_resident_bytes(),
                    .work = rank_work()};
  for (const auto& exchange : exchanges) add_traffic(exchange->traffic(), report.traffic);
  if (slice_exchange) add_traffic(slice_exchange->traffic(), report.traffic);
  if (hints) add_traffic(hints->traffic(), report.traffic);
  if (owner_exchange) report.attention_bytes_to = owner_exchange->bytes_to();
  return report;
}

Result<std::vector<RankReport>> Engine::Impl::rank_reports() {
  TRY_STATUS(order({.kind = RankCommand::Kind::kReport}));
  if (team.alone()) return std::vector{rank_report()};
  std::vector<RankReport> reports;
  for (const std::string& text :
       TRY(gather_texts(*team.world, 0, encode(rank_report()), kReports))) {
    reports.push_back(TRY(decode_report(text)));
    if (!same_sizes(reports.back().work, reports.front().work)) {
      return fail(Code::kInternal, "a report of other layers or experts",
                  fmt::format("rank {}", reports.size() - 1));
    }
  }
  if (placement_watch) placement_watch->update(work_of(reports));
  return reports;
}

// How each layer's rows travel in the next step: by what rank 0's own rows have cost so far.
std::vector<ExchangeWay> Engine::Impl::choose_ways(const StepPlan& step) const {
  if (team.alone()) return {};
  std::vector<ExchangeWay> ways(spec.sparse_layers(), team.layout == Layout::kC
                                                          ? ExchangeWay::kGather
                                                          : ExchangeWay::kSparse);
  if (team.layout != Layout::kAuto) return ways;
  std::vector<uint32_t> of_rank(team.ranks());
  for (const StepPart& part : step.parts) {
    of_rank[sequences[static_cast<uint32_t>(part.sequence)].home] +=
        static_cast<uint32_t>(part.tokens.size());
  }
  ExchangeQuestion question{.rows_of_rank = of_rank,
                            .row_bytes = static_cast<double>(spec.hidden * sizeof(float) +
                                                             spec.moe.top_k * sizeof(PlannedPick)),
                            .part_bytes = static_cast<double>(spec.hidden * sizeof(float)),
                            .count_bytes = sizeof(RowCounts)};
  const std::vector<uint16_t> layers = spec.router_layers();
  for (size_t at = 0; at < ways.size(); ++at) {
    question.copies = copies_seen(layers[at]);
    const bool gather = gather_seconds(links, question) < sparse_seconds(links, question);
    ways[at] = gather ? ExchangeWay::kGather : ExchangeWay::kSparse;
  }
  return ways;
}

// Whether its rows go in two passes: what was quicker so far for about so many.
bool Engine::Impl::choose_halves(const StepPlan& step) {
  if (team.alone() || !may_halve) return false;
  if (team.halves) return *team.halves;
  return pass_choice.halves(step.tokens());
}

// Ranks that rows of a layer go to, as far as that is known of this placement.
double Engine::Impl::copies_seen(uint32_t layer) const {
  const Traffic& traffic = exchanges.front()->traffic();
  LayerTraffic seen = layer < traffic.size() ? traffic[layer] : LayerTraffic{};
  if (layer < traffic_at_change.size()) {
    seen.tokens -= traffic_at_change[layer].tokens;
    seen.copies_needed -= traffic_at_change[layer].copies_needed;
  }
  if (seen.tokens < kTokensTold) return expected_copies(team.ranks(), spec.moe.top_k);
  return static_cast<double>(seen.copies_needed) / static_cast<double>(seen.tokens);
}

// Rank 0's engine ends: the others may go.
void Engine::Impl::end_team() {
  if (!team.alone() && team.rank() == 0) (void)tell(*team.world, {.kind = RankCommand::Kind::kEnd});
}

}  // namespace switchyard
