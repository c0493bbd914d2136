#include "experts/predictors/registry.h"

#include <fmt/format.h>

#include "experts/predictors/adversarial.h"
#include "experts/predictors/history_predictor.h"
#include "experts/predictors/linear_predictor.h"
#include "experts/predictors/router_predictor.h"
#include "experts/predictors/token_predictor.h"
#include "experts/predictors/transition_predictor.h"

namespace switchyard {
namespace {

using Made = Result<std::unique_ptr<Predictor>>;

template <RouterQuery... kQueries>
Made asking(const PredictorShape& shape, const std::string&) {
  return std::make_unique<RouterPredictor>(std::vector<RouterQuery>{kQueries...}, shape);
}

template <class Kind>
Made plain(const PredictorShape& shape, const std::string&) {
  return std::make_unique<Kind>(shape);
}

Made linear(const PredictorShape& shape, const std::string& file) {
  return LinearPredictor::open(file, shape);
}

struct PredictorEntry {
  std::string_view name;
  Made (*make)(const PredictorShape& shape, const std::string& file);
};

using Q = RouterQuery;
constexpr PredictorEntry kPredictors[] = {
    {"none", [](const PredictorShape&, const std::string&) -> Made { return nullptr; }},
    {"next-layer", asking<Q::kNextLayer>},
    {"next-two", asking<Q::kNextLayer, Q::kNextTwo>},
    {"next-layer-shared", asking<Q::kNextLayerShared>},
    {"next-two-shared", asking<Q::kNextLayerShared, Q::kNextTwoShared>},
    {"pre-attention", asking<Q::kPreAttention>},
    // From the layer before, and once more, surer and later, before the layer's own attention.
    {"twice", asking<Q::kNextLayer, Q::kPreAttention>},
    {"transition", plain<TransitionPredictor>},
    {"token", plain<TokenPredictor>},
    {"history", plain<HistoryPredictor>},
    {"linear", linear},
    {"adversarial", plain<AdversarialPredictor>},
};

}  // namespace

std::string predictor_names() {
  std::string names;
  for (const PredictorEntry& entry : kPredictors) {
    names += names.empty() ? "" : ", ";
    names += entry.name;
  }
  return names;
}

Result<std::unique_ptr<Predictor>> make_predictor(std::string_view name,
                                                  const PredictorShape& shape) {
  const size_t colon = name.find(':');
  const std::string file(colon == std::string_view::npos ? "" : name.substr(colon + 1));
  for (const PredictorEntry& entry : kPredictors) {
    if (entry.name != name.substr(0, colon)) continue;
    if (!file.empty() && entry.make != linear) {
      return fail(Code::kUsage, fmt::format("the predictor '{}' reads no file", entry.name));
    }
    return entry.make(shape, file);
  }
  return fail(Code::kUsage, fmt::format("no predictor '{}'", name), {},
              "there are: " + predictor_names());
}

}  // namespace switchyard
