#pragma once

// A routing trace file: a header, then one block for each step, to the end of the file.
//   header  magic, version u32, length u32 of the rest up to the hash; experts u32, top-k u32,
//           expert bytes u64, layers u16[] (count u16 first), model (length u16 first); hash of it
//           all
//   block   body length u32, the same with all bits inverted, hash of the body; body: request u32,
//           phase u8, kinds of prediction u8, tokens u32, token ids i32[], the routes, and for each
//           prediction its kind (length u16 first), width u32 and answers
//   routes, answers
//           a bit for each (layer, token) that says whether it is there, the lowest bit of a byte
//           first; the experts' ids of those that are, u8 when a layer has no more than 256
//           experts, else u16; their gate weights, u16 in units of 1/65535
// Numbers are little-endian; hashes are XXH3-64.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "experts/routing_trace.h"
#include "runtime/base/result.h"

namespace switchyard {

inline constexpr std::string_view kTraceMagic("SWYDROUT", 8);
inline constexpr uint32_t kTraceVersion = 1;
inline constexpr uint32_t kTraceTopKMax = 256;                // of predictions too
inline constexpr uint64_t kTracePoolMax = uint64_t{1} << 24;  // experts of all layers
inline constexpr uint32_t kTraceBlockBytesMax = uint32_t{1} << 28;
// Of a step and of a whole CSV file: experts held in memory for each byte of it.
inline constexpr uint64_t kTraceExpertsPerByteMax = 64;

// What a row holds that was not recorded.
inline constexpr RoutedExpert kNotRecorded = {0, -1};

struct TraceHeader {
  TraceShape shape;
  std::string model;
  uint64_t bytes = 0;  // of the header in the file
};

// The steps' bodies as views of the file, and where the last whole block ends. What lies behind is
// a step that was being written when its run was killed.
struct TraceBlocks {
  std::vector<std::string_view> bodies;
  uint64_t end = 0;
};

// `code` when `shape` is one that no trace has.
Status check_trace_shape(const TraceShape& shape, Code code, const std::string& where);

// A model's name is cut off after 64 KiB.
std::string encode_trace_header(const TraceShape& shape, std::string_view model);
Result<TraceHeader> parse_trace_header(std::string_view file, const std::string& where);

// A whole block. Gate weights are clamped to 0 … 1. kFailed when the step is too large for one.
Result<std::string> encode_trace_step(const TraceShape& shape, const RoutingStep& step);
Result<RoutingStep> parse_trace_step(std::string_view body, const TraceShape& shape,
                                     const std::string& where);
// Does not look into the bodies, but kBadData naming the offset when one with others behind it does
// not have its hash.
Result<TraceBlocks> find_trace_blocks(std::string_view file, uint64_t begin,
                                      const std::string& where);

// A whole file of this form. A torn last step is left out and told in `warning`.
Result<RoutingTrace> parse_trace(std::string_view file, const std::string& where,
                                 std::string& warning);

}  // namespace switchyard
