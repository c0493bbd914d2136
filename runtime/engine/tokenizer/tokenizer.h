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
  bool continues = false;   // the text is what lies behind a find_cut()
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

  // A place where a text that begins with `text` may be cut, however it goes on: the tokens of the
  // head, then those of the tail that `continues`, are those of the whole, special tokens aside.
  // Such a place is the last but a few of those between a letter and a blank or behind the end of a
  // line; 0 when none is certain. kBadData as encode().
  Result<size_t> find_cut(std::string_view text) const;

  size_t vocab_size() const;  // largest id + 1
  std::optional<TokenId> token_id(std::string_view content) const;
  bool is_special(TokenId id) const;

 private:
  friend class StreamDecoder;
  friend class StreamEncoder;
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

// Encodes a text as it comes, holding little of it. What push() and finish() append is, put
// together, what encode() makes of the whole text. One thread at a time.
class StreamEncoder {
 public:
  // Of a text in which no place to cut it is certain.
  static constexpr size_t kHeldBytesMax = size_t{1} << 20;

  // The tokenizer must live as long as this.
  StreamEncoder(const Tokenizer& tokenizer, bool add_special);

  // Bytes may come in pieces cut anywhere. kBadData as encode(), and where more than kHeldBytesMax
  // would have to be held.
  Status push(std::string_view bytes, std::vector<TokenId>& ids);
  // Once, after the last byte.
  Status finish(std::vector<TokenId>& ids);

 private:
  static constexpr size_t kPieceBytes = size_t{64} << 10;  // encoded together, about

  Status encode(std::string_view text, std::vector<TokenId>& ids);

  const Tokenizer& tokenizer_;
  std::string held_;
  std::vector<TokenId> after_;  // the special tokens behind the text
  std::vector<TokenId> before_;
  size_t wanted_ = kPieceBytes;  // bytes to hold before a cut is looked for
  bool continues_ = false;
};

}  // namespace switchyard
