#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/base/json.h"

namespace switchyard {

// Receives the texts of tokens one after the other; a token may come in parts, each of them whole
// characters.
class TokenSink {
 public:
  virtual ~TokenSink() = default;
  virtual void part(std::string_view text) = 0;
  virtual void end_token() = 0;
  virtual void finish() = 0;  // no token follows; once
};

// One step of decoding. Immutable, for any number of threads; what it remembers of a text is in the
// sink that it opens.
class DecoderStep {
 public:
  virtual ~DecoderStep() = default;
  // The sink writes to `next`, which outlives it; this step does, too.
  virtual std::unique_ptr<TokenSink> open(TokenSink& next) const = 0;
};

using DecoderSteps = std::vector<std::unique_ptr<const DecoderStep>>;

// The steps of tokenizer.json's "decoder" in order. An unknown type is kConfig.
Result<DecoderSteps> parse_decoder(const Json& spec, const std::string& where);

// A text being decoded, as far as its tokens decide it.
class DecodeRun {
 public:
  // The steps outlive this.
  explicit DecodeRun(const DecoderSteps& steps);
  ~DecodeRun();
  DecodeRun(DecodeRun&&) noexcept;

  // Both return the text that has become certain: whole characters.
  std::string push(std::string_view token);
  std::string finish();

 private:
  struct Output;
  std::unique_ptr<Output> output_;
  std::vector<std::unique_ptr<TokenSink>> sinks_;  // the last one is the first to receive
};

}  // namespace switchyard
