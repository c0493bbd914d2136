#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "storage/input_file.h"
#include "storage/pack_format.h"

namespace switchyard {

// True when the file at `path` begins like a pack, whole or not.
bool looks_like_pack(const std::string& path);

// A pack open for reading. Immutable; any thread may use it. Reads block.
class PackReader {
 public:
  // Checks the header and the index, not the sections. kBadData when damaged or cut short.
  static Result<PackReader> open(const std::string& path);

  // Sorted by offset.
  std::span<const PackSection> sections() const { return sections_; }
  // Null when there is none.
  const PackSection* find(std::string_view name) const;
  const InputFile& file() const { return *file_; }
  std::shared_ptr<const InputFile> shared_file() const { return file_; }

  // The section's bytes, their hash checked: kBadData naming file and section.
  Result<std::string> read(const PackSection& section) const;
  // The same into `target`, section.bytes long.
  Status read(const PackSection& section, std::span<std::byte> target) const;

  // Checks every byte of the file in bounded memory. `progress` (may be empty) gets the bytes
  // checked and the file's size, about once a MiB.
  using Progress = std::function<void(uint64_t bytes_done, uint64_t bytes_all)>;
  Status verify(const Progress& progress = {}) const;

 private:
  PackReader() = default;

  std::shared_ptr<InputFile> file_;
  std::vector<PackSection> sections_;
  std::vector<uint32_t> by_name_;  // sections_ indices, sorted by name
};

}  // namespace switchyard
