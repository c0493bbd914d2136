#include "comm/in_flight.h"

#include <cstring>

#include "runtime/base/check.h"

namespace switchyard {

namespace {
constexpr uint32_t kPlaceBits = 16, kPlacesMax = 1U << kPlaceBits;
}  // namespace

std::pair<World::Ticket, Message*> TicketTable::add(const Message& message) {
  if (free_.empty()) {
    CHECK_THAT(places_.size() < kPlacesMax, "{} messages in flight", places_.size());
    free_.push_back(static_cast<uint32_t>(places_.size()));
    places_.emplace_back();
  }
  const uint32_t index = free_.back();
  free_.pop_back();
  Place& place = places_[index];
  place.message = message;
  place.used = true;
  return {World::Ticket{place.spent << kPlaceBits | index}, &place.message};
}

Message& TicketTable::at(World::Ticket ticket) {
  const auto value = static_cast<uint32_t>(ticket);
  const uint32_t index = value % kPlacesMax;
  CHECK_THAT(index < places_.size(), "ticket {}", value);
  Place& place = places_[index];
  CHECK_THAT(place.used && (place.spent << kPlaceBits | index) == value, "ticket {} is spent",
             value);
  return place.message;
}

void TicketTable::spend(World::Ticket ticket) {
  CHECK(at(ticket).state == Message::State::kOver);
  const uint32_t index = static_cast<uint32_t>(ticket) % kPlacesMax;
  places_[index].used = false;
  places_[index].spent += 1;
  free_.push_back(index);
}

void MessageQueue::push(Message& message) {
  message.next = nullptr;
  (last_ == nullptr ? first_ : last_->next) = &message;
  last_ = &message;
}

Message& MessageQueue::pop() {
  Message& message = *first_;
  first_ = message.next;
  if (first_ == nullptr) last_ = nullptr;
  return message;
}

std::optional<std::pair<Message*, Message*>> Flow::match() {
  if (sent.empty() || posted.empty()) return std::nullopt;
  return std::pair(&sent.pop(), &posted.pop());
}

void carry_over(Message& sent, Message& posted) {
  sent.state = Message::State::kOver;
  posted.bytes_came = sent.bytes;
  if (sent.bytes != posted.bytes) {
    posted.state = Message::State::kWrongLength;
    return;
  }
  if (sent.bytes > 0) std::memcpy(posted.target, sent.source, sent.bytes);
  posted.state = Message::State::kOver;
}

void Flows::drop(uint32_t rank) {
  for (uint32_t peer = 0; peer < ranks_; ++peer) {
    for (uint32_t channel = 0; channel < kChannels; ++channel) {
      flows_[index(rank, peer, Channel{static_cast<uint8_t>(channel)})].sent.clear();
      flows_[index(peer, rank, Channel{static_cast<uint8_t>(channel)})].posted.clear();
    }
  }
}

}  // namespace switchyard
