// Input: the JSON header of a file with 64 bytes of data.

#include "runtime/base/check.h"
#include "storage/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  constexpr uint64_t kDataBytes = 64;
  const std::string_view json(reinterpret_cast<const char*>(data), size);
  const uint64_t begin = 8 + size;
  const auto tensors =
      switchyard::parse_safetensors_header(json, begin, begin + kDataBytes, "fuzz");
  if (!tensors) {
    CHECK(tensors.error().code == switchyard::Code::kBadData && !tensors.error().what.empty());
    return 0;
  }
  uint64_t end = begin;
  for (const switchyard::TensorInfo& tensor : *tensors) {
    CHECK_THAT(tensor.offset == end, "{} at {}", tensor.name, tensor.offset);
    end += tensor.bytes;
  }
  CHECK_THAT(end == begin + kDataBytes, "ends at {}", end);
  return 0;
}
