#include "storage/pack_format.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <type_traits>

#include "runtime/base/byte_fields.h"
#include "runtime/base/check.h"

namespace switchyard {
namespace {

constexpr size_t kHashAt = kPageBytes - sizeof(uint64_t);
constexpr size_t kSectionBytesMin = 2 + 1 + 3 * 8 + 2;
constexpr const char* kRemake = "pack the model again";

tl::unexpected<Error> fail_pack(const std::string& what, const std::string& where) {
  return fail(Code::kBadData, what, where, kRemake);
}

Result<PackSection> take_section(ByteCursor& cursor, const std::string& where) {
  PackSection section;
  section.name = cursor.text();
  section.offset = cursor.number<uint64_t>();
  section.bytes = cursor.number<uint64_t>();
  section.hash = cursor.number<uint64_t>();
  const uint16_t attribute_count = cursor.number<uint16_t>();
  for (uint16_t i = 0; i < attribute_count && cursor.ok(); ++i) {
    const std::string_view key = cursor.text();
    const std::string_view value = cursor.text();
    if (!section.attributes.emplace(key, value).second) {
      return fail_pack(fmt::format("section {}: attribute {} twice", section.name, key), where);
    }
  }
  if (!cursor.ok() || section.name.empty()) return fail_pack("damaged index of the pack", where);
  return section;
}

Status check_unique_names(const std::vector<PackSection>& sections, const std::string& where) {
  std::vector<std::string_view> names;
  names.reserve(sections.size());
  for (const PackSection& section : sections) names.push_back(section.name);
  std::sort(names.begin(), names.end());
  const auto twice = std::adjacent_find(names.begin(), names.end());
  if (twice == names.end()) return {};
  return fail_pack(fmt::format("section {} listed twice", *twice), where);
}

}  // namespace

std::string encode_pack_header(const PackHeader& header) {
  std::string page(kPackMagic);
  put(page, kPackVersion);
  put(page, uint32_t{kPageBytes});
  put(page, header.index_offset);
  put(page, header.index_bytes);
  put(page, header.index_hash);
  put(page, header.file_bytes);
  page.resize(kHashAt, '\0');
  put(page, hash_text(page));
  return page;
}

Result<PackHeader> parse_pack_header(std::string_view page, uint64_t file_bytes,
                                     const std::string& where) {
  CHECK(page.size() == kPageBytes);
  if (!page.starts_with(kPackMagic)) return fail(Code::kBadData, "is not a pack", where);
  ByteCursor cursor(page.substr(kPackMagic.size()));
  const uint32_t version = cursor.number<uint32_t>();
  const uint32_t page_bytes = cursor.number<uint32_t>();
  PackHeader header;
  header.index_offset = cursor.number<uint64_t>();
  header.index_bytes = cursor.number<uint64_t>();
  header.index_hash = cursor.number<uint64_t>();
  header.file_bytes = cursor.number<uint64_t>();
  const uint64_t hash = ByteCursor(page.substr(kHashAt)).number<uint64_t>();
  if (hash != hash_text(page.substr(0, kHashAt))) {
    return fail_pack("damaged header of the pack (checksum)", where);
  }
  if (version != kPackVersion || page_bytes != kPageBytes) {
    return fail_pack(
        fmt::format("pack of version {}, this program reads {}", version, kPackVersion), where);
  }
  if (header.file_bytes != file_bytes) {
    return fail_pack(
        fmt::format("pack cut short or grown: {} bytes, not {}", file_bytes, header.file_bytes),
        where);
  }
  if (header.index_offset < kPageBytes || header.index_offset % kPageBytes != 0 ||
      header.index_offset > file_bytes || header.index_bytes != file_bytes - header.index_offset ||
      header.index_bytes > kPackIndexBytesMax) {
    return fail_pack("impossible place of the pack's index", where);
  }
  return header;
}

std::string encode_pack_section(const PackSection& section) {
  std::string out;
  put_text(out, section.name);
  put(out, section.offset);
  put(out, section.bytes);
  put(out, section.hash);
  CHECK(section.attributes.size() <= std::numeric_limits<uint16_t>::max());
  put(out, static_cast<uint16_t>(section.attributes.size()));
  for (const auto& [key, value] : section.attributes) {
    put_text(out, key);
    put_text(out, value);
  }
  return out;
}

Result<PackSection> parse_pack_section(std::string_view bytes, const std::string& where) {
  ByteCursor cursor(bytes);
  PackSection section = TRY(take_section(cursor, where));
  if (!cursor.at_end()) return fail_pack("bytes after a section's entry", where);
  return section;
}

std::string encode_pack_index(std::span<const PackSection> sections) {
  std::string out;
  put(out, static_cast<uint32_t>(sections.size()));
  for (const PackSection& section : sections) out += encode_pack_section(section);
  return out;
}

Result<std::vector<PackSection>> parse_pack_index(std::string_view bytes, uint64_t index_offset,
                                                  const std::string& where) {
  ByteCursor cursor(bytes);
  const uint32_t count = cursor.number<uint32_t>();
  if (count > cursor.bytes_left() / kSectionBytesMin) {
    return fail_pack(fmt::format("index lists {} sections in {} bytes", count, bytes.size()),
                     where);
  }
  std::vector<PackSection> sections;
  sections.reserve(count);
  uint64_t end = kPageBytes;
  for (uint32_t i = 0; i < count; ++i) {
    PackSection section = TRY(take_section(cursor, where));
    if (section.offset != end || section.bytes > index_offset - end) {
      return fail_pack(fmt::format("section {}: impossible place {} + {}", section.name,
                                   section.offset, section.bytes),
                       where);
    }
    end = round_up(end + section.bytes, kPageBytes);
    if (end > index_offset) {
      return fail_pack(fmt::format("section {} reaches into the index", section.name), where);
    }
    sections.push_back(std::move(section));
  }
  if (!cursor.at_end() || end != index_offset) {
    return fail_pack("index does not match the pack", where);
  }
  TRY_STATUS(check_unique_names(sections, where));
  return sections;
}

}  // namespace switchyard
