#pragma once

// A fixture's config.json with some of its keys replaced, parsed.

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "runtime/base/file.h"
#include "runtime/engine/model_spec.h"

namespace switchyard {

inline nlohmann::json fixture_config(const std::string& name) {
  const std::string path = std::string(SWITCHYARD_TEST_DATA) + "/fixtures/" + name + "/config.json";
  return nlohmann::json::parse(read_text_file(path, 1 << 20).value());
}

// `changes` is a JSON object: its keys replace the fixture's. `removed` is erased first.
inline Result<ModelSpec> parse_changed(const std::string& name, const std::string& changes,
                                       const std::vector<std::string>& removed = {}) {
  nlohmann::json config = fixture_config(name);
  for (const std::string& key : removed) config.erase(key);
  config.update(nlohmann::json::parse(changes));
  return parse_model_spec(config.dump(), "M/config.json");
}

}  // namespace switchyard
