// Dimensions that are no multiple of anything, and every switch of the configurations, against the
// oracle; and the law on the same models: instruction sets, threads, chunks and budgets give one
// hash.

#include <gtest/gtest.h>
#include <unistd.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <numeric>
#include <set>

#include "runtime/base/file.h"
#include "runtime/base/hash.h"
#include "runtime/base/prng.h"
#include "runtime/engine/dense_weights.h"
#include "runtime/engine/engine.h"
#include "runtime/kernels/kernel_table.h"
#include "storage/safetensors_writer.h"
#include "tests/runtime/engine/oracle.h"

namespace switchyard {
namespace {

struct OddShape {
  const char* name;
  DType dtype;
  const char* config;
};

constexpr OddShape kShapes[] = {
    {"Qwen3TiedBiasedDenseLayer", DType::kF32, R"({"model_type": "qwen3_moe",
      "hidden_size": 37, "num_hidden_layers": 3, "num_attention_heads": 3,
      "num_key_value_heads": 1, "head_dim": 10, "moe_intermediate_size": 23, "num_experts": 5,
      "num_experts_per_tok": 3, "vocab_size": 51, "intermediate_size": 29, "mlp_only_layers": [1],
      "attention_bias": true, "norm_topk_prob": true, "tie_word_embeddings": true,
      "hidden_act": "silu", "max_position_embeddings": 128, "rms_norm_eps": 1e-5})"},
    {"OlmoeTopOneClippedBiased", DType::kBF16, R"({"model_type": "olmoe",
      "hidden_size": 42, "num_hidden_layers": 2, "num_attention_heads": 7,
      "num_key_value_heads": 7, "intermediate_size": 17, "num_experts": 3,
      "num_experts_per_tok": 1, "vocab_size": 33, "clip_qkv": 0.9, "attention_bias": true,
      "norm_topk_prob": true, "hidden_act": "silu", "max_position_embeddings": 128})"},
    {"Qwen2SharedWindowed", DType::kF16, R"({"model_type": "qwen2_moe",
      "hidden_size": 33, "num_hidden_layers": 3, "num_attention_heads": 6,
      "num_key_value_heads": 3, "head_dim": 14, "moe_intermediate_size": 9, "num_experts": 11,
      "num_experts_per_tok": 4, "vocab_size": 70, "shared_expert_intermediate_size": 19,
      "decoder_sparse_step": 2, "intermediate_size": 31, "use_sliding_window": true,
      "sliding_window": 5, "layer_types": ["sliding_attention", "full_attention",
      "sliding_attention"], "hidden_act": "silu", "max_position_embeddings": 128})"},
    {"MixtralWindowedLinear", DType::kBF16, R"({"model_type": "mixtral",
      "hidden_size": 51, "num_hidden_layers": 2, "num_attention_heads": 5,
      "num_key_value_heads": 5, "head_dim": 18, "intermediate_size": 21, "num_local_experts": 7,
      "num_experts_per_tok": 2, "vocab_size": 49, "sliding_window": 7, "hidden_act": "silu",
      "rope_scaling": {"rope_type": "linear", "factor": 3.0}, "rope_theta": 500.0,
      "max_position_embeddings": 128})"},
};

// Cut, not rounded; values below the normal halves become zero.
uint16_t to_half(uint32_t bits) {
  const auto sign = static_cast<uint16_t>(bits >> 16 & 0x8000);
  const int exponent = static_cast<int>(bits >> 23 & 0xff) - 112;
  if (exponent < 1) return sign;
  return static_cast<uint16_t>(sign | exponent << 10 | (bits >> 13 & 0x3ff));
}

std::vector<std::byte> narrow(DType dtype, const std::vector<float>& values) {
  std::vector<std::byte> bytes(values.size() * dtype_bytes(dtype));
  for (size_t i = 0; i < values.size(); ++i) {
    const auto bits = std::bit_cast<uint32_t>(values[i]);
    const uint32_t stored = dtype == DType::kF32    ? bits
                            : dtype == DType::kBF16 ? bits >> 16
                                                    : to_half(bits);
    std::memcpy(bytes.data() + i * dtype_bytes(dtype), &stored, dtype_bytes(dtype));
  }
  return bytes;
}

// A checkpoint of random weights in a folder of its own, and the weights as stored.
class OddModel {
 public:
  explicit OddModel(const OddShape& shape)
      : folder_(std::filesystem::temp_directory_path() /
                ("switchyard_odd_" + std::string(shape.name) + std::to_string(::getpid()))) {
    std::filesystem::create_directory(folder_);
    spec = parse_model_spec(shape.config, "config").value();
    for (const DenseTensor& tensor : dense_tensors(spec)) {
      if (tensor.rows == 0) {
        add(shape.dtype, tensor.name, {tensor.cols});
      } else {
        add(shape.dtype, tensor.name, {tensor.rows, tensor.cols});
      }
    }
    for (const ExpertKey key :
         spec.expert_keys(plain_order(spec.sparse_layers(), spec.moe.experts))) {
      const ExpertTensorNames names = spec.expert_names(key.layer, key.expert);
      add(shape.dtype, names.gate, {spec.moe.intermediate, spec.hidden});
      add(shape.dtype, names.up, {spec.moe.intermediate, spec.hidden});
      add(shape.dtype, names.down, {spec.hidden, spec.moe.intermediate});
    }
    std::vector<TensorOut> out;
    for (const Stored& stored : stored_) {
      out.push_back(
          {stored.name, std::string(dtype_name(shape.dtype)), stored.shape, stored.bytes});
    }
    EXPECT_TRUE(write_safetensors(folder_ / "model.safetensors", out));
    EXPECT_TRUE(write_file_atomically(folder_ / "config.json", shape.config));
  }
  ~OddModel() { std::filesystem::remove_all(folder_); }

  std::string folder() const { return folder_; }

  ModelSpec spec;
  NamedTensors tensors;

 private:
  struct Stored {
    std::string name;
    std::vector<uint64_t> shape;
    std::vector<std::byte> bytes;
  };

  void add(DType dtype, const std::string& name, std::vector<uint64_t> shape) {
    uint64_t count = 1;
    for (const uint64_t dimension : shape) count *= dimension;
    const bool norm = name.find("norm") != std::string::npos;
    const double spread = shape.size() == 1 ? 0.3 : 2 / std::sqrt(static_cast<double>(shape[1]));
    std::vector<float> values(count);
    for (float& value : values) {
      value = static_cast<float>((prng_.uniform() * 2 - 1) * spread + (norm ? 1 : 0));
    }
    std::vector<std::byte> bytes = narrow(dtype, values);
    widen(dtype, bytes.data(), count, values.data());
    tensors.emplace(name, std::move(values));
    stored_.push_back({name, std::move(shape), std::move(bytes)});
  }

  const std::filesystem::path folder_;
  Prng prng_{11};
  std::vector<Stored> stored_;
};

std::vector<TokenId> some_ids(const ModelSpec& spec, size_t count) {
  Prng prng(5);
  std::vector<TokenId> ids(count);
  for (TokenId& id : ids) id = static_cast<TokenId>(prng.below(spec.vocab));
  return ids;
}

// All logits of `ids`, fed in chunks.
Rows run(const ModelSource& source, EngineOptions options, const std::vector<TokenId>& ids,
         size_t chunk) {
  options.context = static_cast<uint32_t>(ids.size());
  const auto engine = Engine::create(source, options, {}).value();
  const SequenceId sequence = engine->open_sequence().value();
  Rows rows;
  for (size_t at = 0; at < ids.size();) {
    const size_t count = std::min({chunk, ids.size() - at, size_t{engine->memory_plan().chunk}});
    const auto begin = ids.begin() + static_cast<ptrdiff_t>(at);
    StepPlan plan;
    plan.parts.push_back(
        {sequence, {begin, begin + static_cast<ptrdiff_t>(count)}, LogitsWanted::kAll});
    EXPECT_TRUE(engine->step(plan, [&](SequenceId, uint32_t, std::span<const float> logits) {
      rows.emplace_back(logits.begin(), logits.end());
    }));
    at += count;
  }
  return rows;
}

class OddShapes : public testing::TestWithParam<OddShape> {};

TEST_P(OddShapes, AgreeWithTheOracle) {
  const OddModel model(GetParam());
  const auto source = ModelSource::open(model.folder()).value();
  const std::vector<TokenId> ids = some_ids(model.spec, 40);
  const Rows want = Oracle(model.spec, model.tensors).logits(ids);
  EngineOptions options;
  options.memory_bytes = 64 << 20;
  options.threads = 2;
  const Rows got = run(*source, options, ids, 40);
  ASSERT_EQ(got.size(), want.size());
  double most = 0, difference = 0;
  for (size_t t = 0; t < want.size(); ++t) {
    ASSERT_EQ(got[t].size(), want[t].size());
    for (size_t i = 0; i < want[t].size(); ++i) {
      most = std::max(most, std::fabs(want[t][i]));
      difference = std::max(difference, std::fabs(want[t][i] - got[t][i]));
    }
  }
  EXPECT_LE(difference, 2e-5 * most);
  EXPECT_GT(most, 0.1);
}

TEST_P(OddShapes, ObeyTheLaw) {
  const OddModel model(GetParam());
  const auto folder = ModelSource::open(model.folder()).value();
  const std::string pack_path = model.folder() + "/model.pack";
  ASSERT_TRUE(write_pack(*folder, pack_path, {}, {}));
  const auto pack = ModelSource::open(pack_path).value();
  const std::vector<TokenId> ids = some_ids(model.spec, 23);
  std::set<Rows> outcomes;
  for (const Kernels& kernels : all_kernels()) {
    if (!kernels.supported()) continue;
    for (const size_t chunk : {1, 5, 23}) {
      EngineOptions options;
      options.memory_bytes = 64 << 20;
      options.threads = 2;
      options.isa = kernels.name;
      outcomes.insert(run(*folder, options, ids, chunk));
      options.threads = 1;
      options.context = static_cast<uint32_t>(ids.size());
      options.memory_bytes = Engine::minimum_bytes(*pack, options).value();
      outcomes.insert(run(*pack, options, ids, chunk));
    }
  }
  EXPECT_EQ(outcomes.size(), 1u);
}

INSTANTIATE_TEST_SUITE_P(, OddShapes, testing::ValuesIn(kShapes),
                         [](const auto& shape) { return std::string(shape.param.name); });

}  // namespace
}  // namespace switchyard
