#pragma once

// Copies of models, to be damaged.

#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>

#include "tests/e2e/models.h"
#include "tests/storage/temp_folder.h"

namespace switchyard {

// A safetensors file taken apart.
struct SafetensorsParts {
  nlohmann::json header;
  std::string data;
};
SafetensorsParts read_safetensors_parts(const std::string& path);
void write_safetensors_parts(const std::string& path, const SafetensorsParts& parts);

// A copy of a model's folder that is gone with the object.
class ModelCopy {
 public:
  explicit ModelCopy(const std::string& model_name);

  const std::string& path() const { return folder_.path(); }
  std::string file(const std::string& name) const { return folder_ / name; }

  void edit_json(const std::string& name, const std::function<void(nlohmann::json&)>& edit);
  void set_config(const std::string& key, const nlohmann::json& value);
  // The file that holds a tensor, by the index where there is one.
  std::string shard_of(const std::string& tensor) const;
  void edit_shard(const std::string& tensor, const std::function<void(SafetensorsParts&)>& edit);
  // Overwrites the first value of a 16- or 32-bit float tensor with a NaN.
  void put_nan(const std::string& tensor);

 private:
  TempFolder folder_;
};

// XORs one byte of a file, in place.
void flip_byte(const std::string& path, uint64_t offset);
// Inverts every byte from `offset` on, in place.
void invert_from(const std::string& path, uint64_t offset);

}  // namespace switchyard
