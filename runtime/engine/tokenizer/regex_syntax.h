#pragma once

#include <string>
#include <string_view>

#include "runtime/base/result.h"

namespace switchyard {

// Rewrites a pattern of tokenizer.json, which is in Oniguruma's dialect, as the PCRE2 pattern (with
// UTF, UCP and MULTILINE) that matches the same text. What has no exact counterpart is refused by
// name, kConfig. Source: Oniguruma's doc/RE.
Result<std::string> pcre2_pattern(std::string_view pattern, const std::string& where);

}  // namespace switchyard
