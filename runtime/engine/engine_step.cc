#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "runtime/base/check.h"
#include "runtime/base/clock.h"
#include "runtime/base/spans.h"
#include "runtime/engine/engine_impl.h"
#include "runtime/engine/products.h"

namespace switchyard {
namespace {

constexpr double kPumpSeconds = 100e-6;  // between two looks at the reads while computing

}  // namespace

Status Engine::Impl::check(const StepPlan& step) const {
  CHECK_THAT(step.tokens() >= 1 && step.tokens() <= plan.chunk, "{} tokens in a step of {}",
             step.tokens(), plan.chunk);
  for (const StepPart& part : step.parts) {
    const Sequence& sequence = sequences[static_cast<uint32_t>(part.sequence)];
    CHECK(sequence.open);
    if (sequence.length + part.tokens.size() > kv.context()) {
      return fail(Code::kUsage,
                  fmt::format("{} tokens do not fit the context of {}",
                              sequence.length + part.tokens.size(), kv.context()),
                  {}, "raise --context or shorten the text");
    }
    for (const TokenId token : part.tokens) {
      if (token >= 0 && static_cast<uint32_t>(token) < spec.vocab) continue;
      return fail(Code::kUsage,
                  fmt::format("token id {} is not in the vocabulary of {}", token, spec.vocab));
    }
  }
  return {};
}

void Engine::Impl::pump_reads() {
  const double now = now_seconds();
  if (now < pumped_seconds + kPumpSeconds) return;
  pumped_seconds = now;
  cache->pump();
}

Status Engine::Impl::lay_rows(const StepPlan& step) {
  rows.clear();
  wanted.clear();
  rows_of_rank.assign(team.ranks(), 0);
  for (const StepPart& part : step.parts) {
    const Sequence& sequence = sequences[static_cast<uint32_t>(part.sequence)];
    const auto tokens = static_cast<uint32_t>(part.tokens.size());
    const bool here = team.splits_heads() || sequence.home == team.rank();
    if (here && attention.heads.count > 0) TRY_STATUS(kv.reserve(part.sequence, tokens));
    for (uint32_t i = 0; i < tokens; ++i) {
      const bool last = i + 1 == tokens;
      const bool all = part.logits == LogitsWanted::kAll;
      const bool best = part.logits == LogitsWanted::kBest;
      const uint32_t row =
          team.splits_heads() ? static_cast<uint32_t>(rows.size()) : rows_of_rank[sequence.home];
      if (all || (last && part.logits != LogitsWanted::kNone)) {
        wanted.push_back({part.sequence, sequence.length + i, sequence.home, row, best});
      }
      rows_of_rank[sequence.home] += 1;
      if (here) rows.push_back({part.sequence, sequence.length + i, part.tokens[i], part.prompt});
    }
  }
  all_rows.resize(rows.size());
  std::iota(all_rows.begin(), all_rows.end(), 0U);
  own_rows = all_rows;
  for (std::vector<uint64_t>& of_layer : good_owners) of_layer.assign(rows.size(), 0);
  const size_t stride = padded(spec.hidden);
  pool.split(static_cast<uint32_t>(rows.size()), spec.hidden, [&](uint32_t first, uint32_t last) {
    for (uint32_t row = first; row < last; ++row) {
      read_row(weights.embedding, static_cast<uint32_t>(rows[row].token),
               workspace.x + row * stride);
    }
  });
  return {};
}

void Engine::Impl::norm_rows(std::span<const uint32_t> of, const std::vector<float>& weight) {
  const size_t stride = padded(spec.hidden);
  pool.split(static_cast<uint32_t>(of.size()), spec.hidden, [&](uint32_t first, uint32_t last) {
    for (uint32_t i = first; i < last; ++i) {
      kernels.rms_norm(workspace.x + of[i] * stride, weight.data(), spec.hidden, spec.hidden,
                       spec.norm_eps, workspace.normed + i * stride);
    }
  });
}

void Engine::Impl::add_update(std::span<const uint32_t> to) {
  const size_t stride = padded(spec.hidden);
  pool.split(static_cast<uint32_t>(to.size()), spec.hidden, [&](uint32_t first, uint32_t last) {
    for (uint32_t i = first; i < last; ++i) {
      float* x = workspace.x + to[i] * stride;
      kernels.add(x, workspace.update + i * stride, spec.hidden, x);
    }
  });
}

void Engine::Impl::record(uint32_t track, const char* what, uint32_t layer, double begin) const {
  if (spans == nullptr) return;
  spans->add(track, fmt::format("{} {}", what, layer), begin, now_seconds());
}

// Of every row, before this layer's attention.
void Engine::Impl::choose_owners() {
  row_owners.resize(rows.size());
  own_rows.clear();
  rows_of_rank.assign(team.ranks(), 0);
  for (uint32_t row = 0; row < rows.size(); ++row) {
    row_owners[row] = owners.of_row({.index = row,
                                     .layer = router_now,
                                     .token = rows[row].token,
                                     .position = rows[row].position,
                                     .before = {good_owners[0][row], good_owners[1][row]}});
    rows_of_rank[row_owners[row]] += 1;
    if (row_owners[row] == team.rank()) own_rows.push_back(row);
  }
}

// The residual stream behind the attention, of own rows.
Status Engine::Impl::attend(uint32_t layer) {
  const LayerWeights& of_layer = weights.layers[layer];
  norm_rows(all_rows, of_layer.input_norm);
  if (!rows.empty()) {
    TRY_STATUS(attention_block(compute(), spec, layer, of_layer, rows, attention, kv, workspace,
                               counters.weight_bytes_used));
  }
  const size_t stride = padded(spec.hidden);
  if (owner_exchange) {
    choose_owners();
    TRY_STATUS(owner_exchange->reduce(kernels, layer, row_owners, attention.outputs,
                                      workspace.update, stride));
  }
  for (size_t i = 0; i < own_rows.size() && !of_layer.o_bias.empty(); ++i) {
    float* update = workspace.update + i * stride;
    kernels.add(update, of_layer.o_bias.data(), spec.hidden, update);
  }
  add_update(own_rows);
  return {};
}

Status Engine::Impl::run_experts(uint32_t layer, const ExchangeStep& step) {
  MoeBlock::Calls calls;
  if (replay) calls.reroute = [&](std::span<RoutedExpert> to) { replay->route(layer, to); };
  calls.while_reading = [&] {
    if (!watch) return;
    watch->routed(compute(), layer, own_rows, workspace);
    if (!owner_exchange) watch->learn(layer);
    // Where heads are split all ranks guess for all rows.
    if (hints)
      hints->tell(router_now, owner_exchange ? std::span<const PrefetchJob>() : watch->guesses());
  };
  if (hints) calls.present = hints->present(router_now);
  TRY_STATUS(moe->run(compute(), layer, weights.layers[layer],
                      static_cast<uint32_t>(own_rows.size()), *cache, workspace,
                      counters.weight_bytes_used, calls, step, halves_now));
  if (hints) TRY_STATUS(hints->end_layer());
  count_picks();
  if (!owner_exchange) return {};
  good_owners[1] = good_owners[0];
  for (uint32_t i = 0; i < own_rows.size(); ++i) {
    good_owners[0][own_rows[i]] = moe->saving_owners(i);
  }
  return {};
}

// What this rank knows of its own rows, to all ranks.
Status Engine::Impl::gather_rows(uint32_t layer) {
  const auto column = [](auto* data, size_t stride, size_t width) {
    return RowColumn{reinterpret_cast<std::byte*>(data), stride * sizeof *data,
                     width * sizeof *data};
  };
  std::vector<RowColumn> columns = {column(workspace.x, padded(spec.hidden), spec.hidden),
                                    column(good_owners[0].data(), 1, 1)};
  const bool watches = watch && spec.layers[layer].sparse;
  if (watches) {
    const size_t width = watch->notes().size() / rows.size();
    columns.push_back(column(watch->notes().data(), width, width));
  }
  TRY_STATUS(owner_exchange->gather(layer, row_owners, columns));
  if (watches) watch->learn(layer);
  return {};
}

Status Engine::Impl::run_layer(uint32_t layer, ExchangeStep step) {
  const LayerWeights& of_layer = weights.layers[layer];
  const double began = now_seconds();
  if (watch) watch->before_attention(compute(), layer, workspace);
  TRY_STATUS(attend(layer));
  // A rank without rows has nothing to do until others' come, and hints come before.
  if (hints) TRY_STATUS(hints->hear(own_rows.empty()));
  cache->pump();
  record(kTrackAttention, "attention", layer, began);
  const double mlp_began = now_seconds();
  norm_rows(own_rows, of_layer.post_norm);
  const auto own = static_cast<uint32_t>(own_rows.size());
  if (spec.layers[layer].sparse) {
    step.rows_of_rank = rows_of_rank;
    TRY_STATUS(run_experts(layer, step));
  } else if (own > 0) {
    pack_rows(pool, kernels, workspace.normed, padded(spec.hidden), own, spec.hidden,
              workspace.packed);
    counters.weight_bytes_used +=
        dense_mlp(compute(), spec, of_layer, own, workspace, workspace.update);
  }
  add_update(own_rows);
  if (owner_exchange) TRY_STATUS(gather_rows(layer));
  record(kTrackExperts, spec.layers[layer].sparse ? "experts" : "mlp", layer, mlp_began);
  return {};
}

Status Engine::Impl::run_layers(const RankCommand& command) {
  halves_now = command.halves;
  rope_angles(compute(), spec, rows, workspace);
  if (replay) replay->begin_step(rows);
  if (watch) watch->begin_step(rows);
  if (hints) hints->begin_step(steps);
  router_now = 0;
  for (uint32_t layer = 0; layer < spec.layers.size(); ++layer) {
    if (team.alone() && stop && stop()) return fail(Code::kStopped, "stopped");
    layer_now = layer;
    ExchangeStep step{.number = steps, .layer = layer};
    if (!team.alone() && spec.layers[layer].sparse) step.way = command.ways[router_now];
    TRY_STATUS(run_layer(layer, step));
    router_now += spec.layers[layer].sparse ? 1 : 0;
  }
  return {};
}

Status Engine::Impl::run_step(const RankCommand& command, const LogitsSink& sink,
                              const BestSink& best) {
  steps = command.number;
  TRY_STATUS(lay_rows(command.plan));
  TRY_STATUS(run_layers(command));
  TRY_STATUS(give_logits(sink, best));
  for (const StepPart& part : command.plan.parts) {
    const auto tokens = static_cast<uint32_t>(part.tokens.size());
    sequences[static_cast<uint32_t>(part.sequence)].length += tokens;
    if (kv.is_open(part.sequence) && attention.heads.count > 0) kv.advance(part.sequence, tokens);
  }
  if (watch) watch->end_step();
  return {};
}

}  // namespace switchyard
