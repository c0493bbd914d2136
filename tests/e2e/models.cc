#include "tests/e2e/models.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <stdexcept>

#include "storage/safetensors.h"
#include "tests/storage/temp_folder.h"

namespace switchyard {
namespace {

template <class T>
T value_of(Result<T> result) {
  if (!result) throw std::runtime_error(to_line(result.error()));
  return std::move(*result);
}

template <class T>
std::vector<T> read_tensor(const InputFile& file, std::span<const TensorInfo> tensors,
                           const std::string& name, const std::string& dtype) {
  const auto found = std::find_if(tensors.begin(), tensors.end(),
                                  [&](const TensorInfo& tensor) { return tensor.name == name; });
  if (found == tensors.end() || found->dtype != dtype) throw std::runtime_error("no " + name);
  std::vector<T> values(found->bytes / sizeof(T));
  const Status read = file.read(found->offset, std::as_writable_bytes(std::span(values)));
  if (!read) throw std::runtime_error(to_line(read.error()));
  return values;
}

std::vector<TokenId> as_ids(const std::vector<int64_t>& values) {
  return {values.begin(), values.end()};
}

}  // namespace

const std::vector<TestModel>& test_models() {
  static const auto* models = [] {
    auto* list = new std::vector<TestModel>;
    for (const char* name : {"mixtral", "mixtral-linear", "mixtral-swa", "olmoe", "olmoe-llama3",
                             "qwen2_moe", "qwen3_moe", "qwen3_moe-yarn"}) {
      list->push_back({name, std::string(SWITCHYARD_TEST_DATA "/fixtures/") + name});
    }
    list->push_back({"demo", SWITCHYARD_SOURCE_DIR "/models/demo", true});
    return list;
  }();
  return *models;
}

const TestModel& test_model(const std::string& name) {
  for (const TestModel& model : test_models()) {
    if (model.name == name) return model;
  }
  throw std::runtime_error("no test model " + name);
}

Expected read_expected(const TestModel& model) {
  const auto file = value_of(InputFile::open(model.path + "/expected.safetensors"));
  const auto tensors = value_of(read_safetensors_header(*file));
  return {as_ids(read_tensor<int64_t>(*file, tensors, "input_ids", "I64")),
          read_tensor<float>(*file, tensors, "logits", "F32"),
          as_ids(read_tensor<int64_t>(*file, tensors, "greedy", "I64"))};
}

const ModelSource& open_model(const TestModel& model, const std::string& kind) {
  static TempFolder folder;
  static std::map<std::string, std::unique_ptr<ModelSource>> open;
  std::unique_ptr<ModelSource>& source = open[model.name + " " + kind];
  if (source) return *source;
  source = value_of(ModelSource::open(model.path));
  if (kind == "pack") {
    const std::string path = folder / model.name + ".pack";
    const Status written = write_pack(*source, path, {}, [](uint64_t, uint64_t) { return true; });
    if (!written) throw std::runtime_error(to_line(written.error()));
    source = value_of(ModelSource::open(path));
  }
  return *source;
}

TokenId argmax(std::span<const float> logits) {
  return static_cast<TokenId>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

std::string test_name(std::string name) {
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

}  // namespace switchyard
