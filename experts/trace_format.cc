#include "experts/trace_format.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <type_traits>

#include "runtime/base/align.h"
#include "runtime/base/byte_fields.h"
#include "runtime/base/check.h"

namespace switchyard {
namespace {

constexpr size_t kHeaderFront = kTraceMagic.size() + 2 * sizeof(uint32_t);
constexpr size_t kHeaderRestMin = 4 + 4 + 8 + 2 + 2;
constexpr size_t kHeaderRestMax = kHeaderRestMin + 2 * 65535 + 65535;
constexpr size_t kBlockFront = 2 * sizeof(uint32_t) + sizeof(uint64_t);
constexpr float kWeightUnits = 65535;
constexpr uint32_t kTraceExpertsMax = 65536;

// Routes or answers: [rows, width] in memory.
struct Rows {
  uint64_t rows = 0;
  uint32_t width = 0;
  uint32_t experts = 0;  // of a layer
  uint64_t entries() const { return rows * width; }
  bool narrow() const { return experts <= 256; }
};

uint16_t to_units(float weight) {
  if (!(weight > 0)) return 0;
  return static_cast<uint16_t>(std::lround(std::min(weight, 1.0F) * kWeightUnits));
}

void put_rows(std::string& out, const Rows& rows, const std::vector<RoutedExpert>& values) {
  CHECK_THAT(values.size() == rows.entries(), "{} of {}", values.size(), rows.entries());
  std::string present(ceil_div(rows.rows, 8), '\0');
  std::string ids, weights;
  for (uint64_t row = 0; row < rows.rows; ++row) {
    const auto chosen = std::span(values).subspan(row * rows.width, rows.width);
    if (chosen.front().gate_weight < 0) continue;
    present[row / 8] = static_cast<char>(present[row / 8] | 1 << row % 8);
    for (const RoutedExpert& expert : chosen) {
      CHECK_THAT(expert.expert < rows.experts, "{} of {}", expert.expert, rows.experts);
      if (rows.narrow()) {
        put(ids, static_cast<uint8_t>(expert.expert));
      } else {
        put(ids, expert.expert);
      }
      put(weights, to_units(expert.gate_weight));
    }
  }
  out += present + ids + weights;
}

bool all_different(std::span<const RoutedExpert> chosen) {
  for (size_t i = 1; i < chosen.size(); ++i) {
    for (size_t j = 0; j < i; ++j) {
      if (chosen[i].expert == chosen[j].expert) return false;
    }
  }
  return true;
}

// False when they are cut short or name an expert that the layer has not, or one twice.
bool take_rows(ByteCursor& cursor, const Rows& rows, std::vector<RoutedExpert>& values) {
  const std::string_view present = cursor.take(ceil_div(rows.rows, 8));
  if (!cursor.ok()) return false;
  const auto is_there = [&](uint64_t row) {
    return (static_cast<unsigned char>(present[row / 8]) >> row % 8 & 1) != 0;
  };
  uint64_t there = 0;
  for (uint64_t row = 0; row < rows.rows; ++row) there += is_there(row) ? 1 : 0;
  ByteCursor ids(cursor.take(there * rows.width * (rows.narrow() ? 1 : 2)));
  ByteCursor weights(cursor.take(there * rows.width * sizeof(uint16_t)));
  if (!cursor.ok()) return false;
  values.assign(rows.entries(), kNotRecorded);
  for (uint64_t row = 0; row < rows.rows; ++row) {
    if (!is_there(row)) continue;
    const auto chosen = std::span(values).subspan(row * rows.width, rows.width);
    for (RoutedExpert& expert : chosen) {
      expert.expert = rows.narrow() ? ids.number<uint8_t>() : ids.number<uint16_t>();
      expert.gate_weight = static_cast<float>(weights.number<uint16_t>()) / kWeightUnits;
      if (expert.expert >= rows.experts) return false;
    }
    if (!all_different(chosen)) return false;
  }
  return true;
}

bool is_width(uint32_t width, const TraceShape& shape) {
  return width > 0 && width <= std::min(shape.experts, kTraceTopKMax);
}

const char* shape_fault(const TraceShape& shape) {
  if (shape.experts == 0 || shape.experts > kTraceExpertsMax) return "impossible number of experts";
  if (!is_width(shape.top_k, shape)) return "impossible top-k";
  if (shape.layers.empty() || shape.layers.size() > std::numeric_limits<uint16_t>::max()) {
    return "impossible number of layers";
  }
  if (shape.layers.size() * uint64_t{shape.experts} > kTracePoolMax) return "too many experts";
  const auto not_ascending =
      std::adjacent_find(shape.layers.begin(), shape.layers.end(), std::greater_equal<>());
  return not_ascending == shape.layers.end() ? nullptr : "layers out of order";
}

tl::unexpected<Error> fail_step(const std::string& where) {
  return fail(Code::kBadData, "impossible step in a routing trace", where, "record it again");
}

bool all_zero(std::string_view bytes) { return bytes.find_first_not_of('\0') == bytes.npos; }

}  // namespace

Status check_trace_shape(const TraceShape& shape, Code code, const std::string& where) {
  const char* fault = shape_fault(shape);
  if (fault == nullptr) return {};
  return fail(code, fmt::format("no routing trace can be of this shape: {}", fault), where);
}

std::string encode_trace_header(const TraceShape& shape, std::string_view model) {
  CHECK(shape_fault(shape) == nullptr);
  std::string rest;
  put(rest, shape.experts);
  put(rest, shape.top_k);
  put(rest, shape.expert_bytes);
  put(rest, static_cast<uint16_t>(shape.layers.size()));
  for (const uint16_t layer : shape.layers) put(rest, layer);
  put_text(rest, std::string_view(model).substr(0, UINT16_MAX));
  std::string out(kTraceMagic);
  put(out, kTraceVersion);
  put(out, static_cast<uint32_t>(rest.size()));
  out += rest;
  put(out, hash_text(out));
  return out;
}

Result<TraceHeader> parse_trace_header(std::string_view file, const std::string& where) {
  const auto damaged = [&](const char* what) {
    return fail(Code::kBadData, fmt::format("damaged header of a routing trace: {}", what), where,
                "record it again");
  };
  if (!file.starts_with(kTraceMagic)) return fail(Code::kBadData, "is no routing trace", where);
  ByteCursor front(file.substr(kTraceMagic.size()));
  const uint32_t version = front.number<uint32_t>();
  const uint32_t rest_bytes = front.number<uint32_t>();
  if (front.ok() && version != kTraceVersion) {
    return fail(
        Code::kBadData,
        fmt::format("routing trace of version {}, this program reads {}", version, kTraceVersion),
        where);
  }
  if (rest_bytes < kHeaderRestMin || rest_bytes > kHeaderRestMax) return damaged("its length");
  ByteCursor rest(front.take(rest_bytes));
  const uint64_t hash = front.number<uint64_t>();
  if (!front.ok()) return damaged("cut short");
  if (hash != hash_text(file.substr(0, kHeaderFront + rest_bytes))) return damaged("checksum");
  TraceHeader header;
  header.bytes = kHeaderFront + rest_bytes + sizeof hash;
  header.shape.experts = rest.number<uint32_t>();
  header.shape.top_k = rest.number<uint32_t>();
  header.shape.expert_bytes = rest.number<uint64_t>();
  header.shape.layers.resize(rest.number<uint16_t>());
  for (uint16_t& layer : header.shape.layers) layer = rest.number<uint16_t>();
  header.model = rest.text();
  if (!rest.at_end()) return damaged("its length");
  if (const char* fault = shape_fault(header.shape)) return damaged(fault);
  return header;
}

Result<std::string> encode_trace_step(const TraceShape& shape, const RoutingStep& step) {
  CHECK_THAT(!step.tokens.empty() && step.predictions.size() <= 255, "{} predictions",
             step.predictions.size());
  const uint64_t rows = shape.layers.size() * step.tokens.size();
  uint64_t entries = rows * shape.top_k;
  std::string body;
  put(body, step.request);
  put(body, static_cast<uint8_t>(step.phase));
  put(body, static_cast<uint8_t>(step.predictions.size()));
  put(body, static_cast<uint32_t>(step.tokens.size()));
  for (const TokenId token : step.tokens) put(body, static_cast<uint32_t>(token));
  put_rows(body, {rows, shape.top_k, shape.experts}, step.routed);
  for (const TracePrediction& prediction : step.predictions) {
    if (!is_width(prediction.width, shape)) {
      return fail(Code::kFailed, fmt::format("predictions of {} experts do not fit a routing trace",
                                             prediction.width));
    }
    put_text(body, prediction.kind);
    put(body, prediction.width);
    put_rows(body, {rows, prediction.width, shape.experts}, prediction.answers);
    entries += rows * prediction.width;
  }
  if (body.size() > kTraceBlockBytesMax || entries > body.size() * kTraceExpertsPerByteMax) {
    return fail(Code::kFailed,
                fmt::format("a step of {} tokens is too large or too empty for a routing trace",
                            step.tokens.size()));
  }
  std::string block;
  put(block, static_cast<uint32_t>(body.size()));
  put(block, ~static_cast<uint32_t>(body.size()));
  put(block, hash_text(body));
  return block + body;
}

Result<RoutingStep> parse_trace_step(std::string_view body, const TraceShape& shape,
                                     const std::string& where) {
  ByteCursor cursor(body);
  RoutingStep step;
  step.request = cursor.number<uint32_t>();
  const uint8_t phase = cursor.number<uint8_t>();
  const uint8_t predictions = cursor.number<uint8_t>();
  const uint64_t tokens = cursor.number<uint32_t>();
  if (phase > 1 || tokens == 0 || tokens > cursor.bytes_left() / sizeof(TokenId)) {
    return fail_step(where);
  }
  step.phase = static_cast<TracePhase>(phase);
  step.tokens.resize(tokens);
  for (TokenId& token : step.tokens) token = static_cast<TokenId>(cursor.number<uint32_t>());
  // Tokens × layers × width stay below 2^26 × 2^16 × 2^8.
  const uint64_t rows = shape.layers.size() * tokens;
  uint64_t room = body.size() * kTraceExpertsPerByteMax;
  const auto take = [&](uint32_t width, std::vector<RoutedExpert>& values) {
    if (!is_width(width, shape) || rows * width > room) return false;
    room -= rows * width;
    return take_rows(cursor, {rows, width, shape.experts}, values);
  };
  if (!take(shape.top_k, step.routed)) return fail_step(where);
  for (uint8_t i = 0; i < predictions; ++i) {
    TracePrediction& prediction = step.predictions.emplace_back();
    prediction.kind = cursor.text();
    prediction.width = cursor.number<uint32_t>();
    if (!take(prediction.width, prediction.answers)) return fail_step(where);
  }
  if (!cursor.at_end()) return fail_step(where);
  return step;
}

Result<TraceBlocks> find_trace_blocks(std::string_view file, uint64_t begin,
                                      const std::string& where) {
  TraceBlocks blocks;
  blocks.end = begin;
  while (blocks.end < file.size()) {
    const auto damaged = [&] {
      return fail(Code::kBadData, fmt::format("damaged step of a routing trace at {}", blocks.end),
                  where, "record it again");
    };
    ByteCursor cursor(file.substr(blocks.end));
    const uint32_t bytes = cursor.number<uint32_t>();
    const uint32_t inverted = cursor.number<uint32_t>();
    const uint64_t hash = cursor.number<uint64_t>();
    if (!cursor.ok()) break;
    if (inverted != ~bytes || bytes > kTraceBlockBytesMax) {
      // A machine that went down may leave zeros for what had not reached the drive.
      if (all_zero(file.substr(blocks.end))) break;
      return damaged();
    }
    const std::string_view body = cursor.take(bytes);
    if (!cursor.ok()) break;
    if (hash != hash_text(body)) {
      if (cursor.at_end()) break;
      return damaged();
    }
    blocks.bodies.push_back(body);
    blocks.end += kBlockFront + bytes;
  }
  return blocks;
}

Result<RoutingTrace> parse_trace(std::string_view file, const std::string& where,
                                 std::string& warning) {
  TraceHeader header = TRY(parse_trace_header(file, where));
  const TraceBlocks blocks = TRY(find_trace_blocks(file, header.bytes, where));
  RoutingTrace trace;
  trace.shape = std::move(header.shape);
  trace.model = std::move(header.model);
  for (const std::string_view body : blocks.bodies) {
    trace.steps.push_back(TRY(parse_trace_step(
        body, trace.shape,
        fmt::format("{} at {}", where, static_cast<uint64_t>(body.data() - file.data())))));
  }
  if (blocks.end < file.size()) {
    warning =
        fmt::format("{}: the last step is torn; {} bytes from {} on are left out, behind {} steps",
                    where, file.size() - blocks.end, blocks.end, trace.steps.size());
  }
  return trace;
}

}  // namespace switchyard
