#pragma once

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/base/ids.h"
#include "runtime/base/json.h"

namespace switchyard {

// A token that is looked for in the text itself, before the model sees it.
struct AddedToken {
  std::string content;
  TokenId id = 0;
  bool special = false;
  bool single_word = false;  // only where no word character is beside it
  bool lstrip = false;       // takes the white space before it
  bool rstrip = false;       // and after it
  bool normalized = false;   // looked for in the normalised text
};

// tokenizer.json's "added_tokens", in order. kBadData for contents that are empty or above 1 KiB,
// and where two tokens share an id or a content has two ids.
Result<std::vector<AddedToken>> parse_added_tokens(const Json& list, const std::string& where);

// Part of a text: a token, or text still to be encoded (id −1).
struct TextSegment {
  size_t begin = 0;
  size_t end = 0;
  TokenId id = -1;
};

// Finds added tokens in a text: the leftmost, of those the longest. Immutable, for any number of
// threads.
class AddedTokenFinder {
 public:
  struct Needle {
    std::string text;  // not empty
    AddedToken token;
  };
  // Of needles with the same text the first counts.
  explicit AddedTokenFinder(std::vector<Needle> needles);

  // The whole of `text`, in order, nothing empty. White space taken by two tokens counts once.
  std::vector<TextSegment> split(std::string_view text) const;

  // Whether no needle can lie across, or see past, a place where Tokenizer::find_cut() may cut. In
  // a text that is `normalized` a mark may stand for a blank.
  bool keeps_cuts(bool normalized) const;

 private:
  struct Range {
    size_t begin = 0;
    size_t end = 0;
  };
  const Needle* longest_at(std::string_view text, size_t at) const;

  std::vector<Needle> needles_;             // sorted by text
  std::array<Range, 256> by_first_byte_{};  // of needles_
};

}  // namespace switchyard
