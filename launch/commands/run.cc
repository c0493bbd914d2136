// run: a prompt in, text out.

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <ostream>

#include "experts/expert_source.h"
#include "launch/commands/commands.h"
#include "launch/crew.h"
#include "launch/engine_flags.h"
#include "launch/generation.h"
#include "launch/json_output.h"
#include "launch/machine.h"
#include "launch/model_files.h"
#include "launch/model_path.h"
#include "launch/options.h"
#include "launch/parse.h"
#include "launch/prediction.h"
#include "launch/progress.h"
#include "launch/prompt.h"
#include "launch/routing_recorder.h"
#include "launch/run_report.h"
#include "launch/sampling.h"
#include "launch/stop_signal.h"
#include "launch/text_stream.h"
#include "launch/traffic_report.h"
#include "runtime/base/clock.h"
#include "runtime/base/file.h"
#include "runtime/base/hash.h"
#include "runtime/base/spans.h"
#include "runtime/device/device.h"

namespace switchyard {
namespace {

struct RunOptions {
  std::string model;
  TextOptions text;
  std::optional<std::string> ids;
  std::optional<int64_t> tokens;
  SamplingFlags sampling;
  std::vector<std::string> stops;
  EngineFlags engine;
  std::optional<uint32_t> context;
  std::optional<std::string> record_routing;
  std::optional<std::string> spans;
  std::optional<std::string> traffic;
  std::optional<std::string> json;
  bool logits_hash = false;
  bool ignore_eos = false;
  bool no_special = false;
};

Status check_options(const RunOptions& options) {
  if (options.text.given() + (options.ids ? 1 : 0) != 1) {
    return fail(Code::kUsage, "give one of -p, -f, --ids", {}, "see switchyard run --help");
  }
  for (const std::string& stop : options.stops) {
    if (stop.empty() || !is_utf8(stop)) {
      return fail(Code::kUsage, "is empty or not UTF-8", "--stop");
    }
  }
  return options.json ? check_json_target(*options.json) : Status{};
}

// With --ids a tokenizer is welcome, not needed.
Result<std::optional<LoadedTokenizer>> tokenizer_for(const RunOptions& options,
                                                     const std::string& path, Console& console) {
  if (!options.ids) return std::optional(TRY(load_tokenizer(path)));
  auto found = find_tokenizer(path);
  if (found) {
    if (!*found && !options.stops.empty()) {
      return fail(Code::kUsage, "--stop needs a tokenizer.json", path);
    }
    return found;
  }
  print_warning(to_line(found.error()) + "; ids are printed instead of text", console);
  return std::nullopt;
}

uint32_t context_limit(const RunOptions& options, const ModelSource& source) {
  return options.context.value_or(source.spec().positions_max);
}

tl::unexpected<Error> fail_overflow(const RunOptions& options, const ModelSource& source,
                                    const std::string& tokens) {
  const uint32_t limit = context_limit(options, source);
  const bool more = options.context && limit < source.spec().positions_max;
  return fail(Code::kUsage,
              fmt::format("the prompt's {} tokens overflow the context of {}", tokens, limit), {},
              more ? "raise --context, or shorten the prompt" : "shorten the prompt");
}

// No more of a text is read than could fit.
Result<std::vector<TokenId>> prompt_ids(const RunOptions& options, const Tokenizer* tokenizer,
                                        const ModelSource& source, Console& console) {
  std::vector<TokenId> ids;
  if (options.ids) {
    ids = TRY(parse_ids(*options.ids));
  } else {
    TextReader reader = TRY(TextReader::open(options.text, console));
    StreamEncoder encoder(*tokenizer, !options.no_special);
    const uint32_t limit = context_limit(options, source);
    for (bool more = true; more;) {
      const std::string piece = TRY(reader.next());
      more = !piece.empty();
      Status done = more ? encoder.push(piece, ids) : encoder.finish(ids);
      if (!done) done.error().where = reader.where();
      TRY_STATUS(done);
      if (more && ids.size() > limit) {
        return fail_overflow(options, source, fmt::format("{} or more", ids.size()));
      }
    }
  }
  if (ids.empty()) return fail(Code::kUsage, "the prompt holds no token");
  TRY_STATUS(check_ids(ids, source.spec().vocab));
  return ids;
}

// Positions for the prompt and what is to be generated.
Result<uint32_t> choose_context(const RunOptions& options, size_t prompt,
                                const ModelSource& source) {
  const uint32_t limit = context_limit(options, source);
  if (prompt > limit) return fail_overflow(options, source, fmt::format("{}", prompt));
  if (options.context) return limit;
  return default_context(prompt, options.tokens.value_or(kTokensDefault), limit);
}

Result<GenerationDefaults> generation_defaults(const ModelSource& source) {
  const auto text = TRY(source.text_file("generation_config.json"));
  if (!text) return GenerationDefaults{};
  return parse_generation_config(*text, source.path() + "/generation_config.json");
}

// Everything of one `run`, in the order in which it happens.
class Run {
 public:
  Run(const RunOptions& options, Console& console) : options_(options), console_(console) {}

  Result<int> execute() {
    TRY_STATUS(check_options(options_));
    TRY_STATUS(prepare());
    if (options_.record_routing) {
      recorder_ = TRY(RoutingRecorder::append(*options_.record_routing, *source_));
      engine_options_.on_routing = recorder_->sink();
    }
    if (options_.spans) TRY_STATUS(check_json_target(*options_.spans));
    if (options_.traffic) TRY_STATUS(check_html_target(*options_.traffic));
    if (options_.spans) engine_options_.spans = &spans_;
    program_bytes_ = resident_bytes();
    const double begin = now_seconds();
    EngineHandle engine = TRY(start_engine(*source_, engine_options_, console_));
    report_.load_seconds = now_seconds() - begin;
    tell_what_is_assumed();
    signal_.defer();
    TRY_STATUS(generate_text(*engine));
    signal_.act_at_once();
    fill_report(*engine);
    TRY_STATUS(fill_ranks(*engine));
    TRY_STATUS(give_report());
    if (recorder_) TRY_STATUS(recorder_->status());
    if (options_.spans) TRY_STATUS(spans_.write(*options_.spans));
    return report_.generation.finish == Finish::kSignal ? signal_.exit_code() : 0;
  }

 private:
  Status prepare() {
    const std::string path = TRY(resolve_model(options_.model, HubEnvironment::of_process()));
    source_ = TRY(open_model(options_.engine, path));
    tokenizer_ = TRY(tokenizer_for(options_, path, console_));
    const ModelSpec& spec = source_->spec();
    TRY_STATUS(check_context(options_.context, *source_));
    request_.prompt = TRY(prompt_ids(options_, tokenizer(), *source_, console_));
    request_.context = TRY(choose_context(options_, request_.prompt.size(), *source_));
    const int64_t tokens = options_.tokens.value_or(kTokensDefault);
    request_.tokens_max = tokens < 0 ? UINT64_MAX : static_cast<uint64_t>(tokens);
    engine_options_ = TRY(engine_options(options_.engine, *source_, request_.context,
                                         tokenizer_ ? tokenizer_->bytes : 0, console_.world));
    const GenerationDefaults defaults = TRY(generation_defaults(*source_));
    ignored_ = defaults.ignored;
    sampling_ = choose_sampling(options_.sampling, defaults, spec.end_ids);
    request_.sampling = sampling_.options;
    if (!options_.ignore_eos) request_.end_ids = sampling_.end_ids;
    chat_template_ = TRY(has_chat_template(path));
    return {};
  }

  void tell_what_is_assumed() {
    if (!ignored_.empty()) {
      print_warning(
          fmt::format("generation_config.json: not followed: {}", fmt::join(ignored_, ", ")),
          console_);
    }
    console_.err << sampling_.line << (options_.ignore_eos ? " (ignored)" : "") << std::endl;
    if (chat_template_) {
      console_.err << "hint: this checkpoint expects a conversation; its chat template is not "
                      "applied, the prompt is continued as it is"
                   << std::endl;
    }
  }

  Status generate_text(Engine& engine) {
    const bool shown = !options_.json || *options_.json != "-";
    TextStream stream(tokenizer(), request_.prompt, options_.stops, shown, console_);
    auto progress = std::make_unique<Progress>(console_, "prompt", false);
    GenerationHooks hooks;
    hooks.on_token = [&](TokenId id) {
      progress.reset();
      return stream.push(id);
    };
    hooks.interrupted = [&] { return signal_.received() != 0; };
    hooks.prompt_progress = [&](uint64_t done, uint64_t all) { progress->update(done, all); };
    report_.generation = TRY(generate(engine, request_, hooks));
    TRY_STATUS(stream.finish());
    report_.text = stream.text();
    return {};
  }

  void fill_report(const Engine& engine) {
    report_.prompt_tokens = request_.prompt.size();
    report_.load_bytes = engine.load_bytes();
    report_.memory = engine.memory_plan();
    report_.peak_rss_bytes = peak_rss_bytes(engine_options_.device.get());
    report_.isa = engine.isa();
    report_.read_path = engine.read_path();
    report_.oracle_hit_rate = engine.oracle_hit_rate();
    for (size_t i = 0; engine.foresight() != nullptr && i < kHorizons; ++i) {
      report_.recall.push_back(engine.foresight()->recall(static_cast<Horizon>(i)));
    }
    report_.policy = engine_options_.policy;
    report_.predictor = engine_options_.predictor;
    if (engine_options_.device) report_.device = engine_options_.device->name();
    report_.device_slots = engine.device_slots();
    report_.threads = engine_options_.threads;
    report_.context = request_.context;
    report_.experts = static_cast<uint32_t>(source_->experts().keys().size());
    if (const auto figures = load_machine_figures()) {
      report_.limits = {figures->memory_bytes_per_second, figures->drive_bytes_per_second};
      predict_run(*figures);
    } else if (figures.error().code != Code::kNoInput) {
      print_warning(to_line(figures.error()), console_);
    }
  }

  // What the ranks did together counts.
  Status fill_ranks(Engine& engine) {
    if (engine.ranks() == 1 && options_.traffic) {
      print_warning("--traffic: one rank sends nothing; there is no page", console_);
    }
    if (engine.ranks() == 1) return {};
    report_.layout = engine.layout();
    report_.ranks = TRY(engine.rank_reports());
    EngineCounters& all = report_.generation.all;
    all.expert_hits = all.expert_misses = all.expert_bytes_read = 0;
    all.prefetch = {};
    for (const RankReport& rank : report_.ranks) {
      all.expert_hits += rank.expert_hits;
      all.expert_misses += rank.expert_misses;
      all.expert_bytes_read += rank.expert_bytes_read;
      all.prefetch.add(rank.prefetch);
    }
    if (!options_.traffic) return {};
    return write_file_atomically(*options_.traffic, traffic_page(report_.layout, report_.ranks));
  }

  // As `plan` does.
  void predict_run(const MachineFigures& figures) {
    const GenerationResult& made = report_.generation;
    const bool whole = made.prompt_done == request_.prompt.size() && !made.ids.empty();
    if (!whole || engine_options_.team.ranks() > 1 || engine_options_.team.threads > 1 ||
        !figures_suffice(figures, *source_, engine_options_))
      return;
    PlannedRun run{.prompt = static_cast<uint32_t>(request_.prompt.size()),
                   .tokens = static_cast<uint32_t>(made.ids.size()),
                   .program_bytes = program_bytes_};
    run.take_device(engine_options_);
    if (auto predicted = predict(*source_, engine_options_, run, figures)) {
      report_.predicted = std::move(*predicted);
    }
  }

  Status give_report() {
    if (report_.generation.finish == Finish::kContextFull) {
      console_.err << "stopped: the context of " << request_.context << " positions is full"
                   << std::endl;
    }
    console_.err << report_summary(report_);
    if (options_.logits_hash) {
      console_.err << "logits_hash " << hash_hex(report_.generation.logits_hash) << std::endl;
    }
    return options_.json ? write_json(*options_.json, report_json(report_), console_) : Status{};
  }

  const Tokenizer* tokenizer() const { return tokenizer_ ? &tokenizer_->tokenizer : nullptr; }

  const RunOptions& options_;
  Console& console_;
  StopSignal signal_;
  std::unique_ptr<ModelSource> source_;
  std::optional<LoadedTokenizer> tokenizer_;
  EngineOptions engine_options_;
  std::optional<RoutingRecorder> recorder_;
  Spans spans_;
  SamplingChoice sampling_;
  std::vector<std::string> ignored_;  // of generation_config.json
  bool chat_template_ = false;
  GenerationRequest request_;
  uint64_t program_bytes_ = 0;  // resident before the engine starts
  RunReport report_;
};

Command::Body prepare_run(OptionList& list) {
  auto options = std::make_shared<RunOptions>();
  list.positional("MODEL", options->model, "a folder, ORG/NAME[@REV] in the HF cache, or a pack");
  options->text.add_to(list, "the prompt");
  list.text("--ids", "LIST", options->ids, "the prompt as token ids, 1,2,3; needs no tokenizer");
  list.integer("-n,--tokens", options->tokens, -1, INT32_MAX,
               "tokens to generate; 0: only computes the prompt; -1: until an end id or the "
               "context is full; default 128");
  options->sampling.add_to(list);
  list.texts("--stop", "TEXT", options->stops, "text that ends the generation; may be repeated");
  list.flag("--ignore-eos", options->ignore_eos, "goes on after an end id");
  list.flag("--no-special", options->no_special, "adds no special tokens to the prompt");
  options->engine.add_to(list);
  list.count("--context", options->context, 1, INT32_MAX,
             "positions at most; default: what prompt and -n need");
  list.output("--record-routing", "FILE", options->record_routing,
              "appends what the routers choose to a routing trace");
  list.output("--spans", "FILE", options->spans,
              "what went on when, for Perfetto or chrome://tracing");
  list.output("--traffic", "OUT", options->traffic,
              "what ranks sent each other, drawn, as one self-contained page");
  list.output("--json", "FILE", options->json, "figures of the run; -: to standard output, alone");
  list.flag("--logits-hash", options->logits_hash,
            "prints a hash of all logits that were sampled from");
  return {.run = [options](Console& console) { return Run(*options, console).execute(); },
          .serve =
              [options](Console& console) {
                return serve_rank(options->engine, options->model, console);
              }};
}

}  // namespace

Command run_command() {
  return {"run", "continues a text",
          "  switchyard run MODEL -p \"Call me\" -n 64 --temp 0 --memory 8GiB\n"
          "  switchyard run ORG/NAME@main -f prompt.txt --temp 0.7 --top-p 0.9 -s 1\n"
          "  switchyard run MODEL --ids 46,97,108 -n 16 --json -\n",
          prepare_run};
}

}  // namespace switchyard
