#pragma once

// What rank 0 tells the other ranks to do.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "comm/expert_exchange.h"
#include "comm/world.h"
#include "experts/placement.h"
#include "runtime/base/result.h"
#include "scheduler/step_plan.h"

namespace switchyard {

struct RankCommand {
  enum class Kind : uint8_t { kOpen, kClose, kStep, kReset, kReport, kPlace, kEnd };
  Kind kind = Kind::kEnd;
  SequenceId sequence{};               // of kOpen and kClose
  uint32_t home = 0;                   // of kOpen
  uint32_t number = 0;                 // of kStep, ascending
  StepPlan plan = {};                  // of kStep
  std::vector<ExchangeWay> ways = {};  // of kStep: [layers that have routers]
  bool halves = false;                 // of kStep: rows in two passes
  Placement placement = {};            // of kPlace
};

std::string encode(const RankCommand& command);
// kInternal for what encode() did not make.
Result<RankCommand> decode_command(std::string_view bytes);

// From rank 0 to all others, and what they wait for between steps, as long as it takes.
Status tell(World& world, const RankCommand& command);
Result<RankCommand> hear(World& world);

}  // namespace switchyard
