#include "tests/e2e/team.h"

#include <stdexcept>

#include "comm/loopback_world.h"

namespace switchyard {

TestTeam::TestTeam(const ModelSource& source, uint32_t ranks, const OptionsOf& options)
    : worlds_(make_loopback(ranks)), served_(ranks) {
  const auto options_of = [&](uint32_t rank) {
    EngineOptions of_rank = options(rank);
    of_rank.team.world = worlds_[rank].get();
    return of_rank;
  };
  for (uint32_t rank = 1; rank < ranks; ++rank) {
    threads_.emplace_back([this, &source, rank, of_rank = options_of(rank)] {
      auto engine = Engine::create(source, of_rank, {});
      served_[rank] = engine ? (*engine)->serve() : tl::unexpected(engine.error());
    });
  }
  auto engine = Engine::create(source, options_of(0), {});
  if (engine) {
    engine_ = std::move(*engine);
    return;
  }
  end();
  throw std::runtime_error(to_line(engine.error()));
}

TestTeam::~TestTeam() { end(); }

std::vector<Status> TestTeam::end() {
  engine_.reset();
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
  return served_;
}

}  // namespace switchyard
