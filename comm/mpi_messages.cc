#include "comm/mpi_messages.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "comm/world_error.h"

namespace switchyard {

void MpiMessages::activate(Message& message, MPI_Request request, double now) {
  requests_.push_back(request);
  active_.push_back({&message, now});
}

MpiMessages::Outcome MpiMessages::begin(Message& message, double now) {
  if (message.sends) {
    MPI_Request request = MPI_REQUEST_NULL;
    const int code = MPI_Isend(message.source, static_cast<int>(message.bytes), MPI_BYTE,
                               static_cast<int>(message.peer), static_cast<int>(message.channel),
                               comm_, &request);
    TRY_STATUS(check_mpi(code, "MPI_Isend", rank_place(message.peer)));
    activate(message, request, now);
    return std::nullopt;
  }
  Incoming& flow = incoming(message.peer, message.channel);
  if (flow.early.empty()) {
    flow.posted.push(message);
    ++posted_;
    return std::nullopt;
  }
  const Early early = flow.early.front();
  flow.early.pop_front();
  return receive(message, early, now);
}

MpiMessages::Outcome MpiMessages::arrived(MPI_Message handle, const MPI_Status& status,
                                          double now) {
  int bytes = 0;
  TRY_STATUS(check_mpi(MPI_Get_count(&status, MPI_BYTE, &bytes), "MPI_Get_count"));
  const Early early{handle, static_cast<size_t>(bytes)};
  if (status.MPI_TAG < 0 || status.MPI_TAG >= static_cast<int>(kChannels)) {
    return fail(Code::kInternal, fmt::format("a message with tag {}", status.MPI_TAG),
                rank_place(static_cast<uint32_t>(status.MPI_SOURCE)));
  }
  Incoming& flow = incoming(static_cast<uint32_t>(status.MPI_SOURCE),
                            Channel{static_cast<uint8_t>(status.MPI_TAG)});
  if (flow.posted.empty()) {
    flow.early.push_back(early);
    return std::nullopt;
  }
  --posted_;
  return receive(flow.posted.pop(), early, now);
}

MpiMessages::Outcome MpiMessages::receive(Message& message, Early early, double now) {
  if (early.bytes != message.bytes) return WrongLength{message.peer, message.bytes, early.bytes};
  MPI_Request request = MPI_REQUEST_NULL;
  const int code = MPI_Imrecv(message.target, static_cast<int>(message.bytes), MPI_BYTE,
                              &early.handle, &request);
  TRY_STATUS(check_mpi(code, "MPI_Imrecv", rank_place(message.peer)));
  activate(message, request, now);
  return std::nullopt;
}

Result<std::vector<Message*>*> MpiMessages::test() {
  over_.clear();
  if (requests_.empty()) return &over_;
  indices_.resize(requests_.size());
  statuses_.resize(requests_.size());
  int count = 0;
  const int code = MPI_Testsome(static_cast<int>(requests_.size()), requests_.data(), &count,
                                indices_.data(), statuses_.data());
  if (count == MPI_UNDEFINED) count = 0;
  for (int i = 0; i < count; ++i) {
    Active& active = active_[static_cast<size_t>(indices_[i])];
    // MPI sets the code of a status only then.
    if (code == MPI_ERR_IN_STATUS) {
      TRY_STATUS(
          check_mpi(statuses_[i].MPI_ERROR, "MPI_Testsome", rank_place(active.message->peer)));
    }
    over_.push_back(std::exchange(active.message, nullptr));
  }
  if (code != MPI_ERR_IN_STATUS) TRY_STATUS(check_mpi(code, "MPI_Testsome"));
  if (count == 0) return &over_;
  std::erase(requests_, MPI_REQUEST_NULL);  // as those that are over have become
  std::erase_if(active_, [](const Active& active) { return active.message == nullptr; });
  return &over_;
}

bool MpiMessages::awaits(uint32_t from) const {
  for (uint32_t channel = 0; channel < kChannels; ++channel) {
    if (!flows_[from * kChannels + channel].posted.empty()) return true;
  }
  return false;
}

bool MpiMessages::sends_since(uint32_t to, double time) const {
  return std::ranges::any_of(active_, [&](const Active& active) {
    return active.message->sends && active.message->peer == to && active.since < time;
  });
}

}  // namespace switchyard
