// Input: one byte that says how many pages lie before the index, then the index. A header made of
// the same bytes is parsed too, once as it is and once with its own checksum put right.

#include <algorithm>

#include "runtime/base/check.h"
#include "runtime/base/hash.h"
#include "storage/pack_format.h"

namespace {

using namespace switchyard;

void parse_header(std::string_view bytes) {
  std::string page(bytes.substr(0, kPageBytes));
  page.resize(kPageBytes, '\0');
  page.replace(0, kPackMagic.size(), kPackMagic);
  const std::string_view body = std::string_view(page).substr(0, kPageBytes - sizeof(uint64_t));
  const uint64_t hash = hash_bytes(std::as_bytes(std::span(body)));
  uint64_t file_bytes = 0;  // as the header itself says, so that the checks behind are reached
  for (int i = 8; i-- > 0;) file_bytes = file_bytes << 8 | static_cast<unsigned char>(page[40 + i]);
  static_cast<void>(parse_pack_header(page, file_bytes, "fuzz"));
  for (size_t i = 0; i < 8; ++i) page[kPageBytes - 8 + i] = static_cast<char>(hash >> 8 * i & 0xff);
  const auto header = parse_pack_header(page, file_bytes, "fuzz");
  if (!header) return;
  CHECK(header->index_offset >= kPageBytes && header->index_offset <= file_bytes);
  CHECK(header->index_bytes == file_bytes - header->index_offset);
}

void parse_index(std::string_view bytes, uint64_t index_offset) {
  const auto sections = parse_pack_index(bytes, index_offset, "fuzz");
  if (!sections) return;
  uint64_t end = kPageBytes;
  for (const PackSection& section : *sections) {
    CHECK_THAT(section.offset == end, "{} at {}", section.name, section.offset);
    end = round_up(end + section.bytes, kPageBytes);
    CHECK(end <= index_offset);
    const auto again = parse_pack_section(encode_pack_section(section), "fuzz");
    CHECK(again && again->name == section.name && again->attributes == section.attributes);
  }
  CHECK(end == index_offset);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  parse_index(bytes.substr(1), (1 + uint64_t{data[0]}) * kPageBytes);
  parse_header(bytes);
  return 0;
}
