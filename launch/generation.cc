#include "launch/generation.h"

#include <algorithm>

#include "launch/engine_flags.h"
#include "runtime/base/check.h"
#include "runtime/base/clock.h"
#include "runtime/base/hash.h"

namespace switchyard {
namespace {

class Generation {
 public:
  Generation(Engine& engine, const GenerationRequest& request, const GenerationHooks& hooks)
      : engine_(engine),
        request_(request),
        hooks_(hooks),
        sampler_(request.sampling),
        history_(request.prompt) {}

  Result<GenerationResult> run() {
    sequence_ = TRY(engine_.open_sequence());
    engine_.set_stop(hooks_.interrupted);
    const Status done = compute();
    engine_.close_sequence(sequence_);
    engine_.set_stop({});
    if (!done) return tl::unexpected(done.error());
    result_.logits_hash = hasher_.digest();
    return std::move(result_);
  }

 private:
  Status compute() {
    engine_.reset_counters();
    begin_ = now_seconds();
    TRY_STATUS(prompt());
    result_.prefill_seconds = now_seconds() - begin_;
    result_.prefill = result_.all = engine_.counters();
    const double decode_begin = now_seconds();
    TRY_STATUS(decode());
    result_.decode_seconds = result_.ids.size() > 1 ? now_seconds() - decode_begin : 0;
    result_.all = engine_.counters();
    return {};
  }

  // Leaves the first token in next_, unless none is wanted or the prompt was interrupted.
  Status prompt() {
    const LogitsWanted wanted =
        request_.tokens_max == 0 ? LogitsWanted::kNone : LogitsWanted::kLast;
    size_t fed_all = 0;
    TRY_STATUS(feed_tokens(engine_, sequence_, request_.prompt, wanted, sink(), [&](size_t fed) {
      fed_all = fed;
      if (hooks_.prompt_progress) hooks_.prompt_progress(fed, request_.prompt.size());
      return hooks_.interrupted();
    }));
    result_.prompt_done = fed_all;
    if (fed_all < request_.prompt.size()) result_.finish = Finish::kSignal;
    return {};
  }

  Status decode() {
    while (have_next_) {
      have_next_ = false;
      if (TRY(take())) return {};
      StepPlan plan;
      plan.parts.push_back({sequence_, {history_.back()}, LogitsWanted::kLast});
      Status done = engine_.step(plan, sink());
      if (!done && done.error().code != Code::kStopped) return done;
      if (!done) result_.finish = Finish::kSignal;
    }
    return {};
  }

  // Adds the token that was sampled; true when it is the last one.
  Result<bool> take() {
    result_.ids.push_back(next_);
    history_.push_back(next_);
    if (std::ranges::find(request_.end_ids, next_) != request_.end_ids.end()) {
      result_.finish = Finish::kEndId;
      return true;
    }
    if (TRY(hooks_.on_token(next_))) {
      result_.finish = Finish::kStopText;
    } else if (result_.ids.size() >= request_.tokens_max) {
      result_.finish = Finish::kLength;
    } else if (hooks_.interrupted()) {
      result_.finish = Finish::kSignal;
    } else if (history_.size() > request_.context) {
      result_.finish = Finish::kContextFull;
    } else {
      return false;
    }
    return true;
  }

  Engine::LogitsSink sink() {
    return [this](SequenceId, uint32_t, std::span<const float> logits) {
      hasher_.update(std::as_bytes(logits));
      next_ = sampler_.sample(logits, history_);
      have_next_ = true;
    };
  }

  Engine& engine_;
  const GenerationRequest& request_;
  const GenerationHooks& hooks_;
  Sampler sampler_;
  Hasher hasher_;
  std::vector<TokenId> history_;  // the prompt and what was generated
  GenerationResult result_;
  SequenceId sequence_{};
  double begin_ = 0;
  TokenId next_ = 0;
  bool have_next_ = false;
};

}  // namespace

std::string_view finish_name(Finish finish) {
  switch (finish) {
    case Finish::kLength:
      return "length";
    case Finish::kEndId:
      return "end";
    case Finish::kStopText:
      return "stop";
    case Finish::kContextFull:
      return "context";
    case Finish::kSignal:
      return "signal";
  }
  return "?";
}

Result<GenerationResult> generate(Engine& engine, const GenerationRequest& request,
                                  const GenerationHooks& hooks) {
  CHECK(!request.prompt.empty() && request.prompt.size() <= request.context);
  return Generation(engine, request, hooks).run();
}

}  // namespace switchyard
