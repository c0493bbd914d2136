#include "launch/routing_recorder.h"

#include "experts/expert_source.h"

namespace switchyard {

Result<RoutingRecorder> RoutingRecorder::append(const std::string& path,
                                                const ModelSource& source) {
  const ModelSpec& spec = source.spec();
  const TraceShape shape = {.layers = spec.router_layers(),
                            .experts = spec.moe.experts,
                            .top_k = spec.moe.top_k,
                            .expert_bytes = source.experts().expert_bytes()};
  return RoutingRecorder(TRY(TraceWriter::append(path, shape, spec.family)));
}

RoutingSink RoutingRecorder::sink() {
  return [this](const RoutingStep& step) {
    if (status_) status_ = writer_.add(step);
  };
}

}  // namespace switchyard
