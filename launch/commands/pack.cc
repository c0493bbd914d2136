// pack: a checkpoint's folder to one file, and the check of such a file.

#include <fmt/format.h>

#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <ostream>

#include "launch/commands/commands.h"
#include "launch/json_output.h"
#include "launch/model_path.h"
#include "launch/options.h"
#include "launch/progress.h"
#include "launch/stop_signal.h"
#include "runtime/base/clock.h"
#include "runtime/base/file.h"
#include "runtime/base/units.h"
#include "runtime/engine/model_source.h"
#include "storage/pack_reader.h"

namespace switchyard {
namespace {

struct PackOptions {
  std::string model;
  std::string out;
  bool verify = false;
  bool force = false;
  std::optional<std::string> json;
};

Result<int> report(const PackOptions& options, const PackReader& pack, double seconds,
                   const char* done, Console& console) {
  const uint64_t bytes = pack.file().size_bytes();
  if (!options.json || *options.json != "-") {
    console.out << fmt::format("{} {}: {} in {} sections, {} at {}\n", done, pack.file().path(),
                               format_size(bytes), pack.sections().size(), format_seconds(seconds),
                               format_rate(static_cast<double>(bytes) / seconds));
  }
  if (options.json) {
    TRY_STATUS(write_json(*options.json,
                          {{"path", pack.file().path()},
                           {"bytes", bytes},
                           {"sections", pack.sections().size()},
                           {"seconds", seconds}},
                          console));
  }
  return 0;
}

Result<int> verify(const PackOptions& options, Console& console) {
  if (!options.out.empty()) return fail(Code::kUsage, "--verify takes one pack and no OUT");
  const double begin = now_seconds();
  const PackReader pack = TRY(PackReader::open(options.model));
  {
    Progress progress(console, "verifying");
    TRY_STATUS(pack.verify([&](uint64_t done, uint64_t all) { progress.update(done, all); }));
  }
  return report(options, pack, now_seconds() - begin, "verified", console);
}

Status check_out(const PackOptions& options) {
  if (options.out.empty()) return fail(Code::kUsage, "OUT is missing; see switchyard pack --help");
  std::error_code ignored;
  if (std::filesystem::is_directory(options.out, ignored)) {
    return fail(Code::kIo, "is a folder", options.out, "OUT is the pack's own name");
  }
  const std::string target = TRY(output_target(options.out));
  if (!std::filesystem::exists(target, ignored)) return {};
  if (!options.force) return fail(Code::kIo, "exists already", options.out, "--force replaces it");
  if (!looks_like_pack(target)) {
    return fail(Code::kIo, "is no pack and will not be replaced", options.out, "remove it first");
  }
  return {};
}

Result<int> pack(const PackOptions& options, Console& console) {
  if (options.json) TRY_STATUS(check_json_target(*options.json));
  if (options.verify) return verify(options, console);
  TRY_STATUS(check_out(options));
  StopSignal signal;
  const double begin = now_seconds();
  const std::string path = TRY(resolve_model(options.model, HubEnvironment::of_process()));
  const auto source = TRY(ModelSource::open(path));
  signal.defer();
  {
    Progress progress(console, "packing");
    TRY_STATUS(write_pack(*source, options.out, [&](uint64_t done, uint64_t all) {
      progress.update(done, all);
      return signal.received() == 0;
    }));
  }
  const PackReader written = TRY(PackReader::open(options.out));
  return report(options, written, now_seconds() - begin, "packed", console);
}

Command::Body prepare_pack(OptionList& list) {
  auto options = std::make_shared<PackOptions>();
  list.positional("MODEL", options->model,
                  "a folder or ORG/NAME[@REV] in the HF cache; with --verify a pack");
  list.optional_positional("OUT", options->out, "the pack to write");
  list.flag("--verify", options->verify, "checks every byte of the pack MODEL instead");
  list.flag("--force", options->force, "replaces OUT if it is a pack");
  list.text("--json", "FILE", options->json, "sizes and times; -: to standard output, alone");
  return [options](Console& console) { return pack(*options, console); };
}

}  // namespace

Command pack_command() {
  return {"pack", "writes a model as one file of aligned, checksummed experts",
          "  switchyard pack MODEL model.pack\n"
          "  switchyard pack ORG/NAME@main /data/model.pack --force\n"
          "  switchyard pack --verify model.pack\n",
          prepare_pack};
}

}  // namespace switchyard
