// doctor: what this machine and job offer, and how to mend what is missing.

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <iterator>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <ostream>

#include "launch/calibration.h"
#include "launch/checks.h"
#include "launch/commands/commands.h"
#include "launch/cpu_limit.h"
#include "launch/json_output.h"
#include "launch/machine.h"
#include "launch/memory_limit.h"
#include "launch/options.h"
#include "launch/probes.h"
#include "launch/rank_table.h"
#include "runtime/base/units.h"
#include "runtime/device/worker_pool.h"
#include "runtime/kernels/kernel_table.h"

namespace switchyard {
namespace {

constexpr double kMemorySeconds = 1.0;
constexpr double kFmaSeconds = 0.5;
constexpr double kDriveSeconds = 2.0;

struct DoctorOptions {
  std::string path = ".";
  std::optional<std::string> json;
  std::optional<uint32_t> threads;
};

Json to_json(const Check& check) {
  return {{"name", check.name},
          {"state", check_state_name(check.state)},
          {"value", check.value},
          {"mend", check.mend}};
}

Check failed_check(const char* name, const Error& error) {
  const std::string value = error.where.empty() ? error.what : error.where + ": " + error.what;
  return {name, CheckState::kMissing, value, error.hint};
}

// Everything one call of `doctor` finds out.
class Doctor {
 public:
  Doctor(const DoctorOptions& options, Console& console) : options_(options), console_(console) {}

  Result<int> execute() {
    if (options_.json) TRY_STATUS(check_json_target(*options_.json));
    TRY_STATUS(begin());
    look();
    measure_processor();
    measure_drive_rate();
    if (console_.world != nullptr) TRY_STATUS(ask_ranks());
    // JSON for standard output comes alone there.
    std::ostream& out = options_.json == "-" ? console_.err : console_.out;
    out << checks_table(checks_);
    if (ranks_) out << places_text(ranks_->ranks);
    const std::string saved = save(out);
    out << std::flush;
    if (options_.json) TRY_STATUS(write_report(saved));
    return exit_code_;
  }

 private:
  Status begin() {
    std::error_code error;
    const auto path = std::filesystem::canonical(options_.path, error);
    if (error) return fail_errno(error.value(), "cannot look at", options_.path);
    figures_.drive_path = path.string();
    figures_.threads = options_.threads ? *options_.threads : usable_threads("");
    kernels_ = TRY(select_kernels(""));
    figures_.isa = kernels_->name;
    figures_.host = host_name();
    figures_.when = utc_now();
    return {};
  }

  void look() {
    checks_ = {check_cores(""),      check_instruction_sets(), check_numa(),   check_memory(""),
               check_huge_pages(""), check_io_uring(""),       check_memlock()};
  }

  void measure_processor() {
    WorkerPool pool(figures_.threads);
    figures_.fma_flops = measure_fma(pool, *kernels_, kFmaSeconds);
    const auto allowance = memory_allowance("");
    const uint64_t bytes = probe_memory_bytes(allowance ? allowance->bytes : 0);
    calibrate(pool, bytes);
    auto probe = MemoryProbe::create(pool, bytes);
    if (!probe) {
      checks_.push_back(failed_check("memory rate", probe.error()));
      exit_code_ = static_cast<int>(probe.error().code);
    } else {
      const MemoryProbe::Rate rate = probe->measure(*kernels_, kMemorySeconds);
      figures_.memory_bytes_per_second = rate.bytes_per_second;
      checks_.push_back({"memory rate", CheckState::kOk,
                         fmt::format("{} read by {} threads, {} streams each, over {}",
                                     format_rate(rate.bytes_per_second), figures_.threads,
                                     rate.streams, format_size(probe->bytes())),
                         ""});
    }
    checks_.push_back({"multiply-add rate", CheckState::kOk,
                       fmt::format("{:.1f} GFLOP/s fp32, {} threads, {}", figures_.fma_flops / 1e9,
                                   figures_.threads, figures_.isa),
                       ""});
  }

  // What `plan` and `run` predict with.
  void calibrate(WorkerPool& pool, uint64_t bytes) {
    constexpr std::array kTypes = {DType::kBF16, DType::kF16, DType::kF32};
    auto kernels = measure_kernels(pool, *kernels_, kTypes, bytes);
    if (!kernels) {
      checks_.push_back(failed_check("products", kernels.error()));
      return;
    }
    figures_.kernels = std::move(*kernels);
    const ProductCurve& curve = figures_.kernels.products.at("BF16");
    checks_.push_back({"products", CheckState::kOk,
                       fmt::format("{} of BF16 weights with one token, {:.1f} GFLOP/s with many",
                                   format_rate(2 * curve.front().weights_per_second),
                                   2e-9 * curve.back().tokens * curve.back().weights_per_second),
                       ""});
  }

  void measure_drive_rate() {
    const auto rate = measure_drive(figures_.drive_path, kDriveSeconds);
    if (!rate) {
      Check check = failed_check("drive rate", rate.error());
      if (check.mend.empty()) check.mend = "name a folder that can be written, or a large file";
      checks_.push_back(std::move(check));
    } else {
      figures_.drive_bytes_per_second = rate->bytes_per_second;
      figures_.drive_burst_per_second = rate->burst_per_second;
      figures_.drive_latency_seconds = rate->latency_seconds;
      checks_.push_back({"drive rate", CheckState::kOk,
                         fmt::format("{} read at {}, blocks of {}, {} in flight, {}",
                                     format_rate(rate->bytes_per_second), figures_.drive_path,
                                     format_size(rate->block_bytes), kDriveProbeDepth, rate->queue),
                         rate->warning});
      checks_.push_back(direct_check(*rate));
    }
    checks_.push_back(check_mpi());
    checks_.push_back(check_cuda());
  }

  static Check direct_check(const DriveRate& rate) {
    if (rate.direct) return {"O_DIRECT", CheckState::kOk, "works there", ""};
    const std::string why = rate.direct_refusal.empty() ? "needs io_uring" : rate.direct_refusal;
    return {"O_DIRECT", CheckState::kMissing, why,
            "reads go through the page cache, which is slower and takes memory; keep models on "
            "ext4 or XFS"};
  }

  Status ask_ranks() {
    ranks_ = TRY(collect_places(*console_.world));
    std::ranges::move(check_ranks(*ranks_), std::back_inserter(checks_));
    return {};
  }

  // Where the figures are kept now, or "" with a warning. A drive that could not be measured leaves
  // what was known of one.
  std::string save(std::ostream& out) {
    MachineFigures kept = figures_;
    if (const auto old = load_machine_figures(); old && kept.drive_bytes_per_second <= 0) {
      kept.drive_bytes_per_second = old->drive_bytes_per_second;
      kept.drive_burst_per_second = old->drive_burst_per_second;
      kept.drive_latency_seconds = old->drive_latency_seconds;
      kept.drive_path = old->drive_path;
    }
    const auto path = save_machine_figures(kept);
    if (path) {
      out << "saved in " << *path << '\n';
      return *path;
    }
    console_.err << "warning: not saved: " << to_line(path.error()) << std::endl;
    return {};
  }

  Status write_report(const std::string& saved) {
    Json checks = Json::array();
    for (const Check& check : checks_) checks.push_back(to_json(check));
    Json report = {{"checks", checks},
                   {"memory_bytes_per_second", figures_.memory_bytes_per_second},
                   {"fma_flops", figures_.fma_flops},
                   {"drive_bytes_per_second", figures_.drive_bytes_per_second},
                   {"drive_path", figures_.drive_path},
                   {"threads", figures_.threads},
                   {"isa", figures_.isa},
                   {"host", figures_.host},
                   {"when", figures_.when},
                   {"saved", saved}};
    if (ranks_) report["ranks"] = places_json(*ranks_);
    return write_json(*options_.json, report, console_);
  }

  const DoctorOptions& options_;
  Console& console_;
  const Kernels* kernels_ = nullptr;
  MachineFigures figures_;
  std::vector<Check> checks_;
  std::optional<RankTable> ranks_;  // of a job
  int exit_code_ = 0;
};

Command::Body prepare_doctor(OptionList& list) {
  auto options = std::make_shared<DoctorOptions>();
  list.optional_positional("PATH", options->path,
                           "a folder or file on the drive to measure; default: this folder");
  list.count("-t,--threads", options->threads, 1, 1024, "default: the cores this process may use");
  list.output("--json", "FILE", options->json, "the same as JSON; -: to standard output");
  return {.run = [options](Console& console) { return Doctor(*options, console).execute(); },
          .serve = [](Console& console) -> Result<int> {
            TRY_STATUS(tell_place(*console.world));
            return 0;
          }};
}

}  // namespace

Command doctor_command() {
  return {"doctor", "what this machine and job offer, and how to mend what is missing",
          "  switchyard doctor\n"
          "  switchyard doctor /mnt/models --json machine.json\n",
          prepare_doctor};
}

}  // namespace switchyard
