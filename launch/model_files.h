#pragma once

// The small text files of a model, also of one whose config.json is missing or not understood.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "runtime/base/result.h"
#include "runtime/engine/tokenizer/tokenizer.h"

namespace switchyard {

// A file's text from a folder or a pack at `path`; nothing when it has none.
Result<std::optional<std::string>> read_model_text(const std::string& path, std::string_view name);

// What the tokenizer of a tokenizer.json of so many bytes holds in memory, rather too much.
uint64_t tokenizer_memory_bytes(uint64_t json_bytes);

struct LoadedTokenizer {
  Tokenizer tokenizer;
  uint64_t bytes = 0;  // tokenizer_memory_bytes()
};

// Nothing when there is no tokenizer.json.
Result<std::optional<LoadedTokenizer>> find_tokenizer(const std::string& path);

// The same; kNoInput when there is none.
Result<LoadedTokenizer> load_tokenizer(const std::string& path);

// Whether the model comes with a chat template.
Result<bool> has_chat_template(const std::string& path);

}  // namespace switchyard
