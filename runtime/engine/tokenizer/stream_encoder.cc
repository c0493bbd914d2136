#include <fmt/core.h>

#include <algorithm>

#include "runtime/base/file.h"
#include "runtime/engine/tokenizer/tokenizer.h"

namespace switchyard {
namespace {

// Bytes of `text` without the character that is not complete at its end.
size_t whole_characters(std::string_view text) {
  for (size_t back = 1; back <= std::min<size_t>(3, text.size()); ++back) {
    const auto byte = static_cast<unsigned char>(text[text.size() - back]);
    if ((byte & 0xc0) == 0x80) continue;
    const size_t length = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc0 ? 2 : 1;
    return length > back ? text.size() - back : text.size();
  }
  return text.size();
}

}  // namespace

Status StreamEncoder::push(std::string_view bytes, std::vector<TokenId>& ids) {
  while (!bytes.empty()) {
    const size_t some = std::min(bytes.size(), wanted_ - held_.size());
    held_ += bytes.substr(0, some);
    bytes.remove_prefix(some);
    if (held_.size() < wanted_) return {};
    const std::string_view whole = std::string_view(held_).substr(0, whole_characters(held_));
    if (!is_utf8(whole)) return fail(Code::kBadData, "the text is not UTF-8");
    const size_t cut = TRY(tokenizer_.find_cut(whole));
    if (cut > 0) {
      TRY_STATUS(encode(whole.substr(0, cut), ids));
      held_.erase(0, cut);
    } else if (wanted_ >= kHeldBytesMax) {
      return fail(Code::kBadData,
                  fmt::format("{} bytes hold no place where this tokenizer could surely be stopped",
                              wanted_),
                  {}, "shorten the text, break its lines, or give --ids");
    }
    wanted_ = std::min(kHeldBytesMax, std::max(kPieceBytes, 2 * held_.size()));
  }
  return {};
}

Status StreamEncoder::finish(std::vector<TokenId>& ids) {
  TRY_STATUS(encode(held_, ids));
  held_.clear();
  ids.insert(ids.end(), after_.begin(), after_.end());
  return {};
}

Status StreamEncoder::encode(std::string_view text, std::vector<TokenId>& ids) {
  if (!continues_) ids.insert(ids.end(), before_.begin(), before_.end());
  const auto some = TRY(tokenizer_.encode(text, {.add_special = false, .continues = continues_}));
  ids.insert(ids.end(), some.begin(), some.end());
  continues_ = true;
  return {};
}

}  // namespace switchyard
