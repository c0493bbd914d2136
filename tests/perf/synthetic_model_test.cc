#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <filesystem>

#include "perf/synthetic/checkpoint_writer.h"
#include "perf/synthetic/model_shape.h"
#include "perf/synthetic/normal_table.h"
#include "runtime/base/file.h"
#include "runtime/device/worker_pool.h"
#include "runtime/engine/model_spec.h"
#include "runtime/kernels/matrix.h"
#include "storage/safetensors.h"

namespace switchyard {
namespace {

// The named shape with sides that fit into a test.
ModelShape tiny(std::string_view name) {
  ModelShape shape = find_shape(name).value();
  shape.layers = 2;
  shape.hidden = 64;
  shape.heads = 4;
  shape.kv_heads = shape.kv_heads == shape.heads ? 4 : 2;
  shape.head_dim = 16;
  shape.experts = 8;
  shape.top_k = 2;
  shape.intermediate = 24;
  if (shape.shared_intermediate > 0) shape.shared_intermediate = 40;
  shape.vocab = 1000;
  return shape;
}

class SyntheticModelTest : public testing::Test {
 protected:
  void SetUp() override { std::filesystem::remove_all(folder_); }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  Status write(const std::string& name, const ModelShape& shape, const SyntheticOptions& options,
               uint32_t threads = 1) const {
    WorkerPool pool(threads);
    return write_synthetic_model(folder_ + "/" + name, config_json(shape, options.dtype), options,
                                 pool, {});
  }
  std::string bytes(const std::string& name) const {
    return read_text_file(folder_ + "/" + name + "/model.safetensors", 1 << 28).value();
  }

  const std::string folder_ = testing::TempDir() + "synthetic_" +
                              testing::UnitTest::GetInstance()->current_test_info()->name();
};

std::vector<float> values_of(const Checkpoint& checkpoint, const std::string& name, DType dtype) {
  const TensorInfo* tensor = checkpoint.find(name);
  if (tensor == nullptr) return {};
  std::vector<std::byte> stored(tensor->bytes);
  EXPECT_TRUE(checkpoint.read(*tensor, stored));
  std::vector<float> values(tensor->bytes / dtype_bytes(dtype));
  widen(dtype, stored.data(), values.size(), values.data());
  return values;
}

struct Moments {
  double mean = 0;
  double deviation = 0;
};

Moments moments_of(const std::vector<float>& values) {
  double sum = 0, squares = 0;
  for (const double value : values) sum += value;
  const double mean = sum / static_cast<double>(values.size());
  for (const double value : values) squares += (value - mean) * (value - mean);
  return {mean, std::sqrt(squares / static_cast<double>(values.size()))};
}

TEST_F(SyntheticModelTest, EveryShapeIsWhatItsFamilyAsksFor) {
  for (const ModelShape& named : named_shapes()) {
    SCOPED_TRACE(named.name);
    const std::string config = config_json(named, DType::kBF16);
    const auto spec = parse_model_spec(config, "config.json");
    ASSERT_TRUE(spec) << to_line(spec.error());
    EXPECT_TRUE(spec->warnings.empty()) << spec->warnings.front();
    EXPECT_EQ(spec->hidden, named.hidden);
    EXPECT_EQ(spec->layers.size(), named.layers);
    EXPECT_EQ(spec->attention.head_dim, named.head_dim);
    EXPECT_EQ(spec->moe.intermediate, named.intermediate);
    EXPECT_EQ(spec->moe.shared_intermediate, named.shared_intermediate);
    EXPECT_EQ(spec->moe.renormalise, named.renormalise);
    EXPECT_GT(list_tensors(config).value().size(), named.layers * named.experts * 3);
  }
}

TEST_F(SyntheticModelTest, ParametersAsPublished) {
  const auto parameters = [](std::string_view name) {
    double count = 0;
    const std::string config = config_json(find_shape(name).value(), DType::kBF16);
    const std::vector<SyntheticTensor> tensors = list_tensors(config).value();
    for (const SyntheticTensor& tensor : tensors) {
      double product = 1;
      for (const uint64_t side : tensor.shape) product *= static_cast<double>(side);
      count += product;
    }
    return count / 1e9;
  };
  EXPECT_NEAR(parameters("olmoe-1b-7b"), 6.92, 0.01);
  EXPECT_NEAR(parameters("qwen3-30b-a3b"), 30.5, 0.1);
  EXPECT_NEAR(parameters("mixtral-8x7b"), 46.7, 0.1);
  EXPECT_NEAR(parameters("qwen1.5-moe-a2.7b"), 14.3, 0.1);
}

TEST_F(SyntheticModelTest, OpensAndIsDistributedAsPromised) {
  for (const DType dtype : {DType::kF32, DType::kBF16, DType::kF16}) {
    SCOPED_TRACE(dtype_name(dtype));
    ASSERT_TRUE(write("model", tiny("olmoe-1b-7b"), {.dtype = dtype}, 2));
    const auto checkpoint = Checkpoint::open(folder_ + "/model");
    ASSERT_TRUE(checkpoint) << to_line(checkpoint.error());
    const auto embedding = moments_of(values_of(*checkpoint, "model.embed_tokens.weight", dtype));
    EXPECT_NEAR(embedding.mean, 0, 0.1);
    EXPECT_NEAR(embedding.deviation, 8, 0.1);
    const auto output = moments_of(values_of(*checkpoint, "lm_head.weight", dtype));
    EXPECT_NEAR(output.mean, 0, 3e-4);
    EXPECT_NEAR(output.deviation, 0.02, 3e-4);
    const auto norm = moments_of(values_of(*checkpoint, "model.norm.weight", dtype));
    EXPECT_NEAR(norm.mean, 1, 0.01);
    EXPECT_GT(norm.deviation, 0.005);
  }
}

TEST_F(SyntheticModelTest, TheSeedDecidesAndThreadsDoNot) {
  const ModelShape shape = tiny("mixtral-8x7b");
  ASSERT_TRUE(write("a", shape, {.seed = 7}, 1));
  ASSERT_TRUE(write("b", shape, {.seed = 7}, 3));
  ASSERT_TRUE(write("c", shape, {.seed = 8}, 1));
  EXPECT_EQ(bytes("a"), bytes("b"));
  EXPECT_NE(bytes("a"), bytes("c"));
}

TEST_F(SyntheticModelTest, ShardsHoldTheSameTensors) {
  const ModelShape shape = tiny("qwen1.5-moe-a2.7b");
  ASSERT_TRUE(write("whole", shape, {}));
  ASSERT_TRUE(write("shards", shape, {.shard_bytes_max = 100'000}));
  const auto whole = Checkpoint::open(folder_ + "/whole");
  const auto shards = Checkpoint::open(folder_ + "/shards");
  ASSERT_TRUE(whole);
  ASSERT_TRUE(shards) << to_line(shards.error());
  EXPECT_GT(shards->file_count(), 2U);
  ASSERT_EQ(whole->tensors().size(), shards->tensors().size());
  for (const TensorInfo& tensor : whole->tensors()) {
    EXPECT_EQ(values_of(*whole, tensor.name, DType::kBF16),
              values_of(*shards, tensor.name, DType::kBF16))
        << tensor.name;
  }
}

TEST_F(SyntheticModelTest, AShapeNobodyKnowsIsRefused) {
  EXPECT_EQ(find_shape("gpt-5").error().code, Code::kUsage);
  EXPECT_THAT(find_shape("gpt-5").error().hint, testing::HasSubstr("olmoe-1b-7b"));
}

TEST(SixteenBits, RoundLikeTheirTypes) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const auto half = static_cast<uint16_t>(bits);
    float value = 0;
    widen(DType::kF16, reinterpret_cast<const std::byte*>(&half), 1, &value);
    if (std::isfinite(value) && std::fabs(value) < 65504) {
      EXPECT_EQ(to_f16(value), half);
    }
    widen(DType::kBF16, reinterpret_cast<const std::byte*>(&half), 1, &value);
    if (std::isfinite(value)) {
      EXPECT_EQ(to_bf16(value), half);
    }
  }
  EXPECT_EQ(to_f16(1.0f + 0x1p-11f), 0x3c00);  // a tie goes to the even one
  EXPECT_EQ(to_f16(1.0f + 3 * 0x1p-11f), 0x3c02);
  EXPECT_EQ(to_f16(0x1p-14f - 0x1p-26f), 0x0400);  // up into the normal numbers
  EXPECT_EQ(to_bf16(1.0f + 0x1p-8f), 0x3f80);
  EXPECT_EQ(to_bf16(1.0f + 3 * 0x1p-8f), 0x3f82);
}

}  // namespace
}  // namespace switchyard
