#include "launch/crew.h"

#include <fmt/format.h>

#include <algorithm>
#include <thread>
#include <utility>
#include <vector>

#include "comm/collectives.h"
#include "comm/loopback_world.h"
#include "launch/model_path.h"
#include "launch/progress.h"
#include "launch/version.h"
#include "runtime/base/align.h"
#include "runtime/base/byte_fields.h"
#include "runtime/base/units.h"

namespace switchyard {
namespace {

constexpr uint64_t kMiB = 1 << 20;

// What rank 0 knows of the work ahead and the others have to know.
struct JobSetup {
  uint32_t context = 0;
  uint32_t sequences = 0;
  GivenTexts texts = {};  // the model's small files
};

void put_long_text(std::string& out, const std::string& text) {
  put(out, uint64_t{text.size()});
  out += text;
}

std::string encode(const JobSetup& setup) {
  std::string out;
  put(out, setup.context);
  put(out, setup.sequences);
  put(out, uint64_t{setup.texts.size()});
  for (const auto& [name, text] : setup.texts) {
    put_long_text(out, name);
    put_long_text(out, text);
  }
  return out;
}

Result<JobSetup> decode_setup(const std::string& bytes) {
  ByteCursor cursor(bytes);
  JobSetup setup;
  setup.context = cursor.number<uint32_t>();
  setup.sequences = cursor.number<uint32_t>();
  const auto take_text = [&] { return std::string(cursor.take(cursor.number<uint64_t>())); };
  for (auto texts = cursor.number<uint64_t>(); texts > 0 && cursor.ok(); --texts) {
    const std::string name = take_text();
    setup.texts[name] = take_text();
  }
  if (!cursor.at_end() || setup.context == 0 || setup.sequences == 0) {
    return fail(Code::kInternal, "tells nothing of the work ahead", "rank 0");
  }
  return setup;
}

// Ranks that are threads of this process.
class Threads {
 public:
  Threads(const ModelSource& source, const EngineOptions& options)
      : worlds_(make_loopback(options.team.threads)) {
    for (uint32_t rank = 1; rank < worlds_.size(); ++rank) {
      EngineOptions of_rank = options_of(options, rank);
      of_rank.on_routing = {};
      of_rank.spans = nullptr;
      of_rank.other_bytes = 0;  // rank 0's
      if (options.replay) of_rank.replay = std::make_shared<RoutingReplay>(*options.replay);
      threads_.emplace_back([&source, of_rank = std::move(of_rank)] {
        // What goes wrong here is told to rank 0, whose error it becomes.
        auto engine = Engine::create(source, of_rank, {});
        if (engine) (void)(*engine)->serve();
      });
    }
  }
  ~Threads() {
    for (std::thread& thread : threads_) thread.join();
  }
  Threads(const Threads&) = delete;

  EngineOptions options_of(const EngineOptions& options, uint32_t rank) {
    EngineOptions of_rank = options;
    of_rank.team.world = worlds_[rank].get();
    return of_rank;
  }

 private:
  std::vector<std::unique_ptr<World>> worlds_;
  std::vector<std::thread> threads_;
};

// What is wrong with the one command line of threads is no rank's; a budget that they share is
// their sum, not a rank's part.
Error in_all(Error error, const ModelSource& source, const EngineOptions& options) {
  if (error.where.starts_with("rank ")) {
    const size_t colon = error.where.find(": ");
    error.where = colon == std::string::npos ? "" : error.where.substr(colon + 2);
  }
  if (error.code != Code::kNoMemory) return error;
  const uint64_t ranks = options.team.threads;
  const auto in_sum = [&](const char* option, uint64_t of_rank, uint64_t least) {
    error.what = fmt::format("{} {} is too small for {} ranks of this model and request", option,
                             size_option(of_rank * ranks), ranks);
    error.hint = fmt::format("{} {} does", option, size_option(round_up(least, kMiB) * ranks));
  };
  const auto least = Engine::minimum_bytes(source, options);
  if (error.what.starts_with("--memory") && least) {
    in_sum("--memory", options.memory_bytes, *least);
  } else if (error.what.starts_with("--expert-memory")) {
    in_sum("--expert-memory", options.expert_bytes_max,
           source.spec().moe.top_k * source.experts().slot_bytes());
  }
  return error;
}

// What ranks cannot do together.
Status check_team(const EngineOptions& options) {
  const TeamOptions& team = options.team;
  if (team.alone() && team.threads == 1) return {};
  const bool split = team.layout == Layout::kB;
  if (options.on_routing && !split && team.owners.kind != OwnerKind::kNone) {
    return fail(Code::kUsage, "rank 0 does not see all routes then", "--record-routing",
                "use --owners none or --layout B");
  }
  if (options.replay && split) {
    return fail(Code::kUsage, "routes are not replayed where heads are split", "--replay-routing",
                "use --layout A or C");
  }
  if (options.device && team.threads > 1) {
    return fail(Code::kUsage, "ranks of one process cannot share a device", "--device",
                "start them with mpirun");
  }
  return {};
}

Result<EngineHandle> create_engine(const ModelSource& source, const EngineOptions& options,
                                   const LoadProgress& load) {
  TRY_STATUS(check_team(options));
  if (options.team.threads > 1) {
    auto threads = std::make_shared<Threads>(source, options);
    auto engine = Engine::create(source, threads->options_of(options, 0), load);
    if (!engine) {
      return tl::unexpected(in_all(engine.error(), source, threads->options_of(options, 0)));
    }
    return EngineHandle(engine->release(), [threads](Engine* ended) { delete ended; });
  }
  if (!options.team.alone()) {
    const std::string setup = encode({options.context, options.sequences, source.small_texts()});
    TRY(broadcast_text(*options.team.world, 0, setup, {"the work ahead"}));
  }
  auto engine = TRY(Engine::create(source, options, load));
  return EngineHandle(engine.release(), std::default_delete<Engine>());
}

}  // namespace

Result<EngineHandle> start_engine(const ModelSource& source, const EngineOptions& options,
                                  Console& console) {
  EngineHandle engine;
  {
    Progress progress(console, "loading");
    LoadProgress load;
    load.report = [&](uint64_t done, uint64_t all) { progress.update(done, all); };
    engine = TRY(create_engine(source, options, load));
  }
  for (const std::string& warning : source.spec().warnings) {
    print_warning(warning, console);
  }
  for (const std::string& warning : {options.team.warning, engine->warning()}) {
    if (!warning.empty()) print_warning(warning, console);
  }
  return engine;
}

Result<int> serve_rank(const EngineFlags& flags, const std::string& model, Console& console,
                       const AdaptRank& adapt) {
  const std::string path = TRY(resolve_model(model, HubEnvironment::of_process()));
  const JobSetup setup = TRY(decode_setup(
      TRY(broadcast_text(*console.world, 0, {}, {.what = "the work ahead", .patient = true}))));
  auto opened = open_model(flags, path, setup.texts);
  if (!opened) {
    opened.error().hint = "every rank needs the model that rank 0 has";
    return tl::unexpected(opened.error());
  }
  const auto source = *std::move(opened);
  EngineOptions options = TRY(engine_options(flags, *source, setup.context, 0, console.world));
  options.sequences = setup.sequences;
  if (adapt) TRY_STATUS(adapt(*source, options));
  const auto engine = TRY(Engine::create(*source, options, {}));
  if (!engine->warning().empty()) print_warning(engine->warning(), console);
  TRY_STATUS(engine->serve());
  return 0;
}

}  // namespace switchyard
