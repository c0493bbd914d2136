#include "runtime/engine/tokenizer/decoder.h"

#include <fmt/core.h>

#include <nlohmann/json.hpp>

#include "runtime/engine/tokenizer/decoder_sinks.h"
#include "runtime/engine/tokenizer/fields.h"
#include "runtime/engine/tokenizer/pattern.h"

namespace switchyard {
namespace {

// A step whose sinks are made from `Args…`.
template <class Sink, class... Args>
class StepOf : public DecoderStep {
 public:
  explicit StepOf(Args... args) : args_(std::move(args)...) {}
  std::unique_ptr<TokenSink> open(TokenSink& next) const override {
    return std::apply(
        [&next](const Args&... args) { return std::make_unique<Sink>(next, args...); }, args_);
  }

 private:
  std::tuple<Args...> args_;
};

using Made = Result<std::unique_ptr<const DecoderStep>>;

Made make_step(const std::string& type, Fields& fields) {
  if (type == "ByteFallback") return std::make_unique<StepOf<ByteFallbackSink>>();
  if (type == "Fuse") return std::make_unique<StepOf<FuseSink>>();
  if (type == "ByteLevel") {
    for (const char* key : {"add_prefix_space", "trim_offsets", "use_regex"}) fields.skip(key);
    return std::make_unique<StepOf<ByteLevelSink>>();
  }
  if (type == "Metaspace") {
    const MetaspaceSpec spec = TRY(parse_metaspace(fields));
    return std::make_unique<StepOf<MetaspaceSink, MetaspaceSpec>>(spec);
  }
  if (type == "Strip") {
    StripSpec spec;
    spec.content = TRY(fields.rune("content"));
    spec.start = TRY(fields.count("start"));
    spec.stop = TRY(fields.count("stop"));
    return std::make_unique<StepOf<StripSink, StripSpec>>(spec);
  }
  if (type == "Replace") {
    const Json& spec = *TRY(fields.value("pattern"));
    const Pattern pattern = TRY(Pattern::parse(spec, fields.where()));
    if (pattern.literal_text() == nullptr) {
      return fields.unsupported("Replace with an expression is not supported");
    }
    const std::string content = TRY(fields.text("content"));
    return std::make_unique<StepOf<ReplaceSink, std::string, std::string>>(*pattern.literal_text(),
                                                                           content);
  }
  return fields.unsupported(fmt::format("type {} is not supported", type));
}

Status append_steps(const Json& spec, const std::string& where, DecoderSteps& out) {
  Fields fields = TRY(Fields::of(spec, "decoder", where));
  const std::string type = TRY(fields.text("type"));
  if (type == "Sequence") {
    for (const Json& step : *TRY(fields.list("decoders"))) {
      TRY_STATUS(append_steps(step, where, out));
    }
  } else {
    out.push_back(TRY(make_step(type, fields)));
  }
  return fields.done();
}

}  // namespace

struct DecodeRun::Output : TokenSink {
  std::string text;
  void part(std::string_view part) override { text += part; }
  void end_token() override {}
  void finish() override {}
};

Result<DecoderSteps> parse_decoder(const Json& spec, const std::string& where) {
  DecoderSteps steps;
  if (spec.is_null()) {
    steps.push_back(std::make_unique<StepOf<JoinSink>>());
  } else {
    TRY_STATUS(append_steps(spec, where, steps));
  }
  return steps;
}

DecodeRun::DecodeRun(const DecoderSteps& steps) : output_(std::make_unique<Output>()) {
  TokenSink* next = output_.get();
  for (size_t i = steps.size(); i-- > 0;) {
    sinks_.push_back(steps[i]->open(*next));
    next = sinks_.back().get();
  }
}

DecodeRun::~DecodeRun() = default;
DecodeRun::DecodeRun(DecodeRun&&) noexcept = default;

std::string DecodeRun::push(std::string_view token) {
  TokenSink& first = sinks_.empty() ? *output_ : *sinks_.back();
  first.part(token);
  first.end_token();
  return std::exchange(output_->text, {});
}

std::string DecodeRun::finish() {
  TokenSink& first = sinks_.empty() ? *output_ : *sinks_.back();
  first.finish();
  return std::exchange(output_->text, {});
}

}  // namespace switchyard
