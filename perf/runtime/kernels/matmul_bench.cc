// Products on one thread beside this processor's bounds: one token against the best rate of
// reading memory, many tokens against the rate of fused multiply-adds. The bound is measured again
// beside every product, in turn, because rates drift; "fraction" is the median of the quotients.

#include <benchmark/benchmark.h>
#include <sys/mman.h>
#include <time.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "runtime/base/check.h"
#include "runtime/kernels/kernel_table.h"

namespace switchyard {
namespace {

constexpr size_t kWeightBytes = size_t{1} << 30;  // far beyond any cache
constexpr uint32_t kCols = 2048;

// The processor's time of this thread: what others take from a shared machine is not counted.
double seconds_now() {
  timespec now = {};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

template <class Work>
double seconds_of(const Work& work) {
  const double start = seconds_now();
  work();
  return seconds_now() - start;
}

double median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + values.size() / 2, values.end());
  return values[values.size() / 2];
}

// BF16 numbers of about unit size on huge pages, made once and kept to the end.
std::byte* weights() {
  static std::byte* const data = [] {
    void* memory =
        mmap(nullptr, kWeightBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(memory != MAP_FAILED);
    madvise(memory, kWeightBytes, MADV_HUGEPAGE);
    auto* words = static_cast<uint32_t*>(memory);
    for (uint32_t i = 0; i < kWeightBytes / 4; ++i) words[i] = 0x3f003f00 | (i * 2654435761u >> 9);
    return static_cast<std::byte*>(memory);
  }();
  return data;
}

double best_read_seconds(const Kernels& kernels) {
  double best = 1e9;
  for (uint32_t streams = 1; streams <= 8; ++streams) {
    const size_t bytes = kWeightBytes / (64 * streams) * (64 * streams);
    best = std::min(best, seconds_of([&] {
                      benchmark::DoNotOptimize(kernels.read_streams(weights(), bytes, streams));
                    }));
  }
  return best;
}

double fma_flop_per_s(const Kernels& kernels) {
  float sink = 0;
  double flop = 0;
  const double seconds = seconds_of([&] { flop = kernels.fma_rounds(5'000'000, &sink); });
  benchmark::DoNotOptimize(sink);
  return flop / seconds;
}

// The matrices that lie one after the other in weights(), each by the same tokens; gated: in pairs.
struct Products {
  const Kernels& kernels;
  uint32_t rows;
  uint32_t tokens;
  bool gated;
  size_t count = kWeightBytes / matrix_bytes(DType::kBF16, rows, kCols);
  std::vector<float> packed = std::vector<float>(size_t{tokens} * kCols, 0.5f);
  std::vector<float> y = std::vector<float>(size_t{tokens} * rows);

  size_t bytes_each() const { return matrix_bytes(DType::kBF16, rows, kCols); }
  MatrixView matrix(size_t i) const {
    return {weights() + i * bytes_each(), DType::kBF16, rows, kCols};
  }
  void run() {
    const uint32_t blocks = matrix(0).blocks();
    for (size_t i = 0; i < count; i += gated ? 2 : 1) {
      if (gated) {
        kernels.gated_matmul(matrix(i), matrix(i + 1), packed.data(), tokens, y.data(), rows, 0,
                             blocks);
      } else {
        kernels.matmul(matrix(i), packed.data(), tokens, kCols, y.data(), rows, 0, blocks);
      }
      benchmark::ClobberMemory();
    }
  }
};

void one_token(benchmark::State& state, const Kernels& kernels, uint32_t rows, bool gated) {
  Products products{kernels, rows, 1, gated};
  const double bytes = static_cast<double>(products.count * products.bytes_each());
  std::vector<double> fractions, rates;
  for (auto _ : state) {
    const double seconds = seconds_of([&] { products.run(); });
    state.SetIterationTime(seconds);
    rates.push_back(bytes / seconds);
    fractions.push_back(best_read_seconds(kernels) / kWeightBytes * bytes / seconds);
  }
  state.counters["GB/s"] = median(rates) * 1e-9;
  state.counters["fraction"] = median(fractions);
}

void many_tokens(benchmark::State& state, const Kernels& kernels, uint32_t rows, uint32_t tokens,
                 bool gated) {
  Products products{kernels, rows, tokens, gated};
  const double flop = 2.0 * tokens * rows * kCols * static_cast<double>(products.count);
  std::vector<double> fractions, rates;
  for (auto _ : state) {
    const double seconds = seconds_of([&] { products.run(); });
    state.SetIterationTime(seconds);
    rates.push_back(flop / seconds);
    fractions.push_back(flop / seconds / fma_flop_per_s(kernels));
  }
  state.counters["GFLOP/s"] = median(rates) * 1e-9;
  state.counters["fraction"] = median(fractions);
}

void bounds(benchmark::State& state, const Kernels& kernels) {
  std::vector<double> read, multiply;
  for (auto _ : state) {
    const double seconds = best_read_seconds(kernels);
    state.SetIterationTime(seconds);
    read.push_back(kWeightBytes / seconds);
    multiply.push_back(fma_flop_per_s(kernels));
  }
  state.counters["GB/s"] = median(read) * 1e-9;
  state.counters["GFLOP/s"] = median(multiply) * 1e-9;
}

template <class... Arguments>
void add(const std::string& name, void (*function)(benchmark::State&, const Kernels&, Arguments...),
         const Kernels& kernels, Arguments... arguments) {
  benchmark::RegisterBenchmark((std::string(kernels.name) + "/" + name).c_str(),
                               [function, &kernels, arguments...](benchmark::State& state) {
                                 function(state, kernels, arguments...);
                               })
      ->Iterations(7)
      ->UseManualTime()
      ->Unit(benchmark::kMillisecond);
}

const bool kRegistered = [] {
  for (const Kernels& kernels : all_kernels()) {
    if (!kernels.supported() || std::strcmp(kernels.name, "scalar") == 0) continue;
    add("bounds", bounds, kernels);
    for (const uint32_t rows : {1024u, 2048u}) {
      const std::string shape = std::to_string(rows) + "x" + std::to_string(kCols);
      add(shape + "/tokens:1", one_token, kernels, rows, false);
      add(shape + "/tokens:1/gated", one_token, kernels, rows, true);
      for (const uint32_t tokens : {2u, 4u, 8u, 12u, 16u, 64u}) {
        const std::string name = shape + "/tokens:" + std::to_string(tokens);
        add(name, many_tokens, kernels, rows, tokens, false);
        if (tokens == 64) add(name + "/gated", many_tokens, kernels, rows, tokens, true);
      }
    }
  }
  return true;
}();

}  // namespace
}  // namespace switchyard
