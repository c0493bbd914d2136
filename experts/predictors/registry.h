#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "experts/predictors/predictor.h"
#include "runtime/base/result.h"

namespace switchyard {

inline constexpr std::string_view kPredictorDefault = "twice";

// The predictor called `name`, or "name:FILE" for one that reads a file; null for "none". kUsage
// for an unknown name, with those there are in the hint; the file's own errors.
Result<std::unique_ptr<Predictor>> make_predictor(std::string_view name,
                                                  const PredictorShape& shape);

// All names, "a, b, c".
std::string predictor_names();

}  // namespace switchyard
