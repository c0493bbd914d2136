#include "launch/text_stream.h"

#include <fmt/format.h>

#include <algorithm>
#include <ostream>

namespace switchyard {
namespace {

// Enough of a prompt's end to know how its continuation begins: with a blank or inside a character.
constexpr size_t kPromptTail = 8;

}  // namespace

TextStream::TextStream(const Tokenizer* tokenizer, std::span<const TokenId> prompt,
                       std::vector<std::string> stops, bool shown, Console& console)
    : matcher_(std::move(stops)), shown_(shown), console_(console) {
  if (tokenizer == nullptr) return;
  decoder_.emplace(*tokenizer, DecodeOptions{.skip_special = true});
  for (const TokenId id : prompt.last(std::min(kPromptTail, prompt.size()))) decoder_->push(id);
}

Status TextStream::show(const std::string& text) {
  text_ += text;
  if (!shown_ || text.empty()) return {};
  console_.out << text << std::flush;
  if (!console_.out) return fail(Code::kIo, "cannot write", "standard output");
  return {};
}

Result<bool> TextStream::push(TokenId id) {
  const std::string piece =
      decoder_ ? decoder_->push(id) : fmt::format("{}{}", first_ ? "" : " ", id);
  first_ = false;
  TRY_STATUS(show(matcher_.push(piece)));
  return matcher_.stopped();
}

Status TextStream::finish() {
  if (decoder_) TRY_STATUS(show(matcher_.push(decoder_->finish())));
  TRY_STATUS(show(matcher_.finish()));
  if (shown_ && console_.out_is_terminal) console_.out << std::endl;
  return {};
}

}  // namespace switchyard
