#include "experts/loader.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "runtime/base/align.h"
#include "runtime/base/check.h"
#include "runtime/base/clock.h"
#include "runtime/base/spans.h"

namespace switchyard {

ExpertLoader::ExpertLoader(const ExpertSource& source, std::unique_ptr<ReadQueue> queue,
                           std::span<std::byte> staging, uint32_t loads, uint32_t chunk_bytes)
    : source_(source),
      staging_(staging),
      chunk_bytes_(chunk_bytes),
      loads_(loads),
      ops_(queue->depth()),
      queue_(std::move(queue)) {
  CHECK_THAT(loads > 0 && chunk_bytes > 0 && chunk_bytes % kPageBytes == 0, "{} loads, {} bytes",
             loads, chunk_bytes);
  CHECK(source.direct() || staging.size() >= loads * source.staging_bytes());
  for (uint32_t i = loads; i-- > 0;) free_loads_.push_back(i);
  for (ReadOp& op : ops_) free_ops_.push_back(&op);
}

void ExpertLoader::record(Spans& spans, uint32_t track) {
  spans_ = &spans;
  track_ = track;
  for (uint32_t i = 0; i < loads_.size(); ++i) {
    spans.name_track(track + i, fmt::format("reads {}", i + 1));
  }
}

bool ExpertLoader::has_room(Urgency urgency) const {
  const size_t kept = urgency == Urgency::kSpeculative ? (loads_.size() + 1) / 2 : 0;
  return free_loads_.size() > kept;
}

std::vector<uint32_t>& ExpertLoader::to_offer(Urgency urgency) {
  return urgency == Urgency::kDemand ? demand_ : speculative_;
}

uint32_t ExpertLoader::load_of(SlotIndex slot) const {
  for (uint32_t i = 0; i < loads_.size(); ++i) {
    if (loads_[i].slot == slot) return i;
  }
  CHECK_THAT(false, "no load of slot {}", slot.value);
  return 0;
}

bool ExpertLoader::demanded(SlotIndex slot) const {
  return std::ranges::any_of(loads_, [&](const Load& load) {
    return load.slot == slot && load.urgency == Urgency::kDemand && !load.abandoned;
  });
}

void ExpertLoader::start(ExpertKey key, SlotIndex slot, std::span<std::byte> memory,
                         Urgency urgency) {
  CHECK(has_room(urgency));
  const uint32_t index = free_loads_.back();
  free_loads_.pop_back();
  Load& load = loads_[index];
  load = {.number = loads_started_++,
          .began = spans_ != nullptr ? now_seconds() : 0,
          .key = key,
          .slot = slot,
          .memory = memory,
          .target = memory,
          .pieces = source_.pieces(key),
          .urgency = urgency};
  if (!source_.direct()) {
    const uint64_t bytes = source_.staging_bytes();
    load.target = staging_.subspan(index * bytes, bytes);
  }
  CHECK(!load.pieces.empty());
  if (source_.direct()) load.landed.resize(chunks(load));
  to_offer(urgency).push_back(index);
}

uint64_t ExpertLoader::promote(SlotIndex slot) {
  const uint32_t index = load_of(slot);
  Load& load = loads_[index];
  CHECK(load.urgency == Urgency::kSpeculative && !load.abandoned);
  load.urgency = Urgency::kDemand;
  if (std::erase(speculative_, index) > 0) demand_.push_back(index);
  return load.target_at;
}

uint64_t ExpertLoader::cancel(SlotIndex slot) {
  const uint32_t index = load_of(slot);
  Load& load = loads_[index];
  load.abandoned = true;
  load.piece = load.pieces.size();
  if (std::erase(to_offer(load.urgency), index) > 0 && load.reads_in_flight == 0) {
    read_.push_back(index);
  }
  return load.target_at;
}

// The next chunk of `load`. Only the piece's own bytes are needed: the pages around them may reach
// past the end of the file.
void ExpertLoader::prepare(Load& load, ReadOp& op) const {
  const ExpertPiece& piece = load.pieces[load.piece];
  const uint64_t begin = round_down(piece.offset, kPageBytes);
  const uint64_t in_pages = bytes_in_pages(piece);
  const uint64_t bytes = std::min<uint64_t>(chunk_bytes_, in_pages - load.piece_at);
  const uint64_t offset = begin + load.piece_at;
  CHECK_THAT(load.target_at + bytes <= load.target.size(), "{} + {} of {}", load.target_at, bytes,
             load.target.size());
  op.file = piece.file;
  op.offset = offset;
  op.target = load.target.subspan(load.target_at, bytes);
  op.bytes_needed = static_cast<uint32_t>(std::min(bytes, piece.offset + piece.bytes - offset));
  const auto index = static_cast<uint64_t>(&load - loads_.data());
  op.tag = uint64_t{load.chunks_offered++} << 32 | index;
  load.target_at += bytes;
  load.piece_at += bytes;
  if (load.piece_at == in_pages) {
    load.piece += 1;
    load.piece_at = 0;
  }
}

// Hands on chunks of these loads while fewer than `in_flight_max` reads are in flight.
void ExpertLoader::top_up(std::vector<uint32_t>& to_offer, size_t in_flight_max) {
  size_t offered_whole = 0;
  while (offered_whole < to_offer.size() && ops_.size() - free_ops_.size() < in_flight_max) {
    Load& load = loads_[to_offer[offered_whole]];
    ReadOp* op = free_ops_.back();
    free_ops_.pop_back();
    prepare(load, *op);
    CHECK(queue_->offer(*op));  // there are as many operations as the queue takes
    load.reads_in_flight += 1;
    if (load.all_offered()) offered_whole += 1;
  }
  to_offer.erase(to_offer.begin(), to_offer.begin() + static_cast<ptrdiff_t>(offered_whole));
}

uint32_t ExpertLoader::chunks(const Load& load) const {
  uint64_t count = 0;
  for (const ExpertPiece& piece : load.pieces) {
    count += ceil_div(bytes_in_pages(piece), chunk_bytes_);
  }
  return static_cast<uint32_t>(count);
}

// Guesses are, once they are wanted; but what is staged goes to its slot at once.
bool ExpertLoader::to_be_verified(const Load& load) const {
  return load.urgency == Urgency::kDemand || !source_.direct();
}

void ExpertLoader::hash(Load& load, uint64_t bytes) {
  load.hasher.update(load.target.subspan(load.bytes_hashed, bytes));
  load.bytes_hashed += bytes;
  if (checksum_taken_) checksum_taken_(bytes);
}

// Checksums are taken while further chunks are under way, in the order of the bytes.
void ExpertLoader::hash_landed(Load& load) {
  for (; load.chunks_hashed < load.landed.size() && load.landed[load.chunks_hashed] > 0;
       ++load.chunks_hashed) {
    hash(load, load.landed[load.chunks_hashed]);
  }
}

void ExpertLoader::take_in(std::span<ReadOp* const> done) {
  for (ReadOp* op : done) {
    const auto index = static_cast<uint32_t>(op->tag);  // its lower half
    Load& load = loads_[index];
    CHECK(load.reads_in_flight > 0);
    load.reads_in_flight -= 1;
    if (op->result != 0 && load.status) {
      load.status = tl::unexpected(in_expert(read_error(*op), load.key));
      std::erase(to_offer(load.urgency), index);
      load.piece = load.pieces.size();
    }
    if (source_.direct()) load.landed[op->tag >> 32] = op->bytes_needed;
    if (to_be_verified(load) && load.status && !load.abandoned) hash_landed(load);
    if (load.reads_in_flight == 0 && load.all_offered()) read_.push_back(index);
    free_ops_.push_back(op);
  }
}

Status ExpertLoader::pump() {
  take_in(waited_for_);
  waited_for_.clear();
  if (reading()) {
    const auto done = queue_->reap(0, kReadTimeoutSeconds);
    if (!done) return tl::unexpected(in_oldest_load(done.error()));
    take_in(*done);
  }
  top_up(demand_, ops_.size());
  top_up(speculative_, std::min<size_t>(ops_.size(), kSpeculativeReads));
  if (!reading()) return {};
  return queue_->submit().map_error(
      [this](Error error) { return in_oldest_load(std::move(error)); });
}

Error ExpertLoader::in_oldest_load(Error error) const {
  const Load* oldest = nullptr;
  for (const Load& load : loads_) {
    if (load.reads_in_flight == 0) continue;
    if (oldest == nullptr || load.number < oldest->number) oldest = &load;
  }
  CHECK(oldest != nullptr);
  return in_expert(std::move(error), oldest->key);
}

Status ExpertLoader::wait() {
  CHECK(reading());
  const auto done = queue_->reap(1, kReadTimeoutSeconds);
  if (!done) return tl::unexpected(in_oldest_load(done.error()));
  waited_for_.insert(waited_for_.end(), done->begin(), done->end());
  return {};
}

Status ExpertLoader::finish(Load& load) {
  hash_landed(load);  // what landed as a guess
  staged_.clear();
  uint64_t at = 0;
  for (const ExpertPiece& piece : load.pieces) {
    staged_.push_back({.data = load.target.data() + at + piece.offset % kPageBytes,
                       .bytes = piece.bytes,
                       .hash = source_.direct() ? load.hasher.digest() : 0});
    at += bytes_in_pages(piece);
  }
  return source_.finish(load.key, staged_, load.memory);
}

std::optional<LoadEnd> ExpertLoader::take() {
  if (read_.empty()) return std::nullopt;
  const uint32_t index = read_.front();
  read_.erase(read_.begin());
  Load& load = loads_[index];
  LoadEnd end{
      .key = load.key, .slot = load.slot, .urgency = load.urgency, .abandoned = load.abandoned};
  for (const ExpertPiece& piece : load.pieces) end.bytes += piece.bytes;
  end.status = std::move(load.status);
  end.verified = end.status && !end.abandoned && to_be_verified(load);
  if (end.verified) end.status = finish(load);
  if (spans_ != nullptr) {
    const char* why = load.urgency == Urgency::kDemand ? "" : " ahead";
    spans_->add(track_ + index, fmt::format("read {}.{}{}", end.key.layer, end.key.expert, why),
                load.began, now_seconds());
  }
  load.slot = {};
  free_loads_.push_back(index);
  return end;
}

Status ExpertLoader::verify(ExpertKey key, std::span<std::byte> memory) {
  CHECK(source_.direct());
  Load load;
  load.key = key;
  load.memory = load.target = memory;
  load.pieces = source_.pieces(key);
  for (const ExpertPiece& piece : load.pieces) hash(load, piece.bytes);
  return finish(load);
}

}  // namespace switchyard
