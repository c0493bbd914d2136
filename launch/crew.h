#pragma once

// The ranks of a command that computes: threads of this process, or this process beside others.

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "launch/console.h"
#include "launch/engine_flags.h"
#include "runtime/base/result.h"
#include "runtime/engine/engine.h"

namespace switchyard {

// Engine::create with a progress line on the console, then the model's and the engine's warnings.
// Nothing but the progress is printed before an error. With several ranks this is rank 0's engine;
// those that are threads end with it.
using EngineHandle = std::unique_ptr<Engine, std::function<void(Engine*)>>;
Result<EngineHandle> start_engine(const ModelSource& source, const EngineOptions& options,
                                  Console& console);

// What another process than rank 0's does in its place: opens the model, and computes until rank 0
// is done. `adapt` changes source and options as the command does on rank 0; may be empty.
using AdaptRank = std::function<Status(ModelSource& source, EngineOptions& options)>;
Result<int> serve_rank(const EngineFlags& flags, const std::string& model, Console& console,
                       const AdaptRank& adapt = {});

}  // namespace switchyard
