#include "comm/hint_exchange.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "comm/collectives.h"
#include "comm/message_sum.h"
#include "runtime/base/check.h"
#include "runtime/base/hash.h"

namespace switchyard {
namespace {

// A message begins so; what is present, and a checksum of all before it, follow.
struct Head {
  uint32_t step = 0;
  uint32_t layer = 0;
  uint32_t count = 0;
  uint32_t unused = 0;
  std::array<Hint, HintExchange::kHintsMax> hints = {};
};
constexpr size_t kHeadWords = sizeof(Head) / sizeof(uint64_t);
static_assert(sizeof(Head) % sizeof(uint64_t) == 0);

}  // namespace

HintExchange::HintExchange(World& world, uint32_t present_words)
    : world_(world), words_(kHeadWords + present_words + 1) {
  for (Round& round : rounds_) {
    round.outgoing.resize(world.size() * words_);
    round.incoming.resize(world.size() * words_);
  }
}

std::span<uint64_t> HintExchange::message(std::vector<uint64_t>& messages, uint32_t rank) const {
  return std::span(messages).subspan(rank * words_, words_);
}

void HintExchange::write(std::span<uint64_t> to, const Round& round, std::span<const Hint> wanted,
                         std::span<const uint64_t> present) const {
  wanted = wanted.first(std::min<size_t>(wanted.size(), kHintsMax));
  Head head{
      .step = round.step, .layer = round.layer, .count = static_cast<uint32_t>(wanted.size())};
  std::ranges::copy(wanted, head.hints.begin());
  std::memcpy(to.data(), &head, sizeof head);
  std::ranges::copy(present, to.begin() + kHeadWords);
  to.back() = hash_bytes(std::as_bytes(to.first(to.size() - 1)));
}

void HintExchange::begin(uint32_t step, uint32_t layer, std::span<const std::vector<Hint>> wanted,
                         std::span<const uint64_t> present) {
  CHECK(wanted.size() == world_.size() && kHeadWords + present.size() + 1 == words_);
  std::swap(rounds_[0], rounds_[1]);
  Round& round = rounds_[1];
  CHECK(round.awaited.empty() && round.sent.empty());
  round.step = step;
  round.layer = layer;
  if (traffic_.size() <= layer) traffic_.resize(layer + size_t{1});
  std::vector<uint64_t>& bytes_to = traffic_[layer].bytes_to;
  bytes_to.resize(world_.size());
  for (uint32_t peer = 0; peer < world_.size(); ++peer) {
    if (peer == world_.rank()) continue;
    const std::span<uint64_t> theirs = message(round.incoming, peer);
    round.awaited.push_back(peer);
    round.receiving.push_back(
        world_.receive(peer, Channel::kHints, std::as_writable_bytes(theirs)));
    const std::span<uint64_t> mine = message(round.outgoing, peer);
    write(mine, round, wanted[peer], present);
    round.sent.push_back(world_.send(peer, Channel::kHints, std::as_bytes(mine)));
    bytes_to[peer] += mine.size_bytes();
  }
}

Status HintExchange::read(Round& round, uint32_t from, const Sink& sink) {
  const std::span<const uint64_t> words = message(round.incoming, from);
  TRY_STATUS(check_sum(std::as_bytes(words.first(words.size() - 1)), words.back(), from,
                       {"hints", static_cast<int32_t>(round.layer)}));
  Head head;
  std::memcpy(static_cast<void*>(&head), words.data(), sizeof head);
  if (head.step != round.step || head.layer != round.layer || head.count > kHintsMax) {
    return fail(Code::kInternal,
                fmt::format("gives {} hints at step {}, layer {}; this rank awaits those of step "
                            "{}, layer {}",
                            head.count, head.step, head.layer, round.step, round.layer),
                fmt::format("rank {}", from));
  }
  sink({.from = from,
        .layer = round.layer,
        .wanted = std::span(head.hints).first(head.count),
        .present = words.subspan(kHeadWords, words.size() - 1 - kHeadWords)});
  return {};
}

// The i-th awaited message, which has come.
Status HintExchange::take_one(Round& round, size_t i, const Sink& sink) {
  const uint32_t from = round.awaited[i];
  round.awaited.erase(round.awaited.begin() + static_cast<ptrdiff_t>(i));
  round.receiving.erase(round.receiving.begin() + static_cast<ptrdiff_t>(i));
  return read(round, from, sink);
}

Status HintExchange::take(const Sink& sink) {
  for (Round& round : rounds_) {
    for (size_t i = round.awaited.size(); i-- > 0;) {
      if (TRY(world_.poll(round.receiving[i]))) TRY_STATUS(take_one(round, i, sink));
    }
  }
  return {};
}

Status HintExchange::finish(uint32_t layer, const Sink& sink) {
  for (Round& round : rounds_) {
    if (round.layer > layer) continue;
    const Awaited awaited = {"hints", static_cast<int32_t>(round.layer)};
    while (!round.awaited.empty()) {
      TRY_STATUS(world_.wait(round.receiving.back(), awaited));
      TRY_STATUS(take_one(round, round.awaited.size() - 1, sink));
    }
    TRY_STATUS(wait_all(world_, round.sent, awaited));
    round.sent.clear();
  }
  return {};
}

}  // namespace switchyard
