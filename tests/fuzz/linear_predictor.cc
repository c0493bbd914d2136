// A file of linear maps: any bytes, as they are and once more with the checksum put right; what was
// read is written again as the same bytes, and predicts.

#include "experts/predictors/linear_predictor.h"

#include <string>
#include <string_view>
#include <vector>

#include "experts/predictors/linear_map.h"
#include "runtime/base/check.h"
#include "runtime/base/hash.h"

namespace {

using namespace switchyard;

void predict(const LinearMap& map) {
  const PredictorShape shape{map.layers(), map.experts(), 1};
  LinearPredictor predictor(map, shape);
  const TokenId token = 0;
  const uint32_t request = 0;
  std::vector<uint16_t> out(shape.experts);
  predictor.begin_step({&token, 1}, {&request, 1});
  for (uint32_t layer = 0; layer < shape.layers; ++layer) {
    CHECK(predictor.predict(layer, 0, out) <= out.size());
    for (const uint16_t expert : out) CHECK(expert < shape.experts);
    const RoutedExpert routed{static_cast<uint16_t>(layer % shape.experts), 0.5F};
    predictor.observe(layer, {&routed, 1});
  }
}

void parse(std::string_view file) {
  const auto map = parse_linear_map(file, "fuzz");
  if (!map) return;
  CHECK(encode_linear_map(*map) == file);
  predict(*map);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string file(reinterpret_cast<const char*>(data), size);
  parse(file);
  if (size < 8) return 0;
  const uint64_t hash =
      hash_bytes(std::as_bytes(std::span(file.data(), file.size() - sizeof(uint64_t))));
  for (size_t i = 0; i < 8; ++i) file[size - 8 + i] = static_cast<char>(hash >> 8 * i & 0xff);
  parse(file);
  return 0;
}
