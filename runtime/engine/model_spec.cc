#include "runtime/engine/model_spec.h"

#include <algorithm>

namespace switchyard {

uint32_t ModelSpec::sparse_layers() const {
  return static_cast<uint32_t>(std::count_if(
      layers.begin(), layers.end(), [](const LayerSpec& layer) { return layer.sparse; }));
}

}  // namespace switchyard
