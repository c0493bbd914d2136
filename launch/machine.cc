#include "launch/machine.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <ctime>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "runtime/base/file.h"
#include "runtime/base/json.h"
#include "runtime/base/process.h"
#include "storage/output_file.h"

namespace switchyard {
namespace {

constexpr uint64_t kFileBytesMax = 1 << 20;
constexpr size_t kCurvePointsMax = 64;
constexpr const char* kMendHint = "run `switchyard doctor` to measure again";

double rate_at(const Json& entry, const char* key) {
  const auto at = entry.find(key);
  if (at == entry.end() || !at->is_number()) return 0;
  const double rate = at->get<double>();
  return std::isfinite(rate) && rate > 0 ? rate : 0;
}

std::string text_at(const Json& entry, const char* key) {
  const auto at = entry.find(key);
  return at != entry.end() && at->is_string() ? at->get<std::string>() : std::string();
}

// A curve that is damaged in any way is none.
ProductCurve curve_from_json(const Json& points) {
  ProductCurve curve;
  if (!points.is_array() || points.size() > kCurvePointsMax) return {};
  for (const Json& point : points) {
    if (!point.is_object()) return {};
    const auto tokens = static_cast<uint32_t>(std::min(rate_at(point, "tokens"), 65536.0));
    const double rate = rate_at(point, "weights_per_second");
    if (rate <= 0 || tokens <= (curve.empty() ? 0 : curve.back().tokens)) return {};
    curve.push_back({tokens, rate});
  }
  return curve;
}

KernelFigures kernels_from_json(const Json& entry) {
  KernelFigures figures;
  const auto kernels = entry.find("kernels");
  if (kernels == entry.end() || !kernels->is_object()) return figures;
  figures.section_seconds = rate_at(*kernels, "section_seconds");
  figures.attention_flops = rate_at(*kernels, "attention_flops");
  figures.row_elements = rate_at(*kernels, "row_elements");
  figures.checksum_bytes_per_second = rate_at(*kernels, "checksum_bytes_per_second");
  figures.interleave_bytes_per_second = rate_at(*kernels, "interleave_bytes_per_second");
  const auto products = kernels->find("products");
  if (products == kernels->end() || !products->is_object()) return figures;
  for (const auto& [dtype, points] : products->items()) {
    ProductCurve curve = curve_from_json(points);
    if (!curve.empty()) figures.products[dtype] = std::move(curve);
  }
  return figures;
}

Json to_json(const KernelFigures& figures) {
  Json products = Json::object();
  for (const auto& [dtype, curve] : figures.products) {
    Json& points = products[dtype] = Json::array();
    for (const ProductPoint& point : curve) {
      points.push_back(
          {{"tokens", point.tokens}, {"weights_per_second", point.weights_per_second}});
    }
  }
  return {{"products", std::move(products)},
          {"section_seconds", figures.section_seconds},
          {"attention_flops", figures.attention_flops},
          {"row_elements", figures.row_elements},
          {"checksum_bytes_per_second", figures.checksum_bytes_per_second},
          {"interleave_bytes_per_second", figures.interleave_bytes_per_second}};
}

MachineFigures from_json(const Json& entry, const std::string& host) {
  MachineFigures figures;
  figures.memory_bytes_per_second = rate_at(entry, "memory_bytes_per_second");
  figures.fma_flops = rate_at(entry, "fma_flops");
  figures.drive_bytes_per_second = rate_at(entry, "drive_bytes_per_second");
  figures.drive_burst_per_second = rate_at(entry, "drive_burst_per_second");
  figures.drive_latency_seconds = rate_at(entry, "drive_latency_seconds");
  figures.drive_path = text_at(entry, "drive_path");
  figures.kernels = kernels_from_json(entry);
  figures.threads = static_cast<uint32_t>(std::min(rate_at(entry, "threads"), 65536.0));
  figures.isa = text_at(entry, "isa");
  figures.host = host;
  figures.when = text_at(entry, "when");
  return figures;
}

Json to_json(const MachineFigures& figures) {
  return {{"memory_bytes_per_second", figures.memory_bytes_per_second},
          {"fma_flops", figures.fma_flops},
          {"drive_bytes_per_second", figures.drive_bytes_per_second},
          {"drive_burst_per_second", figures.drive_burst_per_second},
          {"drive_latency_seconds", figures.drive_latency_seconds},
          {"drive_path", figures.drive_path},
          {"kernels", to_json(figures.kernels)},
          {"threads", figures.threads},
          {"isa", figures.isa},
          {"when", figures.when}};
}

// {"machines": {HOST: figures}}
Result<Json> read_machines(const std::string& path) {
  const std::string text = TRY(read_text_file(path, kFileBytesMax));
  auto value = parse_json(text, path);
  if (!value) {
    value.error().hint = kMendHint;
    return value;
  }
  if (value->is_object()) {
    const auto machines = value->find("machines");
    if (machines != value->end() && machines->is_object()) return *machines;
  }
  return fail(Code::kBadData, "holds no machine figures", path, kMendHint);
}

}  // namespace

CacheEnvironment CacheEnvironment::of_process() {
  return {environment("SWITCHYARD_CACHE"), environment("XDG_CACHE_HOME"), environment("HOME")};
}

std::optional<std::string> CacheEnvironment::machine_file() const {
  if (switchyard_cache) return *switchyard_cache + "/machine.json";
  if (xdg_cache_home) return *xdg_cache_home + "/switchyard/machine.json";
  if (home) return *home + "/.cache/switchyard/machine.json";
  return std::nullopt;
}

std::string host_name() {
  char name[256] = {};
  if (::gethostname(name, sizeof name - 1) != 0 || *name == '\0') return "localhost";
  return name;
}

std::string utc_now() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  ::gmtime_r(&now, &parts);
  char text[32];
  const size_t length = std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
  return std::string(text, length);
}

Result<MachineFigures> load_machine_figures() {
  const auto path = CacheEnvironment::of_process().machine_file();
  if (!path) return fail(Code::kNoInput, "no HOME or SWITCHYARD_CACHE tells where figures are");
  return load_machine_figures(*path, host_name());
}

Result<MachineFigures> load_machine_figures(const std::string& path, const std::string& host) {
  const Json machines = TRY(read_machines(path));
  const auto entry = machines.find(host);
  if (entry == machines.end()) {
    return fail(Code::kNoInput, "holds no figures of " + host, path, kMendHint);
  }
  if (!entry->is_object()) {
    return fail(Code::kBadData, "the figures of " + host + " are damaged", path, kMendHint);
  }
  return from_json(*entry, host);
}

Result<std::string> save_machine_figures(const MachineFigures& figures) {
  const auto path = CacheEnvironment::of_process().machine_file();
  if (!path) {
    return fail(Code::kNoInput, "nowhere to keep what was measured", {},
                "set SWITCHYARD_CACHE to a folder");
  }
  TRY_STATUS(save_machine_figures(figures, *path));
  return *path;
}

Status save_machine_figures(const MachineFigures& figures, const std::string& path) {
  std::error_code error;
  const auto folder = std::filesystem::path(path).parent_path();
  if (!folder.empty()) std::filesystem::create_directories(folder, error);
  if (error) return fail_output(error.value(), "cannot make the folder", folder.string());
  Json machines = read_machines(path).value_or(Json::object());
  machines[figures.host] = to_json(figures);
  const Json whole = {{"machines", std::move(machines)}};
  return write_file_atomically(path,
                               whole.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
}

}  // namespace switchyard
