#pragma once

#include <optional>
#include <string>

#include "experts/trace_file.h"
#include "runtime/engine/engine.h"

namespace switchyard {

// Keeps what routers choose in a routing trace file. An error ends the recording, not the run; it
// is there to be told at the end.
class RoutingRecorder {
 public:
  // Appends to `path`. Errors are TraceWriter::append's. The recorder outlives the engine.
  static Result<RoutingRecorder> append(const std::string& path, const ModelSource& source);

  RoutingSink sink();
  const Status& status() const { return status_; }

 private:
  explicit RoutingRecorder(TraceWriter writer) : writer_(std::move(writer)) {}
  TraceWriter writer_;
  Status status_{};
};

}  // namespace switchyard
