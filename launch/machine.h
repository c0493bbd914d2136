#pragma once

// What a machine was measured to give, kept between runs: the bounds that reports compare with.

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "runtime/base/result.h"
#include "scheduler/cost_model.h"

namespace switchyard {

// What the engine's own work was measured to take with so many threads, see launch/calibration.h.
struct KernelFigures {
  std::map<std::string, ProductCurve> products;  // by the weights' type
  double section_seconds = 0;
  double attention_flops = 0;
  double row_elements = 0;
  double checksum_bytes_per_second = 0;
  double interleave_bytes_per_second = 0;
};

// Rates are 0 where they were not measured.
struct MachineFigures {
  double memory_bytes_per_second = 0;  // read by `threads` threads
  double fma_flops = 0;                // fp32 operations a second, two a multiply-add
  double drive_bytes_per_second = 0;   // of the drive under drive_path
  double drive_burst_per_second = 0;   // what it gives for a moment after a pause
  double drive_latency_seconds = 0;    // of one small read by itself
  std::string drive_path;
  KernelFigures kernels = {};
  uint32_t threads = 0;
  std::string isa;
  std::string host;
  std::string when;  // 2026-01-31T12:00:00Z
};

// The variables that say where the figures are kept.
struct CacheEnvironment {
  std::optional<std::string> switchyard_cache;
  std::optional<std::string> xdg_cache_home;
  std::optional<std::string> home;

  static CacheEnvironment of_process();
  // $SWITCHYARD_CACHE/machine.json, else the same in $XDG_CACHE_HOME/switchyard or
  // ~/.cache/switchyard; nothing when no variable tells.
  std::optional<std::string> machine_file() const;
};

std::string host_name();
std::string utc_now();  // as MachineFigures::when

// This host's figures from the process's machine file. kNoInput when there are none yet, kBadData
// when the file is damaged: worth a warning, never a reason to stop.
Result<MachineFigures> load_machine_figures();
Result<MachineFigures> load_machine_figures(const std::string& path, const std::string& host);

// Keeps `figures` beside those of other hosts that share the file, making its folder. A damaged
// file is begun anew. Returns the file's path. kIo, kPermission; kNoInput when no variable tells
// where.
Result<std::string> save_machine_figures(const MachineFigures& figures);
Status save_machine_figures(const MachineFigures& figures, const std::string& path);

}  // namespace switchyard
