#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstddef>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "experts/expert_source.h"
#include "experts/folder_source.h"
#include "experts/pack_source.h"
#include "runtime/base/prng.h"
#include "runtime/kernels/matrix.h"
#include "storage/pack_reader.h"
#include "storage/pack_writer.h"
#include "storage/safetensors.h"
#include "storage/safetensors_writer.h"

namespace switchyard {

struct TestShape {
  DType dtype = DType::kBF16;
  uint32_t hidden = 24;
  uint32_t intermediate = 17;
  uint16_t layers = 3;
  uint16_t experts = 8;
};

inline ExpertTensorNames test_names(ExpertKey key) {
  const std::string expert = fmt::format("layers.{}.experts.{}.", key.layer, key.expert);
  return {expert + "gate", expert + "up", expert + "down"};
}

// Random finite experts in a folder that is gone with the object, and what their slots should hold.
class TestModel {
 public:
  explicit TestModel(const TestShape& shape, uint64_t seed = 1)
      : layout_{shape.dtype, shape.hidden, shape.intermediate},
        folder_(testing::TempDir() + "experts_XXXXXX") {
    if (::mkdtemp(folder_.data()) == nullptr) std::abort();
    Prng prng(seed);
    for (uint16_t layer = 0; layer < shape.layers; ++layer) {
      for (uint16_t expert = 0; expert < shape.experts; ++expert) {
        const ExpertKey key{layer, expert};
        keys_.push_back(key);
        const ExpertTensorNames names = test_names(key);
        for (const std::string& name : {names.gate, names.up, names.down}) {
          tensors_[name] = random_tensor(prng);
        }
      }
    }
  }
  TestModel(const TestModel&) = delete;
  TestModel& operator=(const TestModel&) = delete;
  ~TestModel() { std::filesystem::remove_all(folder_); }

  const std::string& folder() const { return folder_; }
  std::string checkpoint_path() const { return folder_ + "/model.safetensors"; }
  std::string pack_path() const { return folder_ + "/model.pack"; }
  const std::vector<ExpertKey>& keys() const { return keys_; }
  const ExpertLayout& layout() const { return layout_; }
  std::vector<std::byte>& tensor(const std::string& name) { return tensors_.at(name); }

  std::vector<uint64_t> shape_of(const std::string& name) const {
    const uint64_t hidden = layout_.hidden, intermediate = layout_.intermediate;
    if (name.ends_with("down")) return {hidden, intermediate};
    return {intermediate, hidden};
  }

  // Tensors in the order of their names: down, gate, up; all that are not listed lie in one file.
  Status write_checkpoint() const {
    std::vector<TensorOut> tensors;
    for (const auto& [name, data] : tensors_) {
      tensors.push_back({name, std::string(dtype_name(layout_.dtype)), shape_of(name), data});
    }
    return write_safetensors(checkpoint_path(), tensors);
  }

  Status write_pack() const {
    PackWriter writer = TRY(PackWriter::create(pack_path(), "test"));
    for (const ExpertKey key : keys_) {
      TRY_STATUS(
          writer.add(pack_expert_name(key), kernel_ready(key), pack_expert_attributes(layout_)));
    }
    return writer.finish();
  }

  // What a slot holds, without the rest of its last page.
  std::vector<std::byte> kernel_ready(ExpertKey key) const {
    std::vector<std::byte> slot(layout_.bytes());
    const ExpertTensorNames names = test_names(key);
    const uint32_t hidden = layout_.hidden, intermediate = layout_.intermediate;
    interleave(layout_.dtype, tensors_.at(names.gate).data(), intermediate, hidden, slot.data());
    interleave(layout_.dtype, tensors_.at(names.up).data(), intermediate, hidden,
               slot.data() + layout_.gate_bytes());
    interleave(layout_.dtype, tensors_.at(names.down).data(), hidden, intermediate,
               slot.data() + 2 * layout_.gate_bytes());
    return slot;
  }

  std::unique_ptr<ExpertSource> folder_source() {
    if (!checkpoint_) {
      EXPECT_TRUE(write_checkpoint());
      checkpoint_.emplace(*Checkpoint::open(folder_));
    }
    return *make_folder_source(*checkpoint_, layout_.hidden, layout_.intermediate, keys_,
                               test_names);
  }

  std::unique_ptr<ExpertSource> pack_source() {
    if (!std::filesystem::exists(pack_path())) {
      EXPECT_TRUE(write_pack());
    }
    return *make_pack_source({*PackReader::open(pack_path())}, layout_.hidden, layout_.intermediate,
                             keys_);
  }

 private:
  // Clearing the top bit of the exponent leaves neither NaN nor infinity.
  std::vector<std::byte> random_tensor(Prng& prng) const {
    const size_t width = dtype_bytes(layout_.dtype);
    std::vector<std::byte> data(size_t{layout_.hidden} * layout_.intermediate * width);
    for (std::byte& byte : data) byte = static_cast<std::byte>(prng.next());
    for (size_t i = width - 1; i < data.size(); i += width) data[i] &= std::byte{0xbf};
    return data;
  }

  ExpertLayout layout_;
  std::string folder_;
  std::vector<ExpertKey> keys_;
  std::map<std::string, std::vector<std::byte>> tensors_;
  std::optional<Checkpoint> checkpoint_;
};

}  // namespace switchyard
