#include "runtime/engine/model_source.h"

#include <filesystem>

#include "runtime/base/file.h"
#include "storage/safetensors.h"

namespace switchyard {
namespace {

constexpr uint64_t kOrderBytesMax = uint64_t{16} << 20;

}  // namespace

Result<std::unique_ptr<ModelSource>> ModelSource::open(const std::string& path,
                                                       const GivenTexts& given) {
  std::error_code ignored;
  return std::filesystem::is_directory(path, ignored) ? open_folder_model(path, given)
                                                      : open_pack_model(path);
}

GivenTexts ModelSource::small_texts() const {
  GivenTexts texts;
  for (const char* name : {"config.json", kSafetensorsIndexName}) {
    auto text = kind() == "folder" ? text_file(name) : std::optional<std::string>();
    if (text && *text) texts.emplace(name, *std::move(*text));
  }
  return texts;
}

Status ModelSource::read_expert_order(const std::string& path) {
  const std::string text = TRY(read_text_file(path, kOrderBytesMax));
  expert_order_ = TRY(parse_order(text, spec_.sparse_layers(), spec_.moe.experts, path));
  return {};
}

}  // namespace switchyard
