#pragma once

#include <cstdint>

#include "runtime/base/ids.h"
#include "scheduler/step_plan.h"

namespace switchyard {

// One token of a step: a row of every activation.
struct StepRow {
  SequenceId sequence{};
  uint32_t position = 0;
  TokenId token = 0;
  bool prompt = false;
};

}  // namespace switchyard
