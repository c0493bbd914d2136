#pragma once

#include <string>
#include <vector>

#include "runtime/base/ids.h"
#include "runtime/base/json.h"

namespace switchyard {

// Sets special tokens around a text's tokens. Immutable, for any number of threads.
class PostProcessor {
 public:
  // tokenizer.json's "post_processor", null for none. kConfig for an unknown type and for a
  // template that does not hold the text exactly once.
  static Result<PostProcessor> parse(const Json& spec, const std::string& where);

  std::vector<TokenId> apply(std::vector<TokenId> ids) const;

  // Every token that apply() may add.
  std::vector<TokenId> added() const;

 private:
  struct Around {
    std::vector<TokenId> before;
    std::vector<TokenId> after;
  };
  Status append(const Json& spec, const std::string& where);

  std::vector<Around> steps_;
};

}  // namespace switchyard
