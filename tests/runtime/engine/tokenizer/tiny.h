#pragma once

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "runtime/base/json.h"
#include "runtime/engine/tokenizer/tokenizer.h"

namespace switchyard {

// A whole tokenizer.json of five letters, to be changed by a test.
inline Json tiny_json() {
  return Json::parse(R"({
    "version": "1.0", "truncation": null, "padding": null,
    "added_tokens": [{"id": 7, "content": "<s>", "special": true, "normalized": false}],
    "normalizer": null, "pre_tokenizer": null, "post_processor": null, "decoder": {"type": "Fuse"},
    "model": {"type": "BPE", "unk_token": "?",
      "vocab": {"a": 0, "b": 1, "c": 2, " ": 3, "?": 4, "ab": 5, "abc": 6},
      "merges": [["a", "b"], ["ab", "c"]]}})");
}

inline Result<Tokenizer> parse_tokenizer(const Json& json) {
  return Tokenizer::parse(json.dump(), "tokenizer.json");
}

}  // namespace switchyard
