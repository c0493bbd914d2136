#pragma once

// What `run` reports at its end, for people and as JSON.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "launch/generation.h"
#include "launch/prediction.h"
#include "runtime/base/json.h"

namespace switchyard {

class Device;

// What this machine was measured to give; 0: not known.
struct MachineLimits {
  double memory_bytes_per_second = 0;
  double drive_bytes_per_second = 0;
};

struct RunReport {
  GenerationResult generation;
  std::string text;
  uint64_t prompt_tokens = 0;
  double load_seconds = 0;
  uint64_t load_bytes = 0;
  MemoryPlan memory;
  uint64_t peak_rss_bytes = 0;
  std::string isa;
  std::string read_path;
  std::string policy, predictor;
  std::string device = "none";
  uint32_t device_slots = 0;
  std::optional<double> oracle_hit_rate;  // of the last tokens
  // Of the predictor: [horizons][layers that have routers]; empty: nothing was guessed.
  std::vector<std::vector<LayerRecall>> recall;
  uint32_t threads = 0;
  uint32_t context = 0;
  uint32_t experts = 0;  // of all layers
  Layout layout = Layout::kAuto;
  std::vector<RankReport> ranks;  // none for one
  MachineLimits limits;
  std::optional<Prediction> predicted;  // nothing where this machine was not measured

  double prefill_rate() const;  // tokens a second
  double decode_rate() const;
  double hit_rate() const;                 // 0…1
  double weight_bytes_per_second() const;  // while decoding
  double read_bytes_per_second() const;    // since the prompt began
};

Json report_json(const RunReport& report);

// Several lines.
std::string report_summary(const RunReport& report);

// The largest resident size this process ever had, without what stood for `device`'s memory (null:
// there is none).
uint64_t peak_rss_bytes(const Device* device);

}  // namespace switchyard
