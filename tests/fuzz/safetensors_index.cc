// Input: a model.safetensors.index.json.

#include <algorithm>

#include "runtime/base/check.h"
#include "storage/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view json(reinterpret_cast<const char*>(data), size);
  const auto entries = switchyard::parse_safetensors_index(json, "fuzz");
  if (!entries) {
    CHECK(entries.error().code == switchyard::Code::kBadData && !entries.error().what.empty());
    return 0;
  }
  CHECK(!entries->empty());
  for (const switchyard::ShardEntry& entry : *entries) {
    CHECK_THAT(entry.file.find('/') == std::string::npos, "{}", entry.file);
    CHECK(!entry.file.empty() && entry.file != "." && entry.file != "..");
  }
  CHECK(std::is_sorted(entries->begin(), entries->end(),
                       [](const auto& a, const auto& b) { return a.tensor < b.tensor; }));
  return 0;
}
