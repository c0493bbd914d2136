#include "runtime/engine/model_source.h"

#include <filesystem>

namespace switchyard {

Result<std::unique_ptr<ModelSource>> ModelSource::open(const std::string& path) {
  std::error_code ignored;
  return std::filesystem::is_directory(path, ignored) ? open_folder_model(path)
                                                      : open_pack_model(path);
}

}  // namespace switchyard
