#include "storage/faulty_queue.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <thread>
#include <utility>

#include "runtime/base/check.h"

namespace switchyard {
namespace {

constexpr double kRateDefault = 0.01;
constexpr uint64_t kDelayMaxMs = 20;

struct Kind {
  std::string_view name;
  double FaultMix::*rate;
};
constexpr std::array<Kind, 4> kKinds = {{{"eio", &FaultMix::io_error},
                                         {"short-read", &FaultMix::short_read},
                                         {"bit-flip", &FaultMix::bit_flip},
                                         {"delay", &FaultMix::delay}}};

tl::unexpected<Error> not_faults(std::string_view text) {
  return fail(Code::kUsage, fmt::format("'{}' is no list of faults", text), {},
              "write SEED[,KIND[=RATE]...] with eio, short-read, bit-flip, delay; rates 0 to 1");
}

template <class Number>
bool parse_whole(std::string_view text, Number& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc{} && end == text.data() + text.size();
}

bool add_kind(std::string_view text, FaultMix& mix) {
  const size_t equals = text.find('=');
  double rate = kRateDefault;
  if (equals != std::string_view::npos && !parse_whole(text.substr(equals + 1), rate)) return false;
  if (!(rate >= 0 && rate <= 1)) return false;
  for (const Kind& kind : kKinds) {
    if (kind.name != text.substr(0, equals)) continue;
    mix.*kind.rate = rate;
    return true;
  }
  return false;
}

}  // namespace

Result<FaultMix> parse_faults(std::string_view text) {
  FaultMix mix;
  size_t comma = text.find(',');
  if (!parse_whole(text.substr(0, comma), mix.seed)) return not_faults(text);
  if (comma == std::string_view::npos) {
    for (const Kind& kind : kKinds) mix.*kind.rate = kRateDefault;
  }
  while (comma != std::string_view::npos) {
    const size_t next = text.find(',', comma + 1);
    if (!add_kind(text.substr(comma + 1, next - comma - 1), mix)) return not_faults(text);
    comma = next;
  }
  return mix;
}

FaultyQueue::FaultyQueue(std::unique_ptr<ReadQueue> inner, const FaultMix& mix)
    : inner_(std::move(inner)),
      mix_(mix),
      name_(std::string(inner_->name()) + ", with faults"),
      prng_(mix.seed) {}

uint32_t FaultyQueue::in_flight() const {
  return inner_->in_flight() + static_cast<uint32_t>(held_.size());
}

void FaultyQueue::spoil(ReadOp& op) {
  const Place place{op.file, op.offset};
  const bool spared = spoilt_.erase(place) > 0;
  const auto strikes = [&](double rate) { return happens(rate) && (!spared || rate >= 1); };
  const bool fails = strikes(mix_.io_error), ends = strikes(mix_.short_read),
             flips = strikes(mix_.bit_flip);
  if (fails) op.result = -EIO;
  if (ends) op.result = -ENODATA;
  if (op.result == 0 && flips) {
    op.target[prng_.below(op.bytes_needed)] ^= std::byte{1} << prng_.below(8);
  }
  if (fails || ends || flips) spoilt_.insert(place);
}

void FaultyQueue::release(Clock::time_point now) {
  std::erase_if(held_, [&](const Held& held) {
    if (held.until > now) return false;
    completed_.push_back(held.op);
    return true;
  });
}

Result<std::span<ReadOp* const>> FaultyQueue::reap(uint32_t count_min, double timeout_seconds) {
  CHECK_THAT(count_min <= in_flight(), "{} of {}", count_min, in_flight());
  completed_.clear();
  while (true) {
    release(Clock::now());
    const auto missing = count_min - std::min<size_t>(count_min, completed_.size());
    // What is held back counts as on its way: wait for the drive only when nothing is.
    const bool wait = missing > 0 && held_.empty();
    for (ReadOp* op : TRY(inner_->reap(wait ? 1 : 0, timeout_seconds))) {
      spoil(*op);
      const auto late = std::chrono::milliseconds(happens(mix_.delay) ? 1 + prng_.below(kDelayMaxMs)
                                                                      : uint64_t{0});
      held_.push_back({op, Clock::now() + late});
    }
    release(Clock::now());
    if (completed_.size() >= count_min) return std::span<ReadOp* const>(completed_);
    if (!held_.empty()) {
      std::this_thread::sleep_until(std::ranges::min(held_, {}, &Held::until).until);
    }
  }
}

}  // namespace switchyard
