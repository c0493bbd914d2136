#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "runtime/base/result.h"

namespace switchyard {

using Json = nlohmann::json;

// kBadData with the line's reason when `text` is not one JSON value. `where` names the file.
// Nesting deeper than 64 is refused.
Result<Json> parse_json(std::string_view text, const std::string& where);

}  // namespace switchyard
