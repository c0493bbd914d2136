#pragma once

// An engine whose ranks are threads of the test.

#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "comm/world.h"
#include "runtime/engine/engine.h"

namespace switchyard {

class TestTeam {
 public:
  // Options of rank `rank`; its world is filled in.
  using OptionsOf = std::function<EngineOptions(uint32_t rank)>;
  // Throws what create() says on rank 0.
  TestTeam(const ModelSource& source, uint32_t ranks, const OptionsOf& options);
  // Ends the ranks; throws what one of them failed with, unless rank 0 knew of it.
  ~TestTeam();

  Engine& engine() { return *engine_; }
  // Ends all ranks and returns how each served; rank 0's place is not used.
  std::vector<Status> end();

 private:
  std::vector<std::unique_ptr<World>> worlds_;
  std::vector<Status> served_;
  std::vector<std::thread> threads_;
  std::unique_ptr<Engine> engine_;
};

}  // namespace switchyard
