// pack: a checkpoint's folder to one file, and the check of such a file.

#include <fmt/format.h>

#include <algorithm>
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
#include "runtime/engine/pack_names.h"
#include "runtime/engine/pack_volumes.h"
#include "storage/pack_writer.h"

namespace switchyard {
namespace {

struct PackOptions {
  std::string model;
  std::string out;
  std::vector<std::string> volumes;
  bool verify = false;
  bool force = false;
  std::optional<std::string> order, json;
};

Result<int> report(const PackOptions& options, const std::vector<PackReader>& volumes,
                   double seconds, const char* done, Console& console) {
  const PackReader& pack = volumes.front();
  uint64_t bytes = 0, sections = 0;
  for (const PackReader& volume : volumes) {
    bytes += volume.file().size_bytes();
    sections += volume.sections().size();
  }
  if (!options.json || *options.json != "-") {
    console.out << fmt::format("{} {}: {} in {} sections, {} at {}\n", done, pack.file().path(),
                               format_size(bytes), sections, format_seconds(seconds),
                               format_rate(static_cast<double>(bytes) / seconds));
  }
  if (options.json) {
    TRY_STATUS(write_json(*options.json,
                          {{"path", pack.file().path()},
                           {"bytes", bytes},
                           {"sections", sections},
                           {"volumes", volumes.size()},
                           {"seconds", seconds}},
                          console));
  }
  return 0;
}

Result<int> verify(const PackOptions& options, Console& console) {
  if (!options.out.empty() || !options.volumes.empty()) {
    return fail(Code::kUsage, "--verify takes one pack, no OUT and no --volume");
  }
  const double begin = now_seconds();
  const std::vector<PackReader> volumes = TRY(open_volumes(options.model));
  if (volumes.front().find(kPackVolumeName) != nullptr) {
    return fail(Code::kUsage, "is a volume of a pack", options.model, "name the pack itself");
  }
  for (const PackReader& volume : volumes) {
    Progress progress(console, "verifying");
    TRY_STATUS(volume.verify([&](uint64_t done, uint64_t all) { progress.update(done, all); }));
  }
  return report(options, volumes, now_seconds() - begin, "verified", console);
}

Status check_out(const std::string& out, bool force) {
  std::error_code ignored;
  if (std::filesystem::is_directory(out, ignored)) {
    return fail(Code::kIo, "is a folder", out, "OUT is the pack's own name");
  }
  const std::string target = TRY(output_target(out));
  if (!std::filesystem::exists(target, ignored)) return {};
  if (looks_like_pack(target)) remove_journal_of_finished(out);
  if (!force) return fail(Code::kIo, "exists already", out, "--force replaces it");
  if (!looks_like_pack(target)) {
    return fail(Code::kIo, "is no pack and will not be replaced", out, "remove it first");
  }
  return {};
}

// Where a file lies, its folder's links followed: it may not be there yet.
std::string place_of(const std::string& path) {
  std::error_code ignored;
  const auto absolute = std::filesystem::absolute(path, ignored).lexically_normal();
  const auto folder = std::filesystem::weakly_canonical(absolute.parent_path(), ignored);
  return (folder / absolute.filename()).string();
}

// The volumes behind the first, where other folders find them too.
Result<std::vector<std::string>> volume_paths(const PackOptions& options) {
  if (options.volumes.size() > kVolumesMax) {
    return fail(Code::kUsage, fmt::format("more than {} volumes", kVolumesMax), "--volume");
  }
  std::vector<std::string> paths, all;
  const auto add_names = [&](const std::string& path) {
    for (const char* suffix : {"", ".partial", ".partial.journal"}) all.push_back(path + suffix);
  };
  add_names(place_of(options.out));
  for (const std::string& volume : options.volumes) {
    if (volume.empty() || !is_utf8(volume)) {
      return fail(Code::kUsage, "a volume's name is empty or not UTF-8", "--volume");
    }
    paths.push_back(place_of(volume));
    add_names(paths.back());
  }
  std::ranges::sort(all);
  if (std::ranges::adjacent_find(all) == all.end()) return paths;
  return fail(Code::kUsage, "every volume needs a name of its own", "--volume");
}

// A volume that was finished before an interruption kept the pack itself from it is written anew.
Status check_volumes(const PackOptions& options, const std::vector<std::string>& paths,
                     const ModelSource& source) {
  std::error_code ignored;
  const bool interrupted = !std::filesystem::exists(options.out, ignored);
  for (const std::string& path : paths) {
    const bool ours = interrupted && is_volume_of(path, pack_id(source, paths.size()));
    TRY_STATUS(check_out(path, options.force || ours));
  }
  return {};
}

Result<int> pack(const PackOptions& options, Console& console) {
  if (options.json) TRY_STATUS(check_json_target(*options.json));
  if (options.verify) return verify(options, console);
  if (options.out.empty()) return fail(Code::kUsage, "OUT is missing; see switchyard pack --help");
  TRY_STATUS(check_out(options.out, options.force));
  const std::vector<std::string> volumes = TRY(volume_paths(options));
  StopSignal signal;
  const double begin = now_seconds();
  const std::string path = TRY(resolve_model(options.model, HubEnvironment::of_process()));
  const auto source = TRY(ModelSource::open(path));
  if (options.order) TRY_STATUS(source->read_expert_order(*options.order));
  TRY_STATUS(check_volumes(options, volumes, *source));
  signal.defer();
  {
    Progress progress(console, "packing");
    TRY_STATUS(write_pack(*source, options.out, volumes, [&](uint64_t done, uint64_t all) {
      progress.update(done, all);
      return signal.received() == 0;
    }));
  }
  return report(options, TRY(open_volumes(options.out)), now_seconds() - begin, "packed", console);
}

Command::Body prepare_pack(OptionList& list) {
  auto options = std::make_shared<PackOptions>();
  list.positional("MODEL", options->model,
                  "a folder or ORG/NAME[@REV] in the HF cache; with --verify a pack");
  list.optional_positional("OUT", options->out, "the pack to write");
  list.flag("--verify", options->verify, "checks every byte of the pack MODEL instead");
  list.text("--order", "FILE", options->order,
            "the order in which experts are summed, as switchyard group wrote it; it stays in the "
            "pack");
  list.texts("--volume", "FILE", options->volumes,
             "shares the experts between OUT and this file on another drive; may be repeated");
  list.flag("--force", options->force, "replaces OUT and volumes if they are packs");
  list.output("--json", "FILE", options->json, "sizes and times; -: to standard output, alone");
  return {[options](Console& console) { return pack(*options, console); }};
}

}  // namespace

Command pack_command() {
  return {"pack", "writes a model as one file of aligned, checksummed experts",
          "  switchyard pack MODEL model.pack\n"
          "  switchyard pack ORG/NAME@main /data/model.pack --force\n"
          "  switchyard pack MODEL /fast1/model.pack --volume /fast2/model.pack.2\n"
          "  switchyard pack --verify model.pack\n",
          prepare_pack};
}

}  // namespace switchyard
