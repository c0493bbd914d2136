#include "runtime/device/device.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "runtime/base/units.h"
#include "runtime/device/simulated_device.h"
#ifdef SWITCHYARD_CUDA
#include "runtime/device/cuda_device.h"
#endif

namespace switchyard {
namespace {

constexpr std::string_view kForms = "none, sim:CAPACITY,RATE,LATENCY or cuda[:N]";

tl::unexpected<Error> bad_device(std::string_view text, std::string_view why = {}) {
  return fail(Code::kUsage, fmt::format("'{}' is no device{}", text, why), {},
              fmt::format("there are: {}; such as sim:8GiB,16GB/s,10us", kForms));
}

// What stands before the next comma, which is cut off too; nothing when there is none.
std::string_view take_field(std::string_view& text) {
  const size_t comma = text.find(',');
  const std::string_view field = text.substr(0, comma);
  text.remove_prefix(comma == std::string_view::npos ? text.size() : comma + 1);
  return field;
}

Result<std::shared_ptr<Device>> make_simulated(std::string_view fields, std::string_view text) {
  if (std::ranges::count(fields, ',') != 2) return bad_device(text);
  const uint64_t capacity = TRY(parse_size(take_field(fields)));
  SimulatedLink link;
  link.bytes_per_second = TRY(parse_rate(take_field(fields)));
  link.latency_seconds = TRY(parse_time(take_field(fields)));
  if (capacity == 0) return bad_device(text, ": it holds nothing");
  return std::make_shared<SimulatedDevice>(capacity, std::move(link));
}

Result<std::shared_ptr<Device>> make_cuda(std::string_view number, std::string_view text) {
  uint32_t value = 0;
  const char* end = number.data() + number.size();
  const auto [read, error] = std::from_chars(number.data(), end, value);
  if (error != std::errc{} || read != end) return bad_device(text);
#ifdef SWITCHYARD_CUDA
  return open_cuda_device(value);
#else
  return fail(Code::kConfig, "this build has no CUDA", std::string(text),
              "build it where the CUDA toolkit is installed");
#endif
}

}  // namespace

Result<std::shared_ptr<Device>> make_device(std::string_view text) {
  constexpr std::string_view kSimulated = "sim:", kCuda = "cuda";
  if (text == "none") return nullptr;
  if (text.starts_with(kSimulated)) return make_simulated(text.substr(kSimulated.size()), text);
  if (text == kCuda) return make_cuda("0", text);
  if (text.starts_with("cuda:")) return make_cuda(text.substr(kCuda.size() + 1), text);
  return bad_device(text);
}

}  // namespace switchyard
