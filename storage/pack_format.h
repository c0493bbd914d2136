#pragma once

// A pack is one file of named sections:
//   page 0           header: magic, version, place and hash of the index, size of the file, and a
//                    hash of the header itself
//   from page 1      the sections' bytes, each from a page boundary, zeros up to the next
//   at the end       the index: name, offset, bytes, hash and attributes of every section
// Sections follow each other without holes. Numbers are little-endian; hashes are XXH3-64.

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/base/align.h"
#include "runtime/base/result.h"

namespace switchyard {

using PackAttributes = std::map<std::string, std::string, std::less<>>;

struct PackSection {
  std::string name;     // 1 … 65535 bytes, unique, opaque
  uint64_t offset = 0;  // multiple of kPageBytes; the file holds zeros up to the next multiple
  uint64_t bytes = 0;
  uint64_t hash = 0;  // of exactly `bytes` bytes
  PackAttributes attributes;
};

struct PackHeader {
  uint64_t index_offset = 0;
  uint64_t index_bytes = 0;
  uint64_t index_hash = 0;
  uint64_t file_bytes = 0;
};

inline constexpr std::string_view kPackMagic("SWYDPACK", 8);
inline constexpr uint32_t kPackVersion = 1;
inline constexpr uint64_t kPackIndexBytesMax = uint64_t{1} << 28;

std::string encode_pack_header(const PackHeader& header);  // kPageBytes long
std::string encode_pack_section(const PackSection& section);
std::string encode_pack_index(std::span<const PackSection> sections);

// kBadData naming `where` unless `page` (kPageBytes long) is the header of a whole pack of
// `file_bytes` bytes.
Result<PackHeader> parse_pack_header(std::string_view page, uint64_t file_bytes,
                                     const std::string& where);

// One section as encode_pack_section() wrote it, and nothing behind it.
Result<PackSection> parse_pack_section(std::string_view bytes, const std::string& where);

// The sections by ascending offset; kBadData unless they fill the file from page 1 to
// `index_offset`. Does not look at the index's hash.
Result<std::vector<PackSection>> parse_pack_index(std::string_view bytes, uint64_t index_offset,
                                                  const std::string& where);

}  // namespace switchyard
