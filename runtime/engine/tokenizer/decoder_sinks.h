#pragma once

// What each kind of decoder does to the tokens that pass through it. A sink holds back only what a
// later token could still change.

#include "runtime/engine/tokenizer/decoder.h"
#include "runtime/engine/tokenizer/metaspace.h"
#include "runtime/engine/tokenizer/unicode.h"

namespace switchyard {

// Without a decoder: blanks between the tokens.
class JoinSink : public TokenSink {
 public:
  explicit JoinSink(TokenSink& next) : next_(next) {}
  void part(std::string_view text) override;
  void end_token() override { blank_ = true; }
  void finish() override;

 private:
  TokenSink& next_;
  bool blank_ = false;  // wanted before the next token
};

// All tokens become one.
class FuseSink : public TokenSink {
 public:
  explicit FuseSink(TokenSink& next) : next_(next) {}
  void part(std::string_view text) override { next_.part(text); }
  void end_token() override {}
  void finish() override;

 private:
  TokenSink& next_;
};

// Characters back into bytes (see byte_level.h); all tokens become one.
class ByteLevelSink : public TokenSink {
 public:
  explicit ByteLevelSink(TokenSink& next) : next_(next) {}
  void part(std::string_view text) override { token_ += text; }
  void end_token() override;
  void finish() override;

 private:
  TokenSink& next_;
  std::string token_;
  std::string bytes_;
  std::string out_;
  Utf8Repair repair_;
};

// Runs of tokens <0x00> … <0xFF> become the text of these bytes, or U+FFFD for each where they are
// no text. Hence a run is held back to its end.
class ByteFallbackSink : public TokenSink {
 public:
  explicit ByteFallbackSink(TokenSink& next) : next_(next) {}
  void part(std::string_view text) override { token_ += text; }
  void end_token() override;
  void finish() override;

 private:
  void flush();

  TokenSink& next_;
  std::string token_;
  std::string run_;
};

// Replaces a text within each token.
class ReplaceSink : public TokenSink {
 public:
  ReplaceSink(TokenSink& next, const std::string& what, const std::string& with)
      : next_(next), what_(what), with_(with) {}
  void part(std::string_view text) override;
  void end_token() override;
  void finish() override { next_.finish(); }

 private:
  TokenSink& next_;
  const std::string& what_;
  const std::string& with_;
  std::string held_;  // may still be the beginning of `what_`
};

struct StripSpec {
  char32_t content = 0;
  uint64_t start = 0;  // how many to take off at a token's start, at most
  uint64_t stop = 0;   // and at its end
};

class StripSink : public TokenSink {
 public:
  StripSink(TokenSink& next, const StripSpec& spec) : next_(next), spec_(spec) {}
  void part(std::string_view text) override;
  void end_token() override;
  void finish() override { next_.finish(); }

 private:
  TokenSink& next_;
  StripSpec spec_;
  bool leading_ = true;  // only `content` so far, all of it taken off
  uint64_t taken_ = 0;   // at the start
  uint64_t held_ = 0;    // at the end
  std::string out_;
};

// Marks become blanks, except those of the first token when it was prefixed with one.
class MetaspaceSink : public TokenSink {
 public:
  MetaspaceSink(TokenSink& next, const MetaspaceSpec& spec)
      : next_(next), mark_(spec.replacement), drop_(spec.scheme != PrependScheme::kNever) {}
  void part(std::string_view text) override;
  void end_token() override;
  void finish() override { next_.finish(); }

 private:
  TokenSink& next_;
  const std::string& mark_;
  bool drop_;
};

}  // namespace switchyard
