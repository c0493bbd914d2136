#pragma once

#include <string>

#include "launch/console.h"
#include "runtime/base/json.h"

namespace switchyard {

// Whether a --json FILE can be made, asked before the work begins. "-" always can. A file that is
// there and no JSON is left alone: it is something else's. kIo or kPermission.
Status check_json_target(const std::string& path);
// The same for a page of HTML.
Status check_html_target(const std::string& path);

// Writes `value` to FILE (whole or not at all), or to standard output for "-".
Status write_json(const std::string& path, const Json& value, Console& console);

// `value` in one line of valid UTF-8.
std::string json_line(const Json& value);

}  // namespace switchyard
