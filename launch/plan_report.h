#pragma once

// A prediction for people and as JSON, alone and beside what came of it.

#include <string>

#include "launch/prediction.h"
#include "runtime/base/json.h"

namespace switchyard {

// What a run came to; rates are 0 where they were not measured.
struct MeasuredRun {
  uint64_t peak_rss_bytes = 0;
  double hit_rate = 0;         // of decoding
  double device_hit_rate = 0;  // of it, on a device
  double prefill = 0;          // tokens a second
  double decode = 0;
};

Json prediction_json(const Prediction& prediction);

// Several lines.
std::string prediction_text(const Prediction& prediction);

// A table.
std::string comparison_text(const Prediction& prediction, const MeasuredRun& measured);
Json measured_json(const MeasuredRun& measured);

}  // namespace switchyard
