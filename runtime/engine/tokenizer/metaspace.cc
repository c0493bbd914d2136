#include "runtime/engine/tokenizer/metaspace.h"

#include <fmt/core.h>

#include "runtime/engine/tokenizer/unicode.h"

namespace switchyard {

Result<MetaspaceSpec> parse_metaspace(Fields& fields) {
  MetaspaceSpec spec;
  append_utf8(spec.replacement, TRY(fields.rune("replacement")));
  fields.skip("str_rep");  // the replacement again
  // Files from before prepend_scheme say add_prefix_space only.
  const bool prefix_space = TRY(fields.flag("add_prefix_space", true));
  const std::string name = TRY(fields.text_or("prepend_scheme", prefix_space ? "always" : "never"));
  if (name == "always") {
    spec.scheme = PrependScheme::kAlways;
  } else if (name == "first") {
    spec.scheme = PrependScheme::kFirst;
  } else if (name == "never") {
    spec.scheme = PrependScheme::kNever;
  } else {
    return fields.unsupported(fmt::format("prepend_scheme {} is not known", name));
  }
  if (!prefix_space && spec.scheme != PrependScheme::kNever) {
    return fields.bad("add_prefix_space contradicts prepend_scheme");
  }
  spec.split = TRY(fields.flag("split", true));
  return spec;
}

}  // namespace switchyard
