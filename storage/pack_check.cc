#include "storage/pack_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "runtime/base/hash.h"

namespace switchyard {
namespace {

constexpr uint64_t kStepBytes = 1 << 20;

}  // namespace

tl::unexpected<Error> fail_section(const PackSection& section, const std::string& what,
                                   const std::string& path) {
  return fail(Code::kBadData, fmt::format("section {}: {}", section.name, what), path,
              "pack the model again");
}

Status check_pack_section(const InputFile& file, const PackSection& section,
                          const std::function<void(uint64_t offset)>& progress) {
  const uint64_t end = section.offset + section.bytes;
  const uint64_t padded_end = round_up(end, kPageBytes);
  std::vector<std::byte> buffer(std::min(kStepBytes, padded_end - section.offset));
  Hasher hasher;
  for (uint64_t at = section.offset; at < padded_end; at += buffer.size()) {
    const std::span piece =
        std::span(buffer).first(std::min<uint64_t>(buffer.size(), padded_end - at));
    TRY_STATUS(file.read(at, piece));
    const uint64_t used = std::min<uint64_t>(piece.size(), end - at);
    hasher.update(piece.first(used));
    const std::span padding = piece.subspan(used);
    if (std::any_of(padding.begin(), padding.end(), [](std::byte b) { return b != std::byte{}; })) {
      return fail_section(section, "damaged padding", file.path());
    }
    if (progress) progress(at + piece.size());
  }
  if (hasher.digest() != section.hash) {
    return fail_section(section, "damaged (checksum)", file.path());
  }
  return {};
}

}  // namespace switchyard
