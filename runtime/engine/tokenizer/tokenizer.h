#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/base/ids.h"
#include "runtime/base/result.h"

namespace switchyard {

struct EncodeOptions {
  bool add_special = true;  // the tokens that the file's post-processor sets around a text
};

struct DecodeOptions {
  bool skip_special = false;  // special tokens leave no text
};

// Text to token ids and back as a Hugging Face tokenizer.json says. Movable; const members may be
// called from any number of threads.
class Tokenizer {
 public:
  // `json` is the text of tokenizer.json, which need not outlive the call; `where` its path, for
  // errors. kBadData for a damaged or inconsistent file, kConfig for a kind not supported.
  static Result<Tokenizer> parse(std::string_view json, const std::string& where);

  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;
  ~Tokenizer();

  // kBadData when `text` is not UTF-8, is above 1 GiB, or drives a split pattern beyond its limit.
  Result<std::vector<TokenId>> encode(std::string_view text, EncodeOptions options = {}) const;

  // kBadData names an id without token.
  Result<std::string> decode(std::span<const TokenId> ids, DecodeOptions options = {}) const;

  size_t vocab_size() const;  // largest id + 1
  std::optional<TokenId> token_id(std::string_view content) const;
  bool is_special(TokenId id) const;

 private:
  friend class StreamDecoder;
  struct State;
  explicit Tokenizer(std::unique_ptr<const State> state);

  std::unique_ptr<const State> state_;
};

// Decodes ids as they come. What push() and finish() return, put together, is what decode() makes
// of all the ids; each piece is whole characters. One thread at a time.
class StreamDecoder {
 public:
  // The tokenizer may move but must live as long as this.
  StreamDecoder(const Tokenizer& tokenizer, DecodeOptions options);
  ~StreamDecoder();
  StreamDecoder(StreamDecoder&&) noexcept;

  // The text that has become certain, maybe none. An id without token leaves no text. Takes
  // constant time a token on average.
  std::string push(TokenId id);

  // The rest; nothing is pushed after it.
  std::string finish();

 private:
  struct Run;
  std::unique_ptr<Run> run_;
};

}  // namespace switchyard
