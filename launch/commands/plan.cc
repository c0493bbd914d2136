// plan: where a model would go and how fast it would be, before anything is loaded.

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <ostream>

#include "experts/expert_source.h"
#include "experts/trace_file.h"
#include "launch/bench_phases.h"
#include "launch/calibration.h"
#include "launch/commands/commands.h"
#include "launch/crew.h"
#include "launch/engine_flags.h"
#include "launch/generation.h"
#include "launch/json_output.h"
#include "launch/machine.h"
#include "launch/memory_limit.h"
#include "launch/model_files.h"
#include "launch/model_path.h"
#include "launch/options.h"
#include "launch/parse.h"
#include "launch/plan_report.h"
#include "launch/probes.h"
#include "launch/prompt.h"
#include "launch/run_report.h"
#include "launch/sampling.h"
#include "launch/text_ids.h"
#include "runtime/base/units.h"
#include "runtime/device/worker_pool.h"
#include "runtime/kernels/kernel_table.h"
#include "storage/input_file.h"

namespace switchyard {
namespace {

constexpr double kLinkAssumed = 16e9;  // bytes a second to a device that was only described

struct PlanOptions {
  std::string model;
  EngineFlags engine;
  TextOptions text;
  SamplingFlags sampling;  // taken as `run` takes them; they cost next to nothing
  std::optional<std::string> ids;
  std::optional<uint32_t> prompt;
  std::optional<int64_t> tokens;
  std::optional<uint32_t> batch;
  std::optional<uint32_t> context;
  std::optional<uint64_t> ram;
  std::optional<uint64_t> vram;
  std::optional<std::string> trace;
  std::optional<std::string> json;
  bool ignore_eos = false;
  bool no_special = false;
  bool verify = false;
};

// Everything of one `plan`, in the order in which it happens.
class Plan {
 public:
  Plan(const PlanOptions& options, Console& console) : options_(options), console_(console) {}

  Result<int> execute() {
    TRY_STATUS(prepare());
    TRY_STATUS(find_figures());
    const Prediction prediction = TRY(predict(*source_, engine_options_, run_, figures_));
    std::ostream& out = options_.json == "-" ? console_.err : console_.out;
    out << heading() << prediction_text(prediction) << std::flush;
    Json report = prediction_json(prediction);
    if (options_.verify) {
      const MeasuredRun measured = TRY(verify());
      out << '\n' << comparison_text(prediction, measured) << std::flush;
      report["measured"] = measured_json(measured);
    }
    return options_.json ? write_report(std::move(report)) : Result<int>(0);
  }

 private:
  Status prepare() {
    if (options_.text.given() + (options_.ids ? 1 : 0) + (options_.prompt ? 1 : 0) > 1) {
      return fail(Code::kUsage, "give one of --prompt, -p, -f, --ids", {},
                  "see switchyard plan --help");
    }
    if (options_.engine.team.ranks.value_or(1) > 1) {
      return fail(Code::kUsage, "a plan is of one process, without other ranks", "--ranks");
    }
    if (options_.json) TRY_STATUS(check_json_target(*options_.json));
    path_ = TRY(resolve_model(options_.model, HubEnvironment::of_process()));
    source_ = TRY(open_model(options_.engine, path_));
    TRY_STATUS(check_context(options_.context, *source_));
    run_.prompt = TRY(prompt_tokens());
    run_.one_more_gib = true;
    TRY_STATUS(choose_engine());
    if (options_.trace) TRY_STATUS(load_trace());
    run_.program_bytes = resident_bytes() + tokenizer_bytes_;
    if (options_.vram) {
      run_.device_bytes = *options_.vram;
      run_.link_bytes_per_second = kLinkAssumed;
    } else {
      run_.take_device(engine_options_);
    }
    return {};
  }

  Result<uint32_t> prompt_tokens() const {
    const ModelSpec& spec = source_->spec();
    if (options_.ids) {
      const auto ids = TRY(parse_ids(*options_.ids));
      TRY_STATUS(check_ids(ids, spec.vocab));
      return static_cast<uint32_t>(ids.size());
    }
    if (options_.text.given() == 0) {
      return options_.prompt.value_or(std::min(kPromptDefault, spec.positions_max));
    }
    TextIds ids = TRY(TextIds::of_text(options_.text, TRY(load_tokenizer(path_)),
                                       !options_.no_special, spec.vocab, console_));
    TRY_STATUS(ids.need(spec.positions_max));
    return static_cast<uint32_t>(ids.known());
  }

  Status choose_engine() {
    const uint32_t limit = options_.context.value_or(source_->spec().positions_max);
    if (run_.prompt == 0 || run_.prompt > limit) {
      return fail(Code::kUsage, fmt::format("a prompt of {} tokens does not fit a context of {}",
                                            run_.prompt, limit));
    }
    const int64_t tokens = options_.tokens.value_or(kTokensDefault);
    const uint32_t context = options_.context.value_or(default_context(run_.prompt, tokens, limit));
    run_.tokens = tokens < 0 ? kOpenEndedTokens : static_cast<uint32_t>(tokens);
    EngineFlags flags = options_.engine;
    if (!flags.memory && options_.ram) flags.memory = default_memory_bytes(*options_.ram);
    const auto tokenizer = TRY(source_->text_file("tokenizer.json"));
    tokenizer_bytes_ = tokenizer ? tokenizer_memory_bytes(tokenizer->size()) : 0;
    engine_options_ = TRY(engine_options(flags, *source_, context, tokenizer_bytes_));
    engine_options_.sequences = options_.batch.value_or(1);
    run_.tokens = std::min(run_.tokens, context - run_.prompt + 1);
    const auto planned = Engine::plan(*source_, engine_options_);
    if (planned) return {};
    Error error = planned.error();  // too little memory is told before measuring
    const bool of_ram = options_.ram && !options_.engine.memory;
    if (of_ram && error.code == Code::kNoMemory && error.what.starts_with("--memory")) {
      error.where = "of --ram " + size_option(*options_.ram);
    }
    return tl::unexpected(std::move(error));
  }

  Status load_trace() {
    std::string warning;
    trace_ = TRY(read_trace(*options_.trace, warning));
    if (!warning.empty()) print_warning(warning, console_);
    run_.trace = &trace_;
    return {};
  }

  // Those that `doctor` left, if they are of the same threads and instructions.
  Status find_figures() {
    if (auto saved = load_machine_figures()) {
      figures_ = std::move(*saved);
      if (figures_suffice(figures_, *source_, engine_options_)) return {};
    }
    console_.err << "no figures of this machine for such a run: measuring; `switchyard doctor` "
                    "keeps them\n";
    WorkerPool pool(engine_options_.threads);
    const Kernels& kernels = *TRY(select_kernels(engine_options_.isa));
    const auto allowance = memory_allowance("");
    const uint64_t bytes = probe_memory_bytes(allowance ? allowance->bytes : 0);
    const DType dtype = source_->experts().layout().dtype;
    figures_.kernels = TRY(measure_kernels(pool, kernels, {&dtype, 1}, bytes));
    // As good as all that memory gives: one token's products wait for nothing else.
    const ProductCurve& curve = figures_.kernels.products.begin()->second;
    figures_.memory_bytes_per_second =
        curve.front().weights_per_second * static_cast<double>(dtype_bytes(dtype));
    figures_.threads = engine_options_.threads;
    return engine_options_.drive_bytes_per_second > 0 ? Status{} : measure_drive_of_model();
  }

  Status measure_drive_of_model() {
    const ExpertSource& experts = source_->experts();
    const auto pieces = experts.pieces(experts.keys().front());
    const DriveRate rate = TRY(measure_drive_file(pieces.front().file->path(), kDriveProbeSeconds));
    figures_.drive_bytes_per_second = rate.bytes_per_second;
    figures_.drive_burst_per_second = rate.burst_per_second;
    figures_.drive_latency_seconds = rate.latency_seconds;
    return {};
  }

  std::string heading() const {
    std::string text =
        fmt::format("{}: {}, {} threads; prompt {}, then {} tokens", options_.model,
                    source_->spec().family, engine_options_.threads, run_.prompt, run_.tokens);
    if (engine_options_.sequences > 1) {
      text += fmt::format(" of each of {} sequences", engine_options_.sequences);
    }
    return text + (run_.trace ? "; routing as traced\n" : "; routing uniform\n");
  }

  // The run itself, with random tokens.
  Result<MeasuredRun> verify() {
    forget_peak();
    const auto engine = TRY(start_engine(*source_, engine_options_, console_));
    MeasuredRun measured;
    if (engine_options_.sequences == 1) {
      TRY_STATUS(measure_one(*engine, measured));
    } else {
      TRY_STATUS(measure_batch(*engine, measured));
    }
    measured.peak_rss_bytes = peak_rss_bytes(engine_options_.device.get());
    return measured;
  }

  std::vector<TokenId> random_prompt(uint64_t stream) const {
    return random_ids(1, stream, run_.prompt, source_->spec().vocab);
  }

  Status measure_one(Engine& engine, MeasuredRun& measured) const {
    GenerationRequest request;
    request.prompt = random_prompt(0);
    request.tokens_max = run_.tokens;
    request.context = engine_options_.context;
    GenerationHooks hooks;
    hooks.on_token = [](TokenId) { return false; };
    hooks.interrupted = [] { return false; };
    const GenerationResult made = TRY(generate(engine, request, hooks));
    measured.prefill = run_.prompt / made.prefill_seconds;
    if (made.ids.size() > 1) {
      measured.decode = static_cast<double>(made.ids.size() - 1) / made.decode_seconds;
    }
    add_hits(made.all, made.prefill, measured);
    return {};
  }

  Status measure_batch(Engine& engine, MeasuredRun& measured) const {
    std::vector<std::vector<TokenId>> prompts;
    for (uint32_t i = 0; i < engine_options_.sequences; ++i) prompts.push_back(random_prompt(i));
    const Phase filled = TRY(time_prefill(engine, prompts.front()));
    measured.prefill = filled.per_second(run_.prompt);
    const uint32_t steps = std::max(run_.tokens, 2U) - 1;
    const Phase decoded = TRY(time_decode(engine, prompts, steps));
    measured.decode = decoded.per_second(static_cast<double>(steps) * engine_options_.sequences);
    add_hits(decoded.counters, {}, measured);
    return {};
  }

  static void add_hits(const EngineCounters& after, const EngineCounters& before,
                       MeasuredRun& measured) {
    const uint64_t hits = after.expert_hits - before.expert_hits;
    const auto uses = static_cast<double>(hits + after.expert_misses - before.expert_misses);
    if (uses == 0) return;
    measured.hit_rate = static_cast<double>(hits) / uses;
    measured.device_hit_rate = static_cast<double>(after.device.hits - before.device.hits) / uses;
  }

  // What measuring held is not the run's. Best effort: some systems do not allow it.
  static void forget_peak() {
    const UniqueFd fd(::open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC));
    if (fd.get() >= 0) (void)!::write(fd.get(), "5", 1);
  }

  Result<int> write_report(Json report) {
    report["model"] = options_.model;
    report["family"] = source_->spec().family;
    report["kind"] = source_->kind();
    report["prompt_tokens"] = run_.prompt;
    report["generated_tokens"] = run_.tokens;
    report["batch"] = engine_options_.sequences;
    report["context"] = engine_options_.context;
    report["threads"] = engine_options_.threads;
    report["layout"] = "A";
    report["ranks"] = 1;
    TRY_STATUS(write_json(*options_.json, report, console_));
    return 0;
  }

  const PlanOptions& options_;
  Console& console_;
  std::string path_;
  std::unique_ptr<ModelSource> source_;
  uint64_t tokenizer_bytes_ = 0;
  EngineOptions engine_options_;
  RoutingTrace trace_;
  PlannedRun run_;
  MachineFigures figures_;
};

Command::Body prepare_plan(OptionList& list) {
  auto options = std::make_shared<PlanOptions>();
  list.positional("MODEL", options->model, "a folder, ORG/NAME[@REV] in the HF cache, or a pack");
  list.count("--prompt", options->prompt, 1, 1 << 20,
             "tokens of the prompt; default: 512, or what the model takes");
  list.text("-p", "TEXT", options->text.prompt, "the prompt");
  list.text("-f,--file", "FILE", options->text.file, "a file with the prompt; -: standard input");
  list.text("--ids", "LIST", options->ids, "the prompt as token ids");
  list.integer("-n,--tokens", options->tokens, -1, INT32_MAX, "tokens to generate; default: 128");
  list.count("--batch", options->batch, 1, 4096, "sequences decoded in a step; default: 1");
  options->sampling.add_to(list);
  list.flag("--ignore-eos", options->ignore_eos, "as in run");
  list.flag("--no-special", options->no_special, "adds no special tokens to the prompt");
  options->engine.add_to(list);
  list.count("--context", options->context, 1, INT32_MAX,
             "positions at most; default: what prompt and -n need");
  list.size("--ram", options->ram, "memory of a machine that is not this one");
  list.size("--vram", options->vram, "memory of its device, which holds experts too");
  list.text("--trace", "FILE", options->trace,
            "a routing trace; without one, every expert is as likely as any other");
  list.flag("--verify", options->verify, "runs the model too, with random tokens");
  list.output("--json", "FILE", options->json, "the same as JSON; -: to standard output, alone");
  return {[options](Console& console) { return Plan(*options, console).execute(); }};
}

}  // namespace

Command plan_command() {
  return {"plan",
          "where a model would go and how fast it would be, before loading; --drive is the rate of "
          "the drive",
          "  switchyard plan MODEL --memory 8GiB\n"
          "  switchyard plan MODEL --ram 32GiB --drive 3GB/s --batch 4 --json -\n"
          "  switchyard plan MODEL --expert-memory 25% --prompt 256 -n 32 --verify\n",
          prepare_plan};
}

}  // namespace switchyard
