#pragma once

// The options that say how ranks share a model.

#include <cstdint>
#include <optional>
#include <string>

#include "runtime/base/result.h"
#include "runtime/engine/engine.h"

namespace switchyard {

class OptionList;
class World;

struct TeamFlags {
  std::optional<uint32_t> ranks;
  std::optional<std::string> layout;
  std::optional<std::string> placement;
  std::optional<std::string> owners;
  std::optional<std::string> learn_routing;
  std::optional<std::string> topology;
  // What is to be learned from may be of another model, and is mapped as replayed routes are.
  bool map_routing = false;

  void add_to(OptionList& options);
};

// Fills in options.team, and leaves of what this process has (memory, experts' share of it,
// threads) each of --ranks its part. `world`: of the job whose rank this process is; null: none.
// kUsage, and errors of the routing trace.
Status choose_team(const TeamFlags& flags, const ModelSource& source, World* world,
                   EngineOptions& options);

}  // namespace switchyard
