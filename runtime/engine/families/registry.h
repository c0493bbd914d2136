#pragma once

#include <span>
#include <string_view>

#include "runtime/base/result.h"

namespace switchyard {

class ConfigReader;
struct ModelSpec;

struct Family {
  std::string_view model_type;    // config.json's
  std::string_view architecture;  // the one entry that "architectures" may have
  // Everything of the ModelSpec but `family` and the warnings about unknown keys.
  Result<ModelSpec> (*describe)(ConfigReader& config);
};

std::span<const Family> all_families();

}  // namespace switchyard
