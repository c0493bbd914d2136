#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "runtime/base/file.h"
#include "runtime/base/result.h"

namespace switchyard {

struct TensorOut {
  std::string name;   // UTF-8
  std::string dtype;  // "F32", "BF16", "I64" …
  std::vector<uint64_t> shape;
  std::span<const std::byte> data;  // shape × dtype bytes, else a bug
};

// Writes a whole file; it appears under `path` when complete. kIo, kPermission. Blocks.
Status write_safetensors(const std::string& path, std::span<const TensorOut> tensors);

// One tensor whose bytes come piece by piece. The file appears under its name at finish() and is
// removed if that never comes. One thread.
class SafetensorsStream {
 public:
  static Result<SafetensorsStream> create(const std::string& path, const std::string& name,
                                          const std::string& dtype,
                                          const std::vector<uint64_t>& shape);
  SafetensorsStream(SafetensorsStream&&) noexcept = default;
  SafetensorsStream& operator=(SafetensorsStream&&) = delete;
  ~SafetensorsStream();

  // More than shape × dtype in all is a bug. kIo when the drive is full.
  Status append(std::span<const std::byte> bytes);
  // The name it bears until finish().
  std::string partial_path() const;
  // Fewer bytes than announced is a bug.
  Status finish();

 private:
  SafetensorsStream() = default;

  std::string path_;
  UniqueFd fd_;
  uint64_t bytes_left_ = 0;
};

}  // namespace switchyard
