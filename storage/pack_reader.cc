#include "storage/pack_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "runtime/base/check.h"
#include "runtime/base/hash.h"
#include "storage/pack_check.h"

namespace switchyard {
bool looks_like_pack(const std::string& path) {
  const auto file = InputFile::open(path);
  char magic[8] = {};
  return file && (*file)->read(0, std::as_writable_bytes(std::span(magic))) &&
         std::string_view(magic, sizeof magic) == kPackMagic;
}

Result<PackReader> PackReader::open(const std::string& path) {
  PackReader reader;
  reader.file_ = TRY(InputFile::open(path));
  const InputFile& file = *reader.file_;
  if (file.size_bytes() < kPageBytes) {
    return fail(Code::kBadData,
                fmt::format("not a pack, or one cut short: {} bytes", file.size_bytes()), path,
                "pack the model again");
  }
  std::string page(kPageBytes, '\0');
  TRY_STATUS(file.read(0, std::as_writable_bytes(std::span(page))));
  const PackHeader header = TRY(parse_pack_header(page, file.size_bytes(), path));
  std::string index(header.index_bytes, '\0');
  TRY_STATUS(file.read(header.index_offset, std::as_writable_bytes(std::span(index))));
  if (hash_bytes(std::as_bytes(std::span(index))) != header.index_hash) {
    return fail(Code::kBadData, "damaged index of the pack (checksum)", path,
                "pack the model again");
  }
  reader.sections_ = TRY(parse_pack_index(index, header.index_offset, path));
  const std::vector<PackSection>& sections = reader.sections_;
  reader.by_name_.resize(sections.size());
  std::iota(reader.by_name_.begin(), reader.by_name_.end(), 0u);
  std::sort(reader.by_name_.begin(), reader.by_name_.end(),
            [&](uint32_t a, uint32_t b) { return sections[a].name < sections[b].name; });
  return reader;
}

const PackSection* PackReader::find(std::string_view name) const {
  const auto it = std::lower_bound(
      by_name_.begin(), by_name_.end(), name,
      [this](uint32_t index, std::string_view wanted) { return sections_[index].name < wanted; });
  return it != by_name_.end() && sections_[*it].name == name ? &sections_[*it] : nullptr;
}

Result<std::string> PackReader::read(const PackSection& section) const {
  std::string bytes(section.bytes, '\0');
  TRY_STATUS(read(section, std::as_writable_bytes(std::span(bytes))));
  return bytes;
}

Status PackReader::read(const PackSection& section, std::span<std::byte> target) const {
  CHECK_THAT(target.size() == section.bytes, "{} for {}", target.size(), section.bytes);
  TRY_STATUS(file_->read(section.offset, target));
  if (hash_bytes(target) != section.hash) {
    return fail_section(section, "damaged (checksum)", file_->path());
  }
  return {};
}

Status PackReader::verify(const Progress& progress) const {
  const uint64_t bytes_all = file_->size_bytes();
  for (const PackSection& section : sections_) {
    TRY_STATUS(check_pack_section(*file_, section, [&](uint64_t offset) {
      if (progress) progress(offset, bytes_all);
    }));
  }
  TRY_STATUS(file_->unchanged());
  if (progress) progress(bytes_all, bytes_all);
  return {};
}

}  // namespace switchyard
