#pragma once

#include <cstdint>
#include <string>

#include "experts/routing_trace.h"
#include "runtime/base/file.h"
#include "runtime/base/result.h"

namespace switchyard {

// Appends steps to a routing trace file, creating it when there is none; one that it created and
// added nothing to goes with it. One thread, and one writer at a time for each file.
class TraceWriter {
 public:
  TraceWriter(TraceWriter&&) noexcept = default;
  TraceWriter& operator=(TraceWriter&&) noexcept = default;
  ~TraceWriter();

  // What a killed run left of its last step is cut off. A file of another shape is kUsage and stays
  // as it is, a damaged one kBadData, one that another writer has open kUnavailable; otherwise kIo
  // and kPermission.
  static Result<TraceWriter> append(const std::string& path, const TraceShape& shape,
                                    const std::string& model);

  // Written when it returns, so that a killed process loses at most the step it was writing; blocks
  // as write(2) does. Requests are numbered on from those in the file. After an error the file
  // holds the steps before.
  Status add(const RoutingStep& step);

  uint64_t steps_added() const { return steps_added_; }

 private:
  TraceWriter() = default;
  Status begin(const std::string& model);

  std::string path_;
  UniqueFd fd_;
  bool created_ = false;  // there was no such file
  TraceShape shape_;
  uint64_t end_ = 0;            // of the file
  uint32_t first_request_ = 0;  // what the run's request 0 is called
  uint64_t steps_added_ = 0;
};

// A whole trace, whatever its form: trace_format.h or trace_csv.h. kNoInput, kPermission, kIo;
// kBadData naming file and line or offset. A torn last step is left out and told in `warning`.
Result<RoutingTrace> read_trace(const std::string& path, std::string& warning);

}  // namespace switchyard
