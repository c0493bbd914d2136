#include "experts/device_tier.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "experts/expert_source.h"
#include "runtime/base/check.h"
#include "runtime/base/clock.h"
#include "runtime/base/spans.h"
#include "runtime/base/units.h"

namespace switchyard {
namespace {

constexpr double kMemoryRateAssumed = 10e9;
constexpr double kHalfLifeSteps = 32;  // of a use, as a promise of others
constexpr double kNewerUse = 0.02;     // weight of the latest use in the share that is read
constexpr double kCopyTimeoutSeconds = 60;
constexpr uint32_t kCopiesMax = 8;
constexpr uint32_t kHostSlotsPerCopy = 4;  // so many slots of the host for each it may hold

DeviceCosts costs_of(uint64_t expert_bytes, const LinkRates& link,
                     const DeviceTierOptions& options) {
  const auto bytes = static_cast<double>(expert_bytes);
  const double memory =
      options.memory_bytes_per_second > 0 ? options.memory_bytes_per_second : kMemoryRateAssumed;
  const double rate = link.bytes_per_second > 0 ? link.bytes_per_second : memory;
  DeviceCosts costs;
  costs.copy_seconds = link.latency_seconds + bytes / rate;
  costs.compute_seconds = bytes / memory;
  if (options.drive_bytes_per_second > 0) {
    costs.read_seconds = bytes / options.drive_bytes_per_second;
  }
  return costs;
}

}  // namespace

Result<std::unique_ptr<DeviceTier>> DeviceTier::create(Device& device, const ExpertSource& source,
                                                       SlotPool& host, std::span<std::byte> slab,
                                                       const DeviceTierOptions& options) {
  const uint64_t slot_bytes = source.slot_bytes();
  const uint64_t slots =
      std::min<uint64_t>(device.capacity_bytes() / slot_bytes, source.keys().size());
  if (slots == 0) {
    return fail(Code::kNoMemory,
                fmt::format("{} hold no expert of {}", format_size(device.capacity_bytes()),
                            format_size(slot_bytes)),
                std::string(device.name()),
                fmt::format("give it {} or more", size_option(slot_bytes)));
  }
  auto policy = TRY(make_policy(
      options.policy,
      {.slots = static_cast<uint32_t>(slots), .keys = source.keys(), .future = options.future}));
  DeviceMemory memory = TRY(device.allocate(slots * slot_bytes, "expert slots"));
  std::unique_ptr<DeviceTier> tier(
      new DeviceTier(device, source, host, std::move(memory), std::move(policy), options));
  if (auto pin = device.pin(slab)) {
    tier->pin_ = std::move(*pin);
  } else {
    tier->warning_ = to_line(pin.error()) + "; copies from there are slower";
  }
  return tier;
}

DeviceTier::DeviceTier(Device& device, const ExpertSource& source, SlotPool& host,
                       DeviceMemory memory, std::unique_ptr<EvictionPolicy> policy,
                       const DeviceTierOptions& options)
    : device_(device),
      host_(host),
      expert_bytes_(source.expert_bytes()),
      copies_max_(std::clamp(host.size() / kHostSlotsPerCopy, 1U, kCopiesMax)),
      spans_(options.spans),
      track_(options.track),
      memory_(std::move(memory)),
      pool_(memory_.span(), source.slot_bytes(), source.keys(), std::move(policy)),
      costs_(costs_of(expert_bytes_, device.link(), options)),
      index_(source.keys()),
      uses_(source.keys().size()) {
  const auto experts = static_cast<double>(source.keys().size());
  read_share_ = 1 - std::min(1.0, host.size() / experts);
}

DeviceTier::~DeviceTier() {
  drop_fetched();
  for (Copy& copy : copies_) {
    const Status status = copy.event->wait(kCopyTimeoutSeconds);
    end(copy, status.has_value());
  }
}

void DeviceTier::begin_layer(uint16_t layer) {
  if (layer <= layer_) step_ += 1;
  layer_ = layer;
  pool_.begin_layer(layer);
}

double DeviceTier::uses_to_come(ExpertKey key) const {
  const RecentUses& uses = uses_[index_.at(key)];
  return uses.count * std::exp2(-static_cast<double>(step_ - uses.step) / kHalfLifeSteps);
}

std::optional<LeasedSlot> DeviceTier::use(ExpertKey key) {
  uses_[index_.at(key)] = {uses_to_come(key) + 1, step_};
  pool_.use(key);
  const auto slot = pool_.find(key);
  if (!slot) return std::nullopt;
  counters_.hits += 1;
  pool_.lease(*slot);
  return LeasedSlot{&pool_, *slot};
}

void DeviceTier::used_below(bool resident) {
  read_share_ += kNewerUse * ((resident ? 0 : 1) - read_share_);
}

void DeviceTier::observe_drive(double bytes_per_second) {
  costs_.read_seconds = static_cast<double>(expert_bytes_) / bytes_per_second;
}

bool DeviceTier::fetch(SlotIndex slot) {
  const auto ahead = static_cast<double>(copies_.size() + fetched_.size() - fetching_);
  if (pool_.locate(host_.key(slot)) || !costs_.copy_first(ahead * costs_.copy_seconds)) {
    return false;
  }
  return start(slot, true);
}

void DeviceTier::offer(SlotIndex slot) {
  const ExpertKey key = host_.key(slot);
  if (copies_.size() >= copies_max_ || pool_.locate(key)) return;
  double uses = uses_to_come(key);
  if (pool_.absent() == 0) {
    const auto going = pool_.victim(SlotPool::Victims::kUnexpected);
    if (!going) return;
    uses -= uses_to_come(pool_.key(*going));
  }
  if (costs_.copy_pays(uses, read_share_)) (void)start(slot, false);
}

// False when there is no slot for it, or the device refuses: it is computed where it is.
bool DeviceTier::start(SlotIndex from, bool fetched) {
  const ExpertKey key = host_.key(from);
  const auto victims = fetched ? SlotPool::Victims::kAny : SlotPool::Victims::kUnexpected;
  const auto to = pool_.take(key, victims);
  if (!to) return false;
  auto event = device_.copy_to_device(host_.memory(from).first(expert_bytes_), pool_.memory(*to));
  if (!event) {
    pool_.load_failed(*to);
    counters_.copies_failed += 1;
    return false;
  }
  host_.lease(from);
  copies_.push_back({.key = key,
                     .from = from,
                     .to = *to,
                     .began = spans_ != nullptr ? now_seconds() : 0,
                     .fetched = fetched,
                     .event = std::move(*event)});
  fetching_ += fetched ? 1 : 0;
  return true;
}

// Of what came over, the host's copy goes before all others, unless it is used again.
void DeviceTier::end(Copy& copy, bool arrived) {
  if (spans_ != nullptr) {
    spans_->add(track_, fmt::format("copy {}.{}", copy.key.layer, copy.key.expert), copy.began,
                now_seconds());
  }
  if (!arrived) {
    counters_.copies_failed += 1;
    pool_.load_failed(copy.to);
    if (copy.fetched) {
      fetched_.push_back({&host_, copy.from});
    } else {
      host_.unlease(copy.from);
    }
    return;
  }
  counters_.copies += 1;
  counters_.copied_bytes += expert_bytes_;
  pool_.loaded(copy.to);
  host_.unlease(copy.from);
  host_.set_transient(copy.from);
  if (!copy.fetched) return;
  pool_.lease(copy.to);
  fetched_.push_back({&pool_, copy.to});
}

void DeviceTier::poll() {
  std::erase_if(copies_, [this](Copy& copy) {
    const auto done = copy.event->done();
    if (done && !*done) return false;
    end(copy, done.has_value());
    return true;
  });
}

Status DeviceTier::wait() {
  CHECK(copying());
  Copy& oldest = copies_.front();
  Status status = oldest.event->wait(kCopyTimeoutSeconds);
  const auto done = oldest.event->done();
  poll();  // a copy that failed has ended too
  if (status || !done || *done) return {};
  return tl::unexpected(in_expert(std::move(status).error(), copies_.front().key));
}

std::vector<LeasedSlot> DeviceTier::take_fetched() {
  poll();
  fetching_ -= static_cast<uint32_t>(fetched_.size());
  return std::exchange(fetched_, {});
}

void DeviceTier::drop_fetched() {
  for (const LeasedSlot& leased : fetched_) leased.pool->unlease(leased.slot);
  fetched_.clear();
  for (Copy& copy : copies_) copy.fetched = false;
  fetching_ = 0;
}

}  // namespace switchyard
