#include "launch/text_ids.h"

#include <malloc.h>

#include <algorithm>

#include "launch/parse.h"
#include "runtime/base/check.h"

namespace switchyard {
namespace {

constexpr uint64_t kEncodingBytes = uint64_t{1} << 20;  // of a piece of text on its way to ids

}  // namespace

Result<TextIds> TextIds::of_list(std::vector<TokenId> ids, uint32_t vocab) {
  TRY_STATUS(check_ids(ids, vocab));
  TextIds list;
  list.ids_ = std::move(ids);
  list.vocab_ = vocab;
  return list;
}

Result<TextIds> TextIds::of_text(const TextOptions& options, LoadedTokenizer tokenizer,
                                 bool add_special, uint32_t vocab, Console& console) {
  TextIds text;
  text.reader_ = TRY(TextReader::open(options, console));
  text.vocab_ = vocab;
  text.tokenizer_ = std::make_unique<LoadedTokenizer>(std::move(tokenizer));
  text.encoder_ = std::make_unique<StreamEncoder>(text.tokenizer_->tokenizer, add_special);
  return text;
}

Status TextIds::need(size_t end) {
  while (!complete() && known() < end) TRY_STATUS(read_piece());
  return {};
}

Status TextIds::read_piece() {
  const std::string piece = TRY(reader_->next());
  std::vector<TokenId> made;
  Status done = piece.empty() ? encoder_->finish(made) : encoder_->push(piece, made);
  if (!done) {
    done.error().where = reader_->where();
    return done;
  }
  TRY_STATUS(check_ids(made, vocab_));
  ids_.insert(ids_.end(), made.begin(), made.end());
  if (!piece.empty()) return {};
  encoder_.reset();
  tokenizer_.reset();
  reader_.reset();
  ::malloc_trim(0);  // the tokenizer is gone; the budget is the engine's
  return {};
}

std::span<const TokenId> TextIds::range(size_t begin, size_t end) const {
  CHECK(first_ <= begin && begin <= end && end <= known());
  return std::span(ids_).subspan(begin - first_, end - begin);
}

void TextIds::forget_before(size_t begin) {
  CHECK(first_ <= begin && begin <= known());
  // Not id by id: what stays is moved.
  if (begin - first_ < ids_.size() / 2) return;
  ids_.erase(ids_.begin(), ids_.begin() + static_cast<ptrdiff_t>(begin - first_));
  first_ = begin;
}

uint64_t TextIds::bytes(size_t window) const {
  if (complete()) return ids_.size() * sizeof(TokenId);
  return tokenizer_->bytes + kEncodingBytes + 2 * window * sizeof(TokenId);
}

}  // namespace switchyard
