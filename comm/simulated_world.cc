#include "comm/simulated_world.h"

#include <sched.h>

#include <thread>
#include <vector>

#include "comm/simulation.h"

namespace switchyard {

namespace {

class RankWorld final : public SimulatedWorld {
 public:
  RankWorld(uint32_t rank, uint32_t size, Simulation& simulation)
      : SimulatedWorld(rank, size), simulation_(simulation) {}

  Ticket send(uint32_t to, Channel channel, std::span<const std::byte> bytes) override {
    return simulation_.begin(rank(), {.peer = to,
                                      .sends = true,
                                      .channel = channel,
                                      .source = bytes.data(),
                                      .bytes = bytes.size()});
  }
  Ticket receive(uint32_t from, Channel channel, std::span<std::byte> bytes) override {
    return simulation_.begin(
        rank(), {.peer = from, .channel = channel, .target = bytes.data(), .bytes = bytes.size()});
  }
  Result<bool> poll(Ticket ticket) override { return simulation_.poll(rank(), ticket); }
  Status wait(Ticket ticket, const Awaited& awaited) override {
    return simulation_.wait(rank(), ticket, awaited);
  }
  void leave(const Error& error) override { simulation_.leave(rank(), error); }
  double now_seconds() const override { return simulation_.now(); }
  void spend(double seconds) override { simulation_.spend(rank(), seconds); }

 private:
  Simulation& simulation_;
};

// Of the calling thread; where that is not allowed, it goes without.
void stay_on_processor(int processor) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(processor, &set);
  static_cast<void>(::sched_setaffinity(0, sizeof set, &set));
}

}  // namespace

SimulatedHub::SimulatedHub(uint32_t ranks, const SimulatedOptions& options)
    : one_processor_(options.one_processor),
      simulation_(std::make_unique<Simulation>(ranks, options)) {
  for (uint32_t rank = 0; rank < ranks; ++rank) {
    worlds_.push_back(std::make_unique<RankWorld>(rank, ranks, *simulation_));
  }
}

SimulatedHub::~SimulatedHub() = default;

SimulatedWorld& SimulatedHub::world(uint32_t rank) { return *worlds_[rank]; }

void SimulatedHub::run(const std::function<void(SimulatedWorld&)>& body) {
  const int processor = one_processor_ ? ::sched_getcpu() : -1;
  std::vector<std::thread> threads;
  for (const auto& world : worlds_) {
    threads.emplace_back([&, &world = *world] {
      if (processor >= 0) stay_on_processor(processor);
      simulation_->await_turn(world.rank());
      body(world);
      simulation_->end(world.rank());
    });
  }
  simulation_->start();
  for (std::thread& thread : threads) thread.join();
}

uint64_t SimulatedHub::log_hash() const { return simulation_->log_hash(); }
uint64_t SimulatedHub::events() const { return simulation_->events(); }
double SimulatedHub::finish_seconds(uint32_t rank) const {
  return simulation_->finish_seconds(rank);
}
uint64_t SimulatedHub::bytes_sent(uint32_t from, uint32_t to) const {
  return simulation_->bytes_sent(from, to);
}

}  // namespace switchyard
