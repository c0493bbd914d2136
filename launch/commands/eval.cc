// eval: how well the model foretells a text.

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <ostream>

#include "launch/commands/commands.h"
#include "launch/crew.h"
#include "launch/engine_flags.h"
#include "launch/eval_tally.h"
#include "launch/json_output.h"
#include "launch/model_files.h"
#include "launch/model_path.h"
#include "launch/options.h"
#include "launch/parse.h"
#include "launch/perplexity.h"
#include "launch/progress.h"
#include "launch/prompt.h"
#include "launch/routing_recorder.h"
#include "launch/run_report.h"
#include "launch/stop_signal.h"
#include "launch/text_ids.h"
#include "launch/traffic_report.h"
#include "launch/version.h"
#include "runtime/base/byte_fields.h"
#include "runtime/base/clock.h"
#include "runtime/base/file.h"
#include "runtime/base/hash.h"
#include "runtime/base/units.h"
#include "storage/safetensors_writer.h"

namespace switchyard {
namespace {

constexpr uint32_t kWindowDefault = 2048;

struct EvalOptions {
  std::string model;
  TextOptions text;
  std::optional<std::string> ids;
  EngineFlags engine;
  std::optional<uint32_t> context;
  std::optional<uint32_t> stride;
  std::optional<std::string> checkpoint;
  std::optional<std::string> dump;
  std::optional<std::string> record_routing;
  std::optional<std::string> json;
  bool no_special = false;
};

// The text, of which two ids at least are known.
Result<TextIds> open_text(const EvalOptions& options, const std::string& path, uint32_t vocab,
                          Console& console) {
  auto open = [&]() -> Result<TextIds> {
    if (options.ids) return TextIds::of_list(TRY(parse_ids(*options.ids)), vocab);
    return TextIds::of_text(options.text, TRY(load_tokenizer(path)), !options.no_special, vocab,
                            console);
  };
  TextIds text = TRY(open());
  TRY_STATUS(text.need(2));
  if (text.known() < 2) {
    return fail(Code::kBadData, fmt::format("the text has {} tokens", text.known()), {},
                "there must be two at least: the first one is not scored");
  }
  return text;
}

class Evaluation {
 public:
  Evaluation(const EvalOptions& options, Console& console) : options_(options), console_(console) {}

  Result<int> execute() {
    TRY_STATUS(check());
    TRY_STATUS(prepare());
    const double begin = now_seconds();
    engine_ = TRY(start_engine(*source_, engine_options_, console_));
    load_seconds_ = now_seconds() - begin;
    tell_plan();
    TRY_STATUS(open_dump());
    TRY_STATUS(compute());
    TRY_STATUS(tally_->save());
    if (engine_->ranks() > 1) ranks_ = TRY(engine_->rank_reports());
    signal_.act_at_once();
    TRY_STATUS(report());
    if (recorder_) TRY_STATUS(recorder_->status());
    return signal_.received() != 0 ? signal_.exit_code() : 0;
  }

 private:
  Status check() const {
    if (options_.text.given() + (options_.ids ? 1 : 0) != 1) {
      return fail(Code::kUsage, "give one of -p, -f, --ids", {}, "see switchyard eval --help");
    }
    if (options_.checkpoint && (options_.dump || options_.record_routing)) {
      return fail(Code::kUsage, "a part of what it is to hold may be done already",
                  options_.dump ? "--dump-logits" : "--record-routing", "leave out --checkpoint");
    }
    if (options_.dump) TRY(output_target(*options_.dump));
    return options_.json ? check_json_target(*options_.json) : Status{};
  }

  Status prepare() {
    const std::string path = TRY(resolve_model(options_.model, HubEnvironment::of_process()));
    source_ = TRY(open_model(options_.engine, path));
    TRY_STATUS(spare_model(path));
    text_ = TRY(open_text(options_, path, source_->spec().vocab, console_));
    TRY_STATUS(choose_windows());
    TRY_STATUS(open_tally());
    engine_options_ = TRY(engine_options(options_.engine, *source_, context_,
                                         text_->bytes(context_ + stride_), console_.world));
    if (options_.record_routing) {
      recorder_ = TRY(RoutingRecorder::append(*options_.record_routing, *source_));
      engine_options_.on_routing = recorder_->sink();
    }
    return {};
  }

  // A dump must not take the place of a file of the model.
  Status spare_model(const std::string& model) const {
    std::error_code ignored;
    if (!options_.dump || !std::filesystem::exists(*options_.dump, ignored)) return {};
    const std::filesystem::path dump = std::filesystem::canonical(*options_.dump, ignored);
    const bool own = std::filesystem::equivalent(dump, model, ignored) ||
                     std::filesystem::equivalent(dump.parent_path(), model, ignored);
    if (!own) return {};
    return fail(Code::kIo, "is a file of the model", *options_.dump, "name another --dump-logits");
  }

  Status choose_windows() {
    TRY_STATUS(check_context(options_.context, *source_));
    const uint32_t context_default = std::min(source_->spec().positions_max, kWindowDefault);
    const uint32_t wanted = options_.context.value_or(context_default);
    if (options_.stride.value_or(0) > wanted) {
      return fail(Code::kUsage,
                  fmt::format("--stride {} is past the context of {}", *options_.stride, wanted));
    }
    // A dump's header says how many rows there are.
    TRY_STATUS(text_->need(options_.dump ? SIZE_MAX : size_t{wanted} + 1));
    context_ = static_cast<uint32_t>(std::min<size_t>(wanted, rows_known()));
    stride_ = std::min(options_.stride.value_or(context_), context_);
    window_ = {0, 0, std::min<size_t>(context_, rows_known())};
    return {};
  }

  // Passes over what an eval before this one did.
  Status open_tally() {
    const std::string model = source_->fingerprint() + encode_order(source_->expert_order());
    const EvalSubject subject{.build = build_name(),
                              .model = hash_hex(hash_text(model)),
                              .context = context_,
                              .stride = stride_,
                              .text = 0};
    tally_.emplace(TRY(EvalTally::open(options_.checkpoint, subject)));
    tally_->pass_over(text_->range(0, 1));
    const uint64_t rows = tally_->rows_before();
    for (bool more = true; more;) {
      const size_t end = std::min<size_t>(window_.end, rows);
      if (end > window_.score_begin) {
        tally_->pass_over(text_->range(window_.score_begin + 1, end + 1));
      }
      more = window_.end <= rows && TRY(advance());
    }
    return tally_->check_text();
  }

  // To the window behind this one; false: there is none.
  Result<bool> advance() {
    text_->forget_before(std::min(window_.begin + stride_, text_->known()));
    TRY_STATUS(text_->need(window_.begin + stride_ + context_ + 1));
    if (window_.end == rows_known()) return false;
    window_ = next_window(window_, rows_known(), context_, stride_);
    windows_ += 1;
    return true;
  }

  // Rows that the ids known allow. The last id's own row foretells nothing; only a dump wants it.
  size_t rows_known() const { return text_->known() - (options_.dump ? 0 : 1); }
  uint64_t rows_done() const { return tally_->figures().rows; }

  void tell_plan() {
    const std::string tokens =
        text_->complete() ? fmt::format("{} tokens", text_->known()) : "tokens not counted yet";
    console_.err << fmt::format("{}; context {}, stride {}\n", tokens, context_, stride_);
    if (tally_->rows_before() > 0) {
      console_.err << fmt::format("{}: {} tokens are scored already\n", *options_.checkpoint,
                                  tally_->rows_before());
    }
  }

  // From here on a signal waits for the window, and a second one takes the unfinished file away.
  Status open_dump() {
    signal_.defer();
    if (!options_.dump) return {};
    const std::vector<uint64_t> shape = {text_->known(), source_->spec().vocab};
    dump_.emplace(TRY(SafetensorsStream::create(*options_.dump, "logits", "F32", shape)));
    signal_.remove_at_end(dump_->partial_path());
    return {};
  }

  Status compute() {
    engine_->reset_counters();
    engine_->set_stop([this] { return signal_.received() != 0; });
    const double begin = now_seconds();
    {
      Progress progress(console_, "scoring", false);
      progress_ = &progress;
      TRY_STATUS(compute_windows());
    }
    seconds_ = now_seconds() - begin;
    if (dump_ && signal_.received() == 0) TRY_STATUS(dump_->finish());
    dump_.reset();
    signal_.remove_at_end("");
    return {};
  }

  Status compute_windows() {
    if (rows_done() == rows_known()) return {};
    while (signal_.received() == 0) {
      TRY_STATUS(compute_window());
      if (signal_.received() != 0 || !TRY(advance())) return {};
    }
    return {};
  }

  // All of it, or what is left of it. Rows are the same bits however they come.
  Status compute_window() {
    const SequenceId sequence = TRY(engine_->open_sequence());
    Status row_status;
    const auto stop = [&](size_t) {
      progress_->update(rows_done(), rows_known());
      if (row_status) row_status = tally_->save_if_due();
      return !row_status || signal_.received() != 0;
    };
    const auto sink = [&](SequenceId, uint32_t position, std::span<const float> logits) {
      if (row_status) row_status = take_row(window_.begin + position, logits);
    };
    const size_t score_begin = std::max<size_t>(window_.score_begin, rows_done());
    Status done = feed_tokens(*engine_, sequence, text_->range(window_.begin, score_begin),
                              LogitsWanted::kNone, sink, stop);
    if (done && row_status && signal_.received() == 0) {
      done = feed_tokens(*engine_, sequence, text_->range(score_begin, window_.end),
                         LogitsWanted::kAll, sink, stop);
    }
    engine_->close_sequence(sequence);
    return done ? row_status : done;
  }

  Status take_row(size_t row, std::span<const float> logits) {
    std::optional<TokenId> next;
    if (row + 1 < text_->known()) next = text_->range(row + 1, row + 2).front();
    tally_->take(logits, next);
    return dump_ ? dump_->append(std::as_bytes(logits)) : Status{};
  }

  Status report() {
    const EvalFigures& figures = tally_->figures();
    const double value = figures.scored > 0 ? perplexity(figures.nll_sum, figures.scored) : 0;
    const auto rows = static_cast<double>(figures.rows - tally_->rows_before());
    const double rate = seconds_ > 0 ? rows / seconds_ : 0;
    const EngineCounters& counters = engine_->counters();
    if (!options_.json || *options_.json != "-") {
      console_.out << fmt::format("perplexity {:.4f} over {} tokens (context {}, stride {}{})\n",
                                  value, figures.scored, context_, stride_,
                                  signal_.received() != 0 ? "; stopped early" : "");
    }
    console_.err << fmt::format("{:.1f} tok/s; loaded in {}; {} read for experts\n", rate,
                                format_seconds(load_seconds_),
                                format_size(counters.expert_bytes_read));
    console_.err << placement_summary(engine_->placement_changes());
    if (!options_.json) return {};
    const double uses = static_cast<double>(counters.expert_hits + counters.expert_misses);
    const MemoryPlan& memory = engine_->memory_plan();
    Json json = {
        {"perplexity", value},
        {"mean_negative_log_likelihood",
         figures.nll_sum / static_cast<double>(std::max<uint64_t>(figures.scored, 1))},
        {"tokens", text_->known()},
        {"scored_tokens", figures.scored},
        {"scored_before", tally_->rows_before()},
        {"context", context_},
        {"stride", stride_},
        {"windows", windows_},
        {"complete", signal_.received() == 0},
        {"logits_hash", hash_hex(figures.logits.digest())},
        {"seconds", {{"load", load_seconds_}, {"eval", seconds_}}},
        {"tokens_per_second", {{"eval", rate}}},
        {"memory",
         {{"budget_bytes", memory.budget_bytes},
          {"planned_bytes", memory.total_bytes()},
          {"peak_rss_bytes", peak_rss_bytes(engine_options_.device.get())}}},
        {"experts",
         {{"hits", counters.expert_hits},
          {"misses", counters.expert_misses},
          {"hit_rate", uses > 0 ? static_cast<double>(counters.expert_hits) / uses : 0.0}}},
        {"io", {{"bytes_read", counters.expert_bytes_read}}},
        {"isa", engine_->isa()},
        {"ranks", engine_->ranks()},
        {"threads", engine_options_.threads}};
    if (!ranks_.empty()) {
      json["traffic"] = traffic_json(engine_->layout(), ranks_);
      json["placement"] = placement_json(engine_->placement_changes());
    }
    return write_json(*options_.json, json, console_);
  }

  const EvalOptions& options_;
  Console& console_;
  StopSignal signal_;
  std::unique_ptr<ModelSource> source_;
  std::optional<RoutingRecorder> recorder_;
  EngineHandle engine_;
  EngineOptions engine_options_;
  std::optional<TextIds> text_;
  EvalWindow window_;
  size_t windows_ = 1;
  uint32_t context_ = 0;
  uint32_t stride_ = 0;
  std::optional<SafetensorsStream> dump_;
  Progress* progress_ = nullptr;
  std::optional<EvalTally> tally_;
  std::vector<RankReport> ranks_;  // none for one
  double load_seconds_ = 0;
  double seconds_ = 0;
};

Command::Body prepare_eval(OptionList& list) {
  auto options = std::make_shared<EvalOptions>();
  list.positional("MODEL", options->model, "a folder, ORG/NAME[@REV] in the HF cache, or a pack");
  options->text.add_to(list, "the text");
  list.text("--ids", "LIST", options->ids, "the text as token ids, 1,2,3; needs no tokenizer");
  list.flag("--no-special", options->no_special, "adds no special tokens to the text");
  options->engine.add_to(list);
  list.count("--context", options->context, 1, INT32_MAX,
             "tokens of a window; default: 2048, less where the model or the text ends before");
  list.count("--stride", options->stride, 1, INT32_MAX,
             "how far each window lies behind the last; default: the context. Less gives tokens "
             "more context and takes longer; each is scored once");
  list.output(
      "--checkpoint", "FILE", options->checkpoint,
      "keeps there what is done; where there is such a file, goes on with it, to the same "
      "figures, on any number of ranks. Saved every few seconds, and when SIGUSR1 (exit code "
      "75), SIGTERM or Ctrl-C ends the eval. When all is done the file stays, and the same "
      "command tells the figures again; remove it to compute anew");
  list.output(
      "--dump-logits", "OUT", options->dump,
      "a safetensors file of the logits, fp32 [tokens, vocabulary]: each row from the window "
      "that scores it");
  list.output("--record-routing", "FILE", options->record_routing,
              "appends what the routers choose to this routing trace");
  list.output("--json", "FILE", options->json, "the figures; -: to standard output, alone");
  return {.run = [options](Console& console) { return Evaluation(*options, console).execute(); },
          .serve =
              [options](Console& console) {
                return serve_rank(options->engine, options->model, console);
              }};
}

}  // namespace

Command eval_command() {
  return {"eval", "perplexity of a text",
          "  switchyard eval MODEL -f book.txt\n"
          "  switchyard eval MODEL -f book.txt --context 1024 --stride 512 --memory 8GiB\n"
          "  switchyard eval MODEL -f book.txt --checkpoint book.eval\n"
          "  switchyard eval MODEL --ids 1,2,3 --dump-logits logits.safetensors\n",
          prepare_eval};
}

}  // namespace switchyard
