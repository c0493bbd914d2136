#pragma once

// The ids of a text of any length, made as they are asked for.

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "launch/model_files.h"
#include "launch/prompt.h"
#include "runtime/base/ids.h"
#include "runtime/base/result.h"

namespace switchyard {

// Ids by their position in the text. One thread.
class TextIds {
 public:
  // Ids that are there already. kUsage for one at or past `vocab`.
  static Result<TextIds> of_list(std::vector<TokenId> ids, uint32_t vocab);
  // The ids of the text that `options` name; `console` must live as long. Errors of opening it.
  static Result<TextIds> of_text(const TextOptions& options, LoadedTokenizer tokenizer,
                                 bool add_special, uint32_t vocab, Console& console);

  // Makes ids until those before `end` are known, or all. Blocks for the text. kBadData for a text
  // that is not UTF-8 or cannot be encoded piece by piece.
  Status need(size_t end);
  // Ids known so far; of the whole text once complete().
  size_t known() const { return first_ + ids_.size(); }
  bool complete() const { return encoder_ == nullptr; }

  // None that was forgotten, none that is not known.
  std::span<const TokenId> range(size_t begin, size_t end) const;
  // Those before `begin` are not asked for again.
  void forget_before(size_t begin);

  // Memory held, at most, while at most `window` ids are kept.
  uint64_t bytes(size_t window) const;
  std::vector<TokenId> take() { return std::move(ids_); }

 private:
  Status read_piece();

  std::vector<TokenId> ids_;
  size_t first_ = 0;  // position of ids_.front()
  uint32_t vocab_ = 0;
  std::unique_ptr<LoadedTokenizer> tokenizer_;  // until complete
  std::unique_ptr<StreamEncoder> encoder_;
  std::optional<TextReader> reader_;
};

}  // namespace switchyard
