#include "experts/predictors/linear_map.h"

#include <fmt/format.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <utility>

#include "runtime/base/byte_fields.h"
#include "runtime/base/check.h"
#include "storage/input_file.h"

namespace switchyard {
namespace {

static_assert(std::endian::native == std::endian::little);

constexpr size_t kHeaderBytes = kLinearMagic.size() + 3 * sizeof(uint32_t);
constexpr uint32_t kExpertsMax = 65536;

struct Header {
  uint32_t version = 0, layers = 0, experts = 0;
};

tl::unexpected<Error> damaged(const std::string& what, const std::string& where) {
  return fail(Code::kBadData, fmt::format("damaged linear predictor: {}", what), where,
              "make it again with switchyard fit-predictor");
}

uint64_t weights_of(uint64_t layers, uint64_t experts) {
  return kLinearDistances * layers * (experts + 1) * experts;
}

bool is_shape(uint32_t layers, uint32_t experts) {
  return layers > 0 && layers <= UINT16_MAX && experts > 0 && experts <= kExpertsMax &&
         weights_of(layers, experts) * sizeof(float) <= kLinearBytesMax;
}

Result<Header> parse_header(std::string_view file, const std::string& where) {
  if (!file.starts_with(kLinearMagic)) {
    return fail(Code::kBadData, "is no linear predictor", where,
                "make one with switchyard fit-predictor");
  }
  if (file.size() < kHeaderBytes) return damaged("cut short", where);
  Header header;
  std::memcpy(&header, file.data() + kLinearMagic.size(), sizeof header);
  if (header.version != kLinearVersion) {
    return fail(Code::kBadData,
                fmt::format("linear predictor of version {}, this program reads {}", header.version,
                            kLinearVersion),
                where);
  }
  if (!is_shape(header.layers, header.experts)) return damaged("impossible shape", where);
  return header;
}

uint64_t file_bytes(const Header& header) {
  return kHeaderBytes + weights_of(header.layers, header.experts) * sizeof(float) +
         sizeof(uint64_t);
}

}  // namespace

LinearMap::LinearMap(uint32_t layers, uint32_t experts)
    : layers_(layers), experts_(experts), weights_(weights_of(layers, experts)) {}

Result<LinearMap> LinearMap::create(uint32_t layers, uint32_t experts) {
  if (is_shape(layers, experts)) return LinearMap(layers, experts);
  return fail(Code::kConfig,
              fmt::format("no linear predictor for {} layers of {} experts", layers, experts), {},
              "choose another predictor");
}

size_t LinearMap::begin_of(uint32_t distance, uint32_t layer) const {
  CHECK(distance >= 1 && distance <= kLinearDistances && layer < layers_);
  return (size_t{distance - 1} * layers_ + layer) * (experts_ + size_t{1}) * experts_;
}

std::span<float> LinearMap::at(uint32_t distance, uint32_t layer) {
  return std::span(weights_).subspan(begin_of(distance, layer), (experts_ + size_t{1}) * experts_);
}

std::span<const float> LinearMap::at(uint32_t distance, uint32_t layer) const {
  return std::span(weights_).subspan(begin_of(distance, layer), (experts_ + size_t{1}) * experts_);
}

float gate_weight_sum(std::span<const RoutedExpert> routed) {
  float sum = 0;
  for (const RoutedExpert& expert : routed) sum += expert.gate_weight;
  return sum > 0 ? sum : 1;
}

void LinearMap::add_scores(uint32_t distance, uint32_t layer, std::span<const RoutedExpert> routed,
                           std::span<float> scores) const {
  const auto map = at(distance, layer);
  const auto add_row = [&](size_t row, float by) {
    const auto weights = map.subspan(row * experts_, experts_);
    for (size_t i = 0; i < scores.size(); ++i) scores[i] += by * weights[i];
  };
  const float scale = 1 / gate_weight_sum(routed);
  for (const RoutedExpert& expert : routed) add_row(expert.expert, expert.gate_weight * scale);
  add_row(experts_, 1);
}

std::string encode_linear_map(const LinearMap& map) {
  std::string out(kLinearMagic);
  put(out, kLinearVersion);
  put(out, map.layers());
  put(out, map.experts());
  out.append(reinterpret_cast<const char*>(map.weights().data()), map.bytes());
  put(out, hash_text(out));
  return out;
}

Result<LinearMap> parse_linear_map(std::string_view file, const std::string& where) {
  const Header header = TRY(parse_header(file, where));
  if (file.size() != file_bytes(header)) {
    return damaged(fmt::format("{} bytes, not {}", file.size(), file_bytes(header)), where);
  }
  uint64_t hash = 0;
  std::memcpy(&hash, file.data() + file.size() - sizeof hash, sizeof hash);
  if (hash != hash_text(file.substr(0, file.size() - sizeof hash))) {
    return damaged("checksum", where);
  }
  LinearMap map = TRY(LinearMap::create(header.layers, header.experts));
  std::memcpy(map.weights().data(), file.data() + kHeaderBytes, map.bytes());
  for (const float weight : map.weights()) {
    if (!std::isfinite(weight)) return damaged("a weight is not finite", where);
  }
  return map;
}

Result<LinearMap> read_linear_map(const std::string& path, const PredictorShape& shape) {
  const auto file = TRY(InputFile::open(path));
  std::string bytes(std::min<uint64_t>(file->size_bytes(), kHeaderBytes), '\0');
  TRY_STATUS(file->read(0, std::as_writable_bytes(std::span(bytes))));
  const Header header = TRY(parse_header(bytes, path));
  if (header.layers != shape.layers || header.experts != shape.experts) {
    return fail(Code::kUsage,
                fmt::format("the linear predictor is for {} layers of {} experts, the model has "
                            "{} of {}",
                            header.layers, header.experts, shape.layers, shape.experts),
                path, "fit one to a routing trace of this model");
  }
  // What is longer or shorter than it says is found out by the parser.
  bytes.resize(std::min(file->size_bytes(), file_bytes(header) + 1));
  TRY_STATUS(file->read(0, std::as_writable_bytes(std::span(bytes))));
  return parse_linear_map(bytes, path);
}

}  // namespace switchyard
