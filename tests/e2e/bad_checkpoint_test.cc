// Checkpoints that are damaged, impossible or of a kind that is not computed: one clear line and
// the right exit code, never a crash.

#include <fcntl.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "tests/e2e/child.h"
#include "tests/e2e/damage.h"

namespace switchyard {
namespace {

using Json = nlohmann::json;

ChildResult run_model(const std::string& path, const std::string& memory = "64MiB") {
  return run_switchyard(
      {"run", path, "--ids", "5,6,7,8,9,10,11,12", "-n", "8", "--temp", "0", "--memory", memory});
}

ChildResult pack_model(const ModelCopy& model) {
  return run_switchyard({"pack", model.path(), model.path() + "/out.pack"});
}

const std::string kQuery = "model.layers.1.self_attn.q_proj.weight";
const std::string kExpert = "model.layers.1.mlp.experts.3.up_proj.weight";

TEST(BadCheckpoint, MissingTensor) {
  for (const std::string& tensor : {kQuery, kExpert}) {
    ModelCopy model("qwen3_moe");
    model.edit_shard(tensor, [&](SafetensorsParts& parts) {
      parts.header[tensor + ".other"] = parts.header[tensor];
      parts.header.erase(tensor);
    });
    expect_refused(run_model(model.path()), 65, {tensor, "model"});
    expect_refused(pack_model(model), 65, {tensor});
  }
}

TEST(BadCheckpoint, WrongShape) {
  for (const std::string& tensor : {kQuery, kExpert}) {
    ModelCopy model("qwen3_moe");
    model.edit_shard(tensor, [&](SafetensorsParts& parts) {
      Json& shape = parts.header[tensor]["shape"];
      std::swap(shape[0], shape[1]);
    });
    expect_refused(run_model(model.path()), 65, {tensor});
  }
}

TEST(BadCheckpoint, TypeThatIsNotComputed) {
  ModelCopy model("qwen3_moe");
  model.edit_shard(kQuery, [&](SafetensorsParts& parts) { parts.header[kQuery]["dtype"] = "I16"; });
  expect_refused(run_model(model.path()), 78, {kQuery, "I16"});
}

TEST(BadCheckpoint, AbsurdShapesInTheHeader) {
  for (const Json& shape : {Json{-4, 64}, Json{uint64_t{1} << 63, 4}, Json{1e30, 1}, Json{0, 64},
                            Json{"64", 64}, Json(64)}) {
    ModelCopy model("qwen3_moe");
    model.edit_shard(kQuery,
                     [&](SafetensorsParts& parts) { parts.header[kQuery]["shape"] = shape; });
    SCOPED_TRACE(shape.dump());
    expect_refused(run_model(model.path()), 65, {"model.safetensors", "q_proj"});
  }
}

TEST(BadCheckpoint, AbsurdDimensionsInTheConfig) {
  const std::vector<std::pair<std::string, Json>> edits = {
      {"hidden_size", -64},
      {"hidden_size", 0},
      {"hidden_size", 1e18},
      {"hidden_size", "64"},
      {"vocab_size", uint64_t{1} << 40},
      {"num_hidden_layers", 1000000000},
      {"num_hidden_layers", -1},
      {"num_attention_heads", 0},
      {"num_key_value_heads", 3},
      {"head_dim", 31},
      {"num_experts_per_tok", 1000},
      {"moe_intermediate_size", -1},
      {"rms_norm_eps", -1},
      {"max_position_embeddings", 0},
  };
  for (const auto& [key, value] : edits) {
    ModelCopy model("qwen3_moe");
    model.set_config(key, value);
    SCOPED_TRACE(key + " " + value.dump());
    expect_refused(run_model(model.path()), 65, {"config.json", key});
  }
}

TEST(BadCheckpoint, NotANumberInWhatEveryTokenUses) {
  for (const char* tensor :
       {"model.embed_tokens.weight", "model.norm.weight", "model.layers.2.self_attn.o_proj.weight",
        "model.layers.0.mlp.gate.weight"}) {
    ModelCopy model("qwen3_moe");
    model.put_nan(tensor);
    const std::string stem(tensor, std::string_view(tensor).rfind('.'));
    expect_refused(run_model(model.path()), 65, {stem});
  }
}

// Whether they are read while loading or on demand.
TEST(BadCheckpoint, NotANumberInExperts) {
  ModelCopy model("olmoe");
  model.edit_shard("model.layers.1.mlp.experts.0.up_proj.weight", [](SafetensorsParts& parts) {
    for (const auto& [name, info] : parts.header.items()) {
      if (name.find("layers.1.mlp.experts.") == std::string::npos) continue;
      parts.data.replace(info["data_offsets"][0].get<size_t>(), 4, 4, '\xff');
    }
  });
  const ChildResult tight = run_model(model.path(), "1500KiB");
  expect_refused(run_model(model.path()), 65, {"layer 1", "expert", "NaN"});
  expect_refused(tight, 65, {"layer 1", "expert", "NaN"});
  expect_refused(pack_model(model), 65, {"layer 1", "expert"});
  EXPECT_FALSE(std::filesystem::exists(model.file("out.pack")));
}

TEST(BadCheckpoint, TruncatedShard) {
  ModelCopy model("mixtral");
  const std::string shard = model.file("model-00003-of-00005.safetensors");
  std::filesystem::resize_file(shard, std::filesystem::file_size(shard) - 1000);
  expect_refused(run_model(model.path()), 65, {"model-00003-of-00005.safetensors"});
  std::filesystem::resize_file(shard, 5);
  expect_refused(run_model(model.path()), 65, {"model-00003-of-00005.safetensors"});
  std::filesystem::resize_file(shard, 0);
  expect_refused(run_model(model.path()), 65, {"model-00003-of-00005.safetensors"});
}

TEST(BadCheckpoint, HeaderLengthPastTheFile) {
  ModelCopy model("qwen3_moe");
  const std::string path = model.file("model.safetensors");
  for (const size_t byte : {3U, 7U}) {
    std::string bytes = read_text(test_model("qwen3_moe").path + "/model.safetensors");
    bytes[byte] = '\x7f';
    write_text(path, bytes);
    expect_refused(run_model(model.path()), 65, {"model.safetensors", "header"});
  }
}

TEST(BadCheckpoint, HeaderThatIsNoJson) {
  ModelCopy model("qwen3_moe");
  flip_byte(model.file("model.safetensors"), 8);
  expect_refused(run_model(model.path()), 65, {"model.safetensors"});
}

TEST(BadCheckpoint, OverlappingTensors) {
  ModelCopy model("qwen3_moe");
  model.edit_shard(kQuery, [&](SafetensorsParts& parts) {
    // The same number of bytes, begun a little before.
    Json& offsets = parts.header[kQuery]["data_offsets"];
    offsets = {offsets[0].get<uint64_t>() - 64, offsets[1].get<uint64_t>() - 64};
  });
  expect_refused(run_model(model.path()), 65, {"model.safetensors"});
}

class BadIndex : public testing::Test {
 protected:
  void map(const std::string& tensor, const Json& file) {
    model_.edit_json("model.safetensors.index.json",
                     [&](Json& index) { index["weight_map"][tensor] = file; });
  }

  ModelCopy model_{"mixtral"};
  const std::string tensor_ = "model.norm.weight";
};

TEST_F(BadIndex, NamesAFileThatIsNotThere) {
  map(tensor_, "model-00009-of-00005.safetensors");
  const ChildResult child = run_model(model_.path());
  expect_refused(child, 66, {"model-00009-of-00005.safetensors"});
}

TEST_F(BadIndex, ClimbsOutOfTheFolder) {
  for (const char* file : {"../model.safetensors", "/etc/passwd", "a/b.safetensors", "..", "."}) {
    map(tensor_, file);
    expect_refused(run_model(model_.path()), 65, {"model.safetensors.index.json"});
  }
}

TEST_F(BadIndex, NamesAFileWithoutTheTensor) {
  Json index = Json::parse(read_text(model_.file("model.safetensors.index.json")));
  for (const auto& [name, file] : index["weight_map"].items()) {
    if (file != index["weight_map"][tensor_]) {
      map(tensor_, file);
      break;
    }
  }
  expect_refused(run_model(model_.path()), 65, {tensor_});
}

TEST_F(BadIndex, IsNoIndex) {
  for (const char* text :
       {"", "{", "[]", "{}", "{\"weight_map\": 3}", "{\"weight_map\": {\"a\": 1}}"}) {
    write_text(model_.file("model.safetensors.index.json"), text);
    expect_refused(run_model(model_.path()), 65, {"model.safetensors.index.json"});
  }
}

TEST(BadConfig, IsNoConfig) {
  for (const char* text : {"", "{", "null", "[1]", "{\"hidden_size\": 64}", "\xff\xfe{}"}) {
    ModelCopy model("qwen3_moe");
    write_text(model.file("config.json"), text);
    expect_refused(run_model(model.path()), 65, {"config.json"});
  }
}

TEST(BadConfig, OfAnUnknownFamily) {
  ModelCopy model("qwen3_moe");
  model.set_config("model_type", "llama");
  expect_refused(run_model(model.path()), 78, {"config.json", "llama", "qwen3_moe"});
}

TEST(BadConfig, WithAnUnknownRope) {
  for (const char* kind : {"dynamic", "longrope", "spiral"}) {
    ModelCopy model("qwen3_moe-yarn");
    model.edit_json("config.json",
                    [&](Json& config) { config["rope_scaling"]["rope_type"] = kind; });
    expect_refused(run_model(model.path()), 78, {"config.json", kind});
  }
}

TEST(BadConfig, WithAKeyThatChangesTheMathematics) {
  ModelCopy model("qwen3_moe");
  model.set_config("hidden_act", "gelu");
  expect_refused(run_model(model.path()), 78, {"hidden_act", "gelu"});
}

TEST(BadModel, IsMissingOrSomethingElse) {
  const TempFolder folder;
  expect_refused(run_model(folder / "nothing"), 66, {folder / "nothing"});
  expect_refused(run_model(folder.path()), 66, {folder.path()});
  write_text(folder / "model.gguf", "GGUF\x03");
  expect_refused(run_model(folder / "model.gguf"), 78, {"GGUF"});
  write_text(folder / "notes.txt", "no model");
  expect_refused(run_model(folder / "notes.txt"), 65, {"notes.txt"});
}

TEST(BadModel, CannotBeRead) {
  if (::geteuid() != 0) GTEST_SKIP() << "takes root, to become someone who may not read";
  ModelCopy model("olmoe");
  const auto run = [&] {
    return run_switchyard({"run", model.path(), "--ids", "1", "-n", "1", "--memory", "64MiB"},
                          {.as_nobody = true});
  };
  namespace fs = std::filesystem;
  fs::permissions(model.path(), fs::perms::owner_all);
  expect_refused(run(), 77, {model.path()});
  fs::permissions(model.path(), fs::perms::all);
  expect_done(run());
  fs::permissions(model.file("model.safetensors"), fs::perms::owner_all);
  expect_refused(run(), 77, {"model.safetensors"});
}

}  // namespace
}  // namespace switchyard
