#pragma once

#include <string>

#include "runtime/engine/tokenizer/fields.h"

namespace switchyard {

// Before which text a Metaspace pre-tokenizer sets a mark.
enum class PrependScheme { kAlways, kFirst, kNever };

struct MetaspaceSpec {
  std::string replacement;  // one character, in place of a blank
  PrependScheme scheme = PrependScheme::kAlways;
  bool split = true;
};

// The members that pre-tokenizer and decoder share.
Result<MetaspaceSpec> parse_metaspace(Fields& fields);

}  // namespace switchyard
