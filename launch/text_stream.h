#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "launch/console.h"
#include "launch/stop_matcher.h"
#include "runtime/engine/tokenizer/tokenizer.h"

namespace switchyard {

// Generated tokens as text, shown as it becomes certain: whole characters, nothing of a stop text.
// Without a tokenizer the ids stand for themselves, separated by blanks.
class TextStream {
 public:
  // `tokenizer` (may be null) outlives this. `shown` false: the text is only kept.
  TextStream(const Tokenizer* tokenizer, std::span<const TokenId> prompt,
             std::vector<std::string> stops, bool shown, Console& console);

  // True when a stop text is complete: nothing may follow. kIo when it cannot be written.
  Result<bool> push(TokenId id);
  Status finish();
  // What was shown.
  const std::string& text() const { return text_; }

 private:
  Status show(const std::string& text);

  std::optional<StreamDecoder> decoder_;
  StopMatcher matcher_;
  bool shown_;
  Console& console_;
  std::string text_;
  bool first_ = true;
};

}  // namespace switchyard
