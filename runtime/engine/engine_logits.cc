// The end of a step: logits of the wanted rows, a few at a time, for the vocabulary may be large.

#include <algorithm>
#include <array>
#include <cstring>
#include <iterator>

#include "comm/collectives.h"
#include "comm/message_sum.h"
#include "runtime/base/hash.h"
#include "runtime/engine/engine_impl.h"

namespace switchyard {
namespace {

template <class T>
Status send_now(World& world, std::span<const T> values) {
  const uint64_t sum = hash_bytes(std::as_bytes(values));
  const std::array tickets = {world.send(0, Channel::kResults, std::as_bytes(values)),
                              world.send(0, Channel::kResults, std::as_bytes(std::span(&sum, 1)))};
  return wait_all(world, tickets, {"logits to leave"});
}

template <class T>
Status receive_now(World& world, uint32_t from, std::span<T> values) {
  uint64_t sum = 0;
  const std::array tickets = {
      world.receive(from, Channel::kResults, std::as_writable_bytes(values)),
      world.receive(from, Channel::kResults, std::as_writable_bytes(std::span(&sum, 1)))};
  TRY_STATUS(wait_all(world, tickets, {"logits"}));
  return check_sum(std::as_bytes(values), sum, from, {"logits"});
}

}  // namespace

Status Engine::Impl::give_logits(const LogitsSink& sink, const BestSink& best) {
  for (const bool only_best : {false, true}) {
    std::vector<WantedRow> some;
    std::ranges::copy_if(wanted, std::back_inserter(some),
                         [&](const WantedRow& row) { return row.best == only_best; });
    if (some.empty()) continue;
    if (team.splits_heads()) {
      TRY_STATUS(give_split_logits(some, only_best, sink, best));
    } else if (team.rank() == 0) {
      TRY_STATUS(give_home_logits(some, only_best, sink, best));
    } else {
      TRY_STATUS(send_home_logits(some, only_best));
    }
  }
  return {};
}

// Of as many of `mine` from `at` on as are computed at once; they lie in workspace.logits then.
Result<std::span<const WantedRow>> Engine::Impl::compute_some(std::span<const WantedRow> mine,
                                                              size_t at, VocabRange range) {
  const auto some = mine.subspan(at, std::min<size_t>(logits_rows, mine.size() - at));
  TRY_STATUS(
      compute_logits(compute(), spec, weights, some, range, workspace, counters.weight_bytes_used));
  return some;
}

std::span<const float> Engine::Impl::logits_of(size_t i, VocabRange range) const {
  return {workspace.logits + i * padded(spec.vocab), range.end - range.begin};
}

// On rank 0: its own rows and those of other homes, in the order of the plan.
Status Engine::Impl::give_home_logits(const std::vector<WantedRow>& all, bool only_best,
                                      const LogitsSink& sink, const BestSink& best) {
  const VocabRange range = {0, spec.vocab};
  std::vector<WantedRow> mine;
  std::ranges::copy_if(all, std::back_inserter(mine),
                       [](const WantedRow& row) { return row.home == 0; });
  std::vector<float> theirs;             // a row of another home
  size_t given = 0, begin = 0, end = 0;  // of mine; those of [begin, end) are computed
  for (const WantedRow& row : all) {
    if (row.home == 0 && given == end) {
      begin = end;
      end += TRY(compute_some(mine, begin, range)).size();
    }
    if (row.home != 0 && only_best) {
      TokenId token = 0;
      TRY_STATUS(receive_now(*team.world, row.home, std::span(&token, 1)));
      best(row.sequence, row.position, token);
      continue;
    }
    std::span<const float> logits = theirs;
    if (row.home == 0) {
      logits = logits_of(given++ - begin, range);
    } else {
      theirs.resize(spec.vocab);
      TRY_STATUS(receive_now(*team.world, row.home, std::span(theirs)));
      logits = theirs;
    }
    if (only_best) best(row.sequence, row.position, best_logit(logits, 0).token);
    if (!only_best) sink(row.sequence, row.position, logits);
  }
  return {};
}

// On the other ranks.
Status Engine::Impl::send_home_logits(const std::vector<WantedRow>& all, bool only_best) {
  const VocabRange range = {0, spec.vocab};
  std::vector<WantedRow> mine;
  std::ranges::copy_if(all, std::back_inserter(mine),
                       [&](const WantedRow& row) { return row.home == team.rank(); });
  for (size_t at = 0; at < mine.size();) {
    const size_t some = TRY(compute_some(mine, at, range)).size();
    for (size_t i = 0; i < some; ++i) {
      const TokenId token = best_logit(logits_of(i, range), 0).token;
      if (only_best) TRY_STATUS(send_now(*team.world, std::span<const TokenId>(&token, 1)));
      if (!only_best) TRY_STATUS(send_now(*team.world, logits_of(i, range)));
    }
    at += some;
  }
  return {};
}

// Every rank computes its part of the vocabulary, for all rows; rank 0 puts them together.
Status Engine::Impl::give_split_logits(const std::vector<WantedRow>& all, bool only_best,
                                       const LogitsSink& sink, const BestSink& best) {
  const VocabRange mine = vocab_of(team.rank(), team.ranks(), spec.vocab);
  for (size_t at = 0; at < all.size();) {
    const auto some = TRY(compute_some(all, at, mine));
    if (only_best) {
      TRY_STATUS(give_split_best(some, mine, best));
    } else {
      TRY_STATUS(join_logits(some.size(), mine));
      for (size_t i = 0; i < some.size() && team.rank() == 0; ++i) {
        sink(some[i].sequence, some[i].position, logits_of(i, {0, spec.vocab}));
      }
    }
    at += some.size();
  }
  return {};
}

Status Engine::Impl::give_split_best(std::span<const WantedRow> some, VocabRange mine,
                                     const BestSink& best) {
  std::vector<BestLogit> found;
  for (size_t i = 0; i < some.size() && mine.begin < mine.end; ++i) {
    found.push_back(best_logit(logits_of(i, mine), mine.begin));
  }
  if (team.rank() != 0) {
    return found.empty() ? Status{} : send_now(*team.world, std::span<const BestLogit>(found));
  }
  std::vector<BestLogit> theirs(some.size());
  for (uint32_t rank = 1; rank < team.ranks(); ++rank) {
    const VocabRange range = vocab_of(rank, team.ranks(), spec.vocab);
    if (range.begin == range.end) continue;
    TRY_STATUS(receive_now(*team.world, rank, std::span(theirs)));
    found.resize(some.size(), theirs.front());
    for (size_t i = 0; i < some.size(); ++i) {
      // Of equals the first, as a whole row has it: ranks ascend with the vocabulary.
      if (range.begin == 0 || theirs[i].value > found[i].value) found[i] = theirs[i];
    }
  }
  for (size_t i = 0; i < some.size(); ++i) {
    best(some[i].sequence, some[i].position, found[i].token);
  }
  return {};
}

// The other ranks' parts of `rows` rows to their places in workspace.logits of rank 0.
Status Engine::Impl::join_logits(size_t rows, VocabRange mine) {
  std::vector<float> part;
  if (team.rank() != 0) {
    for (size_t i = 0; i < rows; ++i) {
      const std::span<const float> logits = logits_of(i, mine);
      part.insert(part.end(), logits.begin(), logits.end());
    }
    return part.empty() ? Status{} : send_now(*team.world, std::span<const float>(part));
  }
  const size_t stride = padded(spec.vocab);
  // Its own part begins at column 0, unless it has none.
  for (uint32_t rank = 1; rank < team.ranks(); ++rank) {
    const VocabRange range = vocab_of(rank, team.ranks(), spec.vocab);
    const size_t width = range.end - range.begin;
    if (width == 0) continue;
    part.resize(rows * width);
    TRY_STATUS(receive_now(*team.world, rank, std::span(part)));
    for (size_t i = 0; i < rows; ++i) {
      std::memcpy(workspace.logits + i * stride + range.begin, part.data() + i * width,
                  width * sizeof(float));
    }
  }
  return {};
}

}  // namespace switchyard
