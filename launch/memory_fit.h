#pragma once

#include <cstdint>

#include "runtime/base/result.h"
#include "scheduler/memory_plan.h"

namespace switchyard {

class ModelSource;
struct EngineOptions;

// What Engine::create asks of plan_memory() for these options.
Result<MemoryNeeds> engine_memory_needs(const ModelSource& source, const EngineOptions& options);

}  // namespace switchyard
