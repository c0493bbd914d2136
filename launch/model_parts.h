#pragma once

#include <cstdint>

#include "runtime/base/result.h"

namespace switchyard {

class ModelSource;

struct PartSize {
  uint64_t parameters = 0;
  uint64_t bytes = 0;  // as stored
};

// A model's weights by what they are for.
struct ModelParts {
  PartSize embeddings;  // and the output matrix, when it is one of its own
  PartSize attention;
  PartSize norms;
  PartSize routers;
  PartSize dense_mlp;
  PartSize shared_experts;
  PartSize experts;

  PartSize total() const;
};

// kBadData when a tensor is missing or of another shape than the configuration asks for.
Result<ModelParts> measure_parts(const ModelSource& source);

}  // namespace switchyard
