#include "launch/calibration.h"

#include <algorithm>
#include <functional>
#include <vector>

#include "launch/machine.h"
#include "runtime/base/align.h"
#include "runtime/base/clock.h"
#include "runtime/base/hash.h"
#include "runtime/device/slab.h"
#include "runtime/device/worker_pool.h"
#include "runtime/engine/products.h"
#include "runtime/kernels/kernel_table.h"

namespace switchyard {
namespace {

// Made-up experts of a middling size.
constexpr uint32_t kHidden = 2048;
constexpr uint32_t kIntermediate = 1024;
constexpr uint32_t kExpertsAtOnce = 8;
constexpr double kExpertWeights = 3.0 * kHidden * kIntermediate;
constexpr uint32_t kTokens[] = {1, 2, 4, 8, 16, 32, 64, 128};
constexpr uint32_t kTokensMax = 128;
constexpr uint32_t kPicksAtOnce = 128;  // experts times tokens; fewer experts with more tokens
constexpr double kLongSeconds = 0.25;   // slow processors are measured with fewer tokens
// No product of these overflows, and no type reads them as denormals, which take longer.
constexpr std::byte kWeightByte{0x3c};
constexpr float kInput = 0.5;

constexpr double kProductsSeconds = 0.8;
constexpr double kSmallSeconds = 0.05;
constexpr size_t kRepeatsMin = 3;
constexpr uint32_t kSections = 200;
constexpr uint32_t kHeadDim = 128;
constexpr uint32_t kPositions = 512;
constexpr uint32_t kRows = 512;
constexpr uint64_t kFinishBytes = uint64_t{16} << 20;

// The median time of `work`, called until `seconds` are over: three times, unless it takes much
// longer than that.
double median_seconds(double seconds, const std::function<void()>& work) {
  std::vector<double> times;
  const double end = now_seconds() + seconds, late = end + kLongSeconds;
  while (times.empty() || now_seconds() < (times.size() < kRepeatsMin ? late : end)) {
    const double begin = now_seconds();
    work();
    times.push_back(now_seconds() - begin);
  }
  const auto middle = times.begin() + static_cast<ptrdiff_t>(times.size() / 2);
  std::nth_element(times.begin(), middle, times.end());
  return *middle;
}

// Experts one after the other in a slab, computed as the engine computes those of a layer.
class MadeUpExperts {
 public:
  MadeUpExperts(WorkerPool& pool, const Kernels& kernels, DType dtype, const Slab& slab)
      : pool_(pool),
        kernels_(kernels),
        dtype_(dtype),
        slab_(slab),
        matrix_bytes_(matrix_bytes(dtype, kIntermediate, kHidden)),
        count_(static_cast<uint32_t>(slab.size() / (3 * matrix_bytes_))) {
    const size_t rows = kPicksAtOnce;
    input_.assign(kTokensMax * size_t{kHidden}, kInput);
    packed_.resize(rows * kHidden);
    inner_.resize(rows * kIntermediate);
    inner_packed_.resize(rows * kIntermediate);
  }

  static uint32_t at_once(uint32_t tokens) {
    return std::min(kExpertsAtOnce, kPicksAtOnce / tokens);
  }

  // The next at_once(tokens) experts, each for `tokens` rows.
  void compute(uint32_t tokens) {
    const uint32_t experts = at_once(tokens);
    std::vector<MatrixView> weights;
    weights.reserve(3 * experts);
    std::vector<Product> gated, down;
    for (uint32_t i = 0; i < experts; ++i) {
      const std::byte* at = slab_.data() + 3 * matrix_bytes_ * (next_++ % count_);
      weights.push_back({at, dtype_, kIntermediate, kHidden});
      weights.push_back({at + matrix_bytes_, dtype_, kIntermediate, kHidden});
      weights.push_back({at + 2 * matrix_bytes_, dtype_, kHidden, kIntermediate});
      const size_t row = size_t{i} * tokens;
      gated.push_back({.w = &weights[3 * i],
                       .up = &weights[3 * i + 1],
                       .packed = packed_.data() + row * kHidden,
                       .tokens = tokens,
                       .y = inner_.data() + row * kIntermediate,
                       .y_stride = kIntermediate});
      down.push_back({.w = &weights[3 * i + 2],
                      .packed = inner_packed_.data() + row * kIntermediate,
                      .tokens = tokens,
                      .y = packed_.data() + row * kHidden,
                      .y_stride = kHidden});
    }
    pool_.split(experts, uint64_t{tokens} * kHidden, [&](uint32_t first, uint32_t last) {
      for (uint32_t i = first; i < last; ++i) {
        kernels_.pack(input_.data(), kHidden, nullptr, tokens, kHidden,
                      packed_.data() + size_t{i} * tokens * kHidden);
      }
    });
    run_products(pool_, kernels_, gated);
    pack_rows(pool_, kernels_, inner_.data(), kIntermediate, tokens * experts, kIntermediate,
              inner_packed_.data());
    run_products(pool_, kernels_, down);
  }

 private:
  WorkerPool& pool_;
  const Kernels& kernels_;
  const DType dtype_;
  const Slab& slab_;
  const size_t matrix_bytes_;
  const uint32_t count_;
  uint32_t next_ = 0;
  std::vector<float> input_, packed_, inner_, inner_packed_;
};

void touch(WorkerPool& pool, const Slab& slab) {
  const size_t share = slab.size() / pool.threads();
  pool.run([&](uint32_t thread) {
    const size_t begin = thread * share;
    const size_t end = thread + 1 == pool.threads() ? slab.size() : begin + share;
    std::fill(slab.data() + begin, slab.data() + end, kWeightByte);
  });
}

}  // namespace

ProductCurve measure_products(WorkerPool& pool, const Kernels& kernels, DType dtype,
                              const Slab& slab, double seconds) {
  MadeUpExperts experts(pool, kernels, dtype, slab);
  experts.compute(kTokensMax);  // touches the rows
  ProductCurve curve;
  for (const uint32_t tokens : kTokens) {
    const double took =
        median_seconds(seconds / std::size(kTokens), [&] { experts.compute(tokens); });
    curve.push_back({tokens, MadeUpExperts::at_once(tokens) * kExpertWeights / took});
    if (took > kLongSeconds) break;
  }
  // Fewer tokens are never slower: where they seem to be, something else was going on.
  for (size_t i = curve.size() - 1; i-- > 0;) {
    curve[i].weights_per_second =
        std::max(curve[i].weights_per_second, curve[i + 1].weights_per_second);
  }
  return curve;
}

double measure_section(WorkerPool& pool) {
  return median_seconds(0,
                        [&] {
                          for (uint32_t i = 0; i < kSections; ++i) pool.run([](uint32_t) {});
                        }) /
         kSections;
}

double measure_attention(WorkerPool& pool, const Kernels& kernels, double seconds) {
  const uint32_t pages = kPositions / kPagePositions;
  std::vector<float> pool_of_pages(size_t{2} * kPositions * kHeadDim, kInput);
  std::vector<const float*> table(pages);
  for (uint32_t page = 0; page < pages; ++page) {
    table[page] = &pool_of_pages[size_t{2} * page * kPagePositions * kHeadDim];
  }
  const KvView view = {.pages = table.data(),
                       .key_offset = 0,
                       .value_offset = size_t{kPagePositions} * kHeadDim,
                       .position_stride = kHeadDim};
  const std::vector<float> query(kHeadDim, kInput);
  std::vector<float> out(size_t{kHeadDim} * pool.threads());
  constexpr uint32_t kQueries = 64;
  const double took = median_seconds(seconds, [&] {
    pool.run([&](uint32_t thread) {
      for (uint32_t i = 0; i < kQueries; ++i) {
        kernels.attend(query.data(), kHeadDim, 1, view, kHeadDim, 0.1F, 0, kPositions,
                       out.data() + size_t{thread} * kHeadDim, kHeadDim);
      }
    });
  });
  return 4.0 * kHeadDim * kPositions * kQueries * pool.threads() / took;
}

double measure_rows(WorkerPool& pool, const Kernels& kernels, double seconds) {
  std::vector<float> x(size_t{kRows} * kHidden, kInput), update(x.size(), kInput);
  const double took = median_seconds(seconds, [&] {
    pool.split(kRows, kHidden, [&](uint32_t first, uint32_t last) {
      for (uint32_t row = first; row < last; ++row) {
        float* at = x.data() + size_t{row} * kHidden;
        kernels.add(at, update.data() + size_t{row} * kHidden, kHidden, at);
      }
    });
  });
  return static_cast<double>(x.size()) / took;
}

double measure_checksum(const Slab& slab, double seconds) {
  const uint64_t bytes = std::min<uint64_t>(kFinishBytes, slab.size());
  const uint64_t pieces = slab.size() / bytes;
  uint64_t next = 0;
  const double took = median_seconds(
      seconds, [&] { (void)hash_bytes(slab.span().subspan(next++ % pieces * bytes, bytes)); });
  return static_cast<double>(bytes) / took;
}

double measure_interleave(DType dtype, const Slab& slab, double seconds) {
  const size_t stride = kHidden * dtype_bytes(dtype);
  const uint64_t bytes = std::min<uint64_t>(kFinishBytes, slab.size());
  const auto rows = static_cast<uint32_t>(round_down(bytes / stride, kLanes));
  std::vector<std::byte> out(matrix_bytes(dtype, rows, kHidden));
  const uint64_t pieces = slab.size() / (rows * stride);
  uint64_t next = 0;
  const double took = median_seconds(seconds, [&] {
    const std::byte* source = slab.data() + next++ % pieces * rows * stride;
    for (uint32_t row = 0; row < rows; row += kLanes) {
      const std::byte* block = source + row * stride;
      if (!all_finite(dtype, {block, kLanes * stride})) return;
      interleave_block(dtype, block, stride, kLanes, kHidden,
                       out.data() + row / kLanes * block_bytes(dtype, kHidden));
    }
  });
  return static_cast<double>(rows * stride) / took;
}

Result<KernelFigures> measure_kernels(WorkerPool& pool, const Kernels& kernels,
                                      std::span<const DType> dtypes, uint64_t bytes) {
  KernelFigures figures;
  const uint64_t least = kExpertsAtOnce * 3 * matrix_bytes(DType::kF32, kIntermediate, kHidden);
  const Slab slab = TRY(Slab::allocate(std::max(bytes, least), "the products' test"));
  touch(pool, slab);
  for (const DType dtype : dtypes) {
    figures.products[std::string(dtype_name(dtype))] =
        measure_products(pool, kernels, dtype, slab, kProductsSeconds);
  }
  figures.section_seconds = measure_section(pool);
  figures.attention_flops = measure_attention(pool, kernels, kSmallSeconds);
  figures.row_elements = measure_rows(pool, kernels, kSmallSeconds);
  figures.checksum_bytes_per_second = measure_checksum(slab, kSmallSeconds);
  figures.interleave_bytes_per_second = measure_interleave(dtypes.front(), slab, kSmallSeconds);
  return figures;
}

}  // namespace switchyard
