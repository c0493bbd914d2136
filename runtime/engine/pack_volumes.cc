#include "runtime/engine/pack_volumes.h"

#include <fmt/format.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>

#include "runtime/base/json.h"
#include "runtime/engine/pack_names.h"

namespace switchyard {
namespace {

constexpr uint64_t kTextBytesMax = uint64_t{1} << 20;

// The section's text; nothing when there is none, kBadData when it is too long for what it is.
Result<std::optional<std::string>> small_text(const PackReader& pack, std::string_view name) {
  const PackSection* section = pack.find(name);
  if (section == nullptr) return std::optional<std::string>();
  if (section->bytes > kTextBytesMax) {
    return fail(Code::kBadData, fmt::format("its section {} has {} bytes", name, section->bytes),
                pack.file().path(), "pack the model again");
  }
  return std::optional(TRY(pack.read(*section)));
}

struct VolumeList {
  std::string id;
  std::vector<std::string> paths;
};

Result<VolumeList> parse_list(const std::string& text, const std::string& where) {
  const Json json = TRY(parse_json(text, where));
  const auto bad = [&] {
    return fail(Code::kBadData, "damaged list of volumes", where, "pack the model again");
  };
  if (!json.is_object() || !json.contains("id") || !json.contains("paths")) return bad();
  const Json &id = json["id"], &paths = json["paths"];
  if (!id.is_string() || !paths.is_array() || paths.size() > kVolumesMax) return bad();
  VolumeList list{id.get<std::string>(), {}};
  for (const Json& path : paths) {
    if (!path.is_string()) return bad();
    list.paths.push_back(path.get<std::string>());
  }
  return list;
}

Result<PackReader> open_volume(const std::string& written, const std::string& pack,
                               const std::string& id) {
  const std::filesystem::path name = std::filesystem::path(written).filename();
  const std::string beside = (std::filesystem::path(pack).parent_path() / name).string();
  std::error_code ignored;
  const bool there = std::filesystem::exists(written, ignored);
  if (!there && !std::filesystem::exists(beside, ignored)) {
    return fail(Code::kNoInput, fmt::format("its volume {} is missing", written), pack,
                "bring it back, or put it beside the pack");
  }
  PackReader volume = TRY(PackReader::open(there ? written : beside));
  if (TRY(small_text(volume, kPackVolumeName)) != id) {
    return fail(Code::kBadData, "is no volume of " + pack, volume.file().path(),
                "pack the model again");
  }
  return volume;
}

}  // namespace

bool is_volume_of(const std::string& path, const std::string& id) {
  const auto volume = PackReader::open(path);
  if (!volume) return false;
  const auto text = small_text(*volume, kPackVolumeName);
  return text && *text && (*text)->starts_with(id + " ");
}

Result<std::vector<PackReader>> open_volumes(const std::string& path) {
  std::vector<PackReader> volumes;
  volumes.push_back(TRY(PackReader::open(path)));
  const auto text = TRY(small_text(volumes[0], kPackVolumesName));
  if (!text) return volumes;
  const VolumeList list = TRY(parse_list(*text, path));
  for (const std::string& written : list.paths) {
    const std::string id = fmt::format("{} {}", list.id, volumes.size());
    volumes.push_back(TRY(open_volume(written, path, id)));
  }
  return volumes;
}

}  // namespace switchyard
