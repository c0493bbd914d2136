#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "perf/synthetic/model_shape.h"
#include "runtime/base/dtype.h"
#include "runtime/base/result.h"

namespace switchyard {

class WorkerPool;

enum class Fill : uint8_t { kEmbedding, kMatrix, kNorm };

struct SyntheticTensor {
  std::string name;
  std::vector<uint64_t> shape;
  Fill fill = Fill::kMatrix;
};

// Every tensor that a checkpoint of this config.json holds, layer by layer. Errors of
// parse_model_spec.
Result<std::vector<SyntheticTensor>> list_tensors(const std::string& config);

struct SyntheticOptions {
  DType dtype = DType::kBF16;
  uint64_t seed = 1;
  uint64_t shard_bytes_max = uint64_t{5} << 30;  // a tensor alone may be larger
};

// Writes config.json and model.safetensors (or shards and their index) into `folder`, which is
// made, a few MiB at a time on all threads of the pool. Embeddings have standard deviation 8,
// other matrices and biases 0.02, norms mean 1 and 0.02, so that routing is close to uniform. The
// same options give the same bytes. kIo, kPermission. `progress` gets bytes done and in all.
Status write_synthetic_model(const std::string& folder, const std::string& config,
                             const SyntheticOptions& options, WorkerPool& pool,
                             const std::function<void(uint64_t, uint64_t)>& progress);

}  // namespace switchyard
