#include "launch/model_parts.h"

#include <map>
#include <string>
#include <string_view>

#include "experts/expert_source.h"
#include "runtime/engine/dense_weights.h"
#include "runtime/engine/model_source.h"

namespace switchyard {
namespace {

// Tensor names of layers differ in whether they end in ".weight".
std::string stem(std::string_view name) {
  for (const std::string_view end : {".weight", ".bias"}) {
    if (name.ends_with(end)) return std::string(name.substr(0, name.size() - end.size()));
  }
  return std::string(name);
}

using PartOfStem = std::map<std::string, PartSize ModelParts::*>;

PartOfStem parts_by_stem(const ModelSpec& spec) {
  PartOfStem parts;
  const auto put = [&](PartSize ModelParts::*part, std::initializer_list<std::string_view> names) {
    for (const std::string_view name : names) parts[stem(name)] = part;
  };
  put(&ModelParts::embeddings, {spec.embedding_name, spec.output_name});
  put(&ModelParts::norms, {spec.final_norm_name});
  for (const LayerTensorNames& names : spec.layer_names) {
    put(&ModelParts::norms, {names.input_norm, names.q_norm, names.k_norm, names.post_norm});
    put(&ModelParts::attention, {names.q, names.k, names.v, names.o});
    put(&ModelParts::routers, {names.router, names.shared_router});
    put(&ModelParts::dense_mlp,
        {names.dense_gate_proj, names.dense_up_proj, names.dense_down_proj});
    put(&ModelParts::shared_experts,
        {names.shared_gate_proj, names.shared_up_proj, names.shared_down_proj});
  }
  return parts;
}

}  // namespace

PartSize ModelParts::total() const {
  PartSize sum;
  for (const PartSize& part :
       {embeddings, attention, norms, routers, dense_mlp, shared_experts, experts}) {
    sum.parameters += part.parameters;
    sum.bytes += part.bytes;
  }
  return sum;
}

Result<ModelParts> measure_parts(const ModelSource& source) {
  const ModelSpec& spec = source.spec();
  const PartOfStem by_stem = parts_by_stem(spec);
  ModelParts parts;
  for (const DenseTensor& tensor : dense_tensors(spec)) {
    const uint64_t count = uint64_t{tensor.rows == 0 ? 1 : tensor.rows} * tensor.cols;
    uint64_t element_bytes = sizeof(float);
    if (tensor.rows != 0) {
      element_bytes = dtype_bytes(TRY(source.matrix_dtype(tensor.name, tensor.rows, tensor.cols)));
    }
    PartSize& part = parts.*by_stem.at(stem(tensor.name));
    part.parameters += count;
    part.bytes += count * element_bytes;
  }
  const ExpertLayout& layout = source.experts().layout();
  const uint64_t count =
      source.experts().keys().size() * uint64_t{3} * layout.hidden * layout.intermediate;
  parts.experts = {count, count * dtype_bytes(layout.dtype)};
  return parts;
}

}  // namespace switchyard
