#pragma once

// The checkpoints that end-to-end tests run: tiny ones of every family, and the demo model.

#include <cstdint>
#include <memory>
#include <ostream>
#include <span>
#include <string>
#include <vector>

#include "runtime/base/ids.h"
#include "runtime/engine/engine.h"

namespace switchyard {

struct TestModel {
  std::string name;
  std::string path;  // a Hugging Face folder
  bool demo = false;
};
// How gtest names it.
inline std::ostream& operator<<(std::ostream& out, const TestModel& model) {
  return out << model.name;
}

const std::vector<TestModel>& test_models();
const TestModel& test_model(const std::string& name);

// What the reference implementation computed for a model.
struct Expected {
  std::vector<TokenId> input_ids;
  std::vector<float> logits;  // [input_ids, vocab]
  std::vector<TokenId> greedy;
};
Expected read_expected(const TestModel& model);

// The model itself (`kind` "folder") or a pack of it, written on first use; closed with the test
// program.
const ModelSource& open_model(const TestModel& model, const std::string& kind);

TokenId argmax(std::span<const float> logits);

// gtest's test names hold no dashes.
std::string test_name(std::string name);

}  // namespace switchyard
