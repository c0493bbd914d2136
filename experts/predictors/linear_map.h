#pragma once

// A linear map for each layer, from its gate weights to scores of the next two layers' experts.
// Its file: magic, version u32, layers u32, experts u32; weights fp32[2, layers, experts + 1,
// experts], by distance less one and by the layer to score, the constant last; XXH3-64 of all
// before. Little-endian.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "experts/predictors/predictor.h"
#include "runtime/base/result.h"

namespace switchyard {

inline constexpr std::string_view kLinearMagic("SWYDLINE", 8);
inline constexpr uint32_t kLinearVersion = 1;
inline constexpr uint32_t kLinearDistances = 2;
inline constexpr uint64_t kLinearBytesMax = uint64_t{1} << 30;

class LinearMap {
 public:
  // Zeros. kConfig when the weights would be larger than kLinearBytesMax.
  static Result<LinearMap> create(uint32_t layers, uint32_t experts);

  uint32_t layers() const { return layers_; }
  uint32_t experts() const { return experts_; }
  uint64_t bytes() const { return weights_.size() * sizeof(float); }

  // [experts + 1, experts]: from the layer `distance` (1 or 2) before to `layer`.
  std::span<float> at(uint32_t distance, uint32_t layer);
  std::span<const float> at(uint32_t distance, uint32_t layer) const;
  // Adds what a token's experts `distance` layers before say of `layer`'s to `scores` [experts].
  void add_scores(uint32_t distance, uint32_t layer, std::span<const RoutedExpert> routed,
                  std::span<float> scores) const;

  const std::vector<float>& weights() const { return weights_; }
  std::vector<float>& weights() { return weights_; }

 private:
  LinearMap(uint32_t layers, uint32_t experts);
  size_t begin_of(uint32_t distance, uint32_t layer) const;

  uint32_t layers_;
  uint32_t experts_;
  std::vector<float> weights_;
};

// What gate weights are divided by, so that maps do not depend on how a model scales them.
float gate_weight_sum(std::span<const RoutedExpert> routed);

std::string encode_linear_map(const LinearMap& map);
// kBadData naming `where`: damaged, cut short, or of another version.
Result<LinearMap> parse_linear_map(std::string_view file, const std::string& where);

// Blocks. The file's own errors; kUsage naming both shapes when it is not for a model of `shape`.
Result<LinearMap> read_linear_map(const std::string& path, const PredictorShape& shape);

}  // namespace switchyard
