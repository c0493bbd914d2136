#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/engine/config_reader.h"
#include "runtime/engine/model_spec.h"

namespace switchyard {

struct RopeContext {
  uint32_t head_dim = 0;       // even
  uint32_t positions_max = 0;  // max_position_embeddings as the file has it
  double theta = 10000;        // the family's rope_theta where the file has none
};

// Reads rope_parameters (transformers 5) or rope_theta and rope_scaling (transformers 4) and
// computes the inverse frequencies in fp32, in the reference's order of operations; powers and
// logarithms are this program's own, so the bits do not depend on the machine. kConfig: a kind
// other than default, linear, yarn and llama3, or a partial rotation. kBadData: absurd, missing or
// contradictory values. Keys without effect are appended to `warnings`, a line each.
Result<RopeSpec> read_rope(ConfigReader& config, const RopeContext& context,
                           std::vector<std::string>& warnings);

}  // namespace switchyard
