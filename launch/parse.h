#pragma once

// The values of options, from text. All errors are kUsage and name the text.

#include <cstdint>
#include <string_view>
#include <vector>

#include "runtime/base/ids.h"
#include "runtime/base/result.h"

namespace switchyard {

// A decimal integer within [min, max].
Result<int64_t> parse_integer(std::string_view text, int64_t min, int64_t max);

// The whole range of a seed.
Result<uint64_t> parse_seed(std::string_view text);

// A finite number within [min, max].
Result<double> parse_number(std::string_view text, double min, double max);

// "1,2,3" or "[1, 2, 3]", separated by commas, blanks or both; may be empty. Negative ids are
// refused by name.
Result<std::vector<TokenId>> parse_ids(std::string_view text);

// kUsage naming the first id at or past `vocab`.
Status check_ids(const std::vector<TokenId>& ids, uint64_t vocab);

}  // namespace switchyard
