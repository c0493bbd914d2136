#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/engine/tokenizer/added_tokens.h"
#include "runtime/engine/tokenizer/bpe.h"
#include "runtime/engine/tokenizer/decoder.h"
#include "runtime/engine/tokenizer/normalizer.h"
#include "runtime/engine/tokenizer/post_processor.h"
#include "runtime/engine/tokenizer/pre_tokenizer.h"

namespace switchyard {

// The parts of a tokenizer.json, each checked by itself.
struct TokenizerParts {
  std::vector<AddedToken> added_tokens;
  Normalizers normalizers;
  PreTokenizers pre_tokenizers;
  PostProcessor post_processor;
  DecoderSteps decoder;
  Bpe bpe;
  size_t id_limit = 0;  // what no id reaches
};

// Reads the text of a tokenizer.json. kBadData where it is damaged or contradicts itself, kConfig
// for what is not supported, by name.
Result<TokenizerParts> load_tokenizer(std::string_view json, const std::string& where);

}  // namespace switchyard
