#include "tests/e2e/damage.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>

namespace switchyard {

using Json = nlohmann::json;

SafetensorsParts read_safetensors_parts(const std::string& path) {
  const std::string bytes = read_text(path);
  uint64_t length = 0;
  if (bytes.size() < sizeof length) throw std::runtime_error("too short: " + path);
  std::memcpy(&length, bytes.data(), sizeof length);
  return {Json::parse(bytes.substr(sizeof length, length)), bytes.substr(sizeof length + length)};
}

void write_safetensors_parts(const std::string& path, const SafetensorsParts& parts) {
  const std::string header = parts.header.dump();
  const uint64_t length = header.size();
  write_text(path, std::string(reinterpret_cast<const char*>(&length), sizeof length) + header +
                       parts.data);
}

ModelCopy::ModelCopy(const std::string& model_name) {
  std::filesystem::copy(test_model(model_name).path, folder_.path());
}

void ModelCopy::edit_json(const std::string& name, const std::function<void(Json&)>& edit) {
  Json value = Json::parse(read_text(file(name)));
  edit(value);
  write_text(file(name), value.dump());
}

void ModelCopy::set_config(const std::string& key, const Json& value) {
  edit_json("config.json", [&](Json& config) { config[key] = value; });
}

std::string ModelCopy::shard_of(const std::string& tensor) const {
  const std::string index = file("model.safetensors.index.json");
  if (!std::filesystem::exists(index)) return file("model.safetensors");
  return file(Json::parse(read_text(index)).at("weight_map").at(tensor).get<std::string>());
}

void ModelCopy::edit_shard(const std::string& tensor,
                           const std::function<void(SafetensorsParts&)>& edit) {
  const std::string path = shard_of(tensor);
  SafetensorsParts parts = read_safetensors_parts(path);
  edit(parts);
  write_safetensors_parts(path, parts);
}

void ModelCopy::put_nan(const std::string& tensor) {
  edit_shard(tensor, [&](SafetensorsParts& parts) {
    const Json& info = parts.header.at(tensor);
    const size_t begin = info.at("data_offsets").at(0);
    // All bits set is a NaN in every float type.
    const size_t bytes = info.at("dtype") == "F32" ? 4 : 2;
    parts.data.replace(begin, bytes, std::string(bytes, '\xff'));
  });
}

void flip_byte(const std::string& path, uint64_t offset) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekg(static_cast<std::streamoff>(offset));
  const int byte = file.get();
  if (byte < 0) throw std::runtime_error("nothing there: " + path);
  file.seekp(static_cast<std::streamoff>(offset));
  file.put(static_cast<char>(byte ^ 0x10));
}

void invert_from(const std::string& path, uint64_t offset) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekg(static_cast<std::streamoff>(offset));
  std::string bytes{std::istreambuf_iterator<char>(file), {}};
  for (char& byte : bytes) byte = static_cast<char>(~byte);
  file.clear();
  file.seekp(static_cast<std::streamoff>(offset));
  file << bytes;
}

}  // namespace switchyard
