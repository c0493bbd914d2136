#include "perf/synthetic/checkpoint_writer.h"
#include "runtime/engine/model_spec.h"

namespace switchyard {
namespace {

// Collects tensors under the names that the model's own description gives them; a name that a
// family lacks is empty.
class TensorList {
 public:
  explicit TensorList(const ModelSpec& spec) : spec_(spec) {}

  void matrix(const std::string& name, uint64_t rows, uint64_t cols, Fill fill = Fill::kMatrix) {
    if (!name.empty()) tensors_.push_back({name, {rows, cols}, fill});
  }
  void vector(const std::string& name, uint64_t n, Fill fill) {
    if (!name.empty()) tensors_.push_back({name, {n}, fill});
  }
  void projection(const std::string& name, uint64_t rows, uint64_t cols, bool bias) {
    matrix(name + ".weight", rows, cols);
    if (bias) vector(name + ".bias", rows, Fill::kMatrix);
  }

  void attention(const LayerTensorNames& names) {
    const AttentionSpec& a = spec_.attention;
    const bool per_head = a.qk_norm == QkNorm::kPerHead;
    vector(names.input_norm, spec_.hidden, Fill::kNorm);
    projection(names.q, a.q_width(), spec_.hidden, a.qkv_bias);
    projection(names.k, a.kv_width(), spec_.hidden, a.qkv_bias);
    projection(names.v, a.kv_width(), spec_.hidden, a.qkv_bias);
    projection(names.o, spec_.hidden, a.q_width(), a.output_bias);
    vector(names.q_norm, per_head ? a.head_dim : a.q_width(), Fill::kNorm);
    vector(names.k_norm, per_head ? a.head_dim : a.kv_width(), Fill::kNorm);
    vector(names.post_norm, spec_.hidden, Fill::kNorm);
  }

  void mlp(const std::string& gate, const std::string& up, const std::string& down,
           uint32_t width) {
    matrix(gate, width, spec_.hidden);
    matrix(up, width, spec_.hidden);
    matrix(down, spec_.hidden, width);
  }

  void layer(uint32_t index) {
    const LayerTensorNames& names = spec_.layer_names[index];
    attention(names);
    mlp(names.dense_gate_proj, names.dense_up_proj, names.dense_down_proj,
        spec_.dense_intermediate);
    if (!spec_.layers[index].sparse) return;
    matrix(names.router, spec_.moe.experts, spec_.hidden);
    for (uint32_t expert = 0; expert < spec_.moe.experts; ++expert) {
      const ExpertTensorNames of = spec_.expert_names(index, expert);
      mlp(of.gate, of.up, of.down, spec_.moe.intermediate);
    }
    mlp(names.shared_gate_proj, names.shared_up_proj, names.shared_down_proj,
        spec_.moe.shared_intermediate);
    matrix(names.shared_router, 1, spec_.hidden);
  }

  std::vector<SyntheticTensor> take() {
    matrix(spec_.embedding_name, spec_.vocab, spec_.hidden, Fill::kEmbedding);
    for (uint32_t index = 0; index < spec_.layers.size(); ++index) layer(index);
    vector(spec_.final_norm_name, spec_.hidden, Fill::kNorm);
    if (!spec_.tied_embeddings) matrix(spec_.output_name, spec_.vocab, spec_.hidden);
    return std::move(tensors_);
  }

 private:
  const ModelSpec& spec_;
  std::vector<SyntheticTensor> tensors_;
};

}  // namespace

Result<std::vector<SyntheticTensor>> list_tensors(const std::string& config) {
  const ModelSpec spec = TRY(parse_model_spec(config, "config.json"));
  return TensorList(spec).take();
}

}  // namespace switchyard
