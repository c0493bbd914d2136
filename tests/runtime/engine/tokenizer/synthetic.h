#pragma once

#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "runtime/base/prng.h"

namespace switchyard {

// A byte-level tokenizer.json as large as those of current models: `tokens` tokens, and up to
// `merges_max` ways to make them, so that most are made in more than one way.
inline std::string synthetic_tokenizer_json(size_t tokens, size_t merges_max) {
  constexpr std::string_view kLetters =
      "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKLMNOPQRSTUVW";
  Prng prng(7);
  std::vector<std::string> contents;
  std::unordered_set<std::string> known;
  for (const char letter : kLetters) contents.emplace_back(1, letter);
  known.insert(contents.begin(), contents.end());
  std::string merges;
  size_t merge_count = 0;
  const auto add_merge = [&](std::string_view left, std::string_view right) {
    merges += (merge_count++ == 0 ? "[\"" : ",\n      [\"");
    merges.append(left).append("\", \"").append(right).append("\"]");
  };
  while (contents.size() < tokens) {
    const std::string& left = contents[prng.below(contents.size())];
    const std::string& right = contents[prng.below(std::min<size_t>(contents.size(), 2000))];
    std::string joined = left + right;
    if (joined.size() > 16 || !known.insert(joined).second) continue;
    for (size_t cut = 1; cut < joined.size() && merge_count < merges_max; ++cut) {
      const std::string head = joined.substr(0, cut);
      const std::string tail = joined.substr(cut);
      if (known.contains(head) && known.contains(tail)) add_merge(head, tail);
    }
    contents.push_back(std::move(joined));
  }
  std::string vocab;
  for (size_t id = 0; id < contents.size(); ++id) {
    vocab += (id == 0 ? "\"" : ",\n      \"") + contents[id] + "\": " + std::to_string(id);
  }
  return R"({"version": "1.0", "added_tokens": [], "normalizer": null, "pre_tokenizer":
    {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
    "post_processor": null, "decoder": {"type": "ByteLevel"}, "model": {"type": "BPE",
    "vocab": {)" +
         vocab + "},\n    \"merges\": [" + merges + "]}}";
}

}  // namespace switchyard
