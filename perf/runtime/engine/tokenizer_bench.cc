// Loading a tokenizer as large as a real one, and turning text into ids and back.

#include <benchmark/benchmark.h>
#include <malloc.h>

#include "runtime/base/prng.h"
#include "runtime/engine/tokenizer/tokenizer.h"
#include "tests/runtime/engine/tokenizer/synthetic.h"

namespace switchyard {
namespace {

constexpr size_t kTokens = 128'000;
constexpr size_t kMerges = 280'000;

const std::string& large_json() {
  static const std::string json = synthetic_tokenizer_json(kTokens, kMerges);
  return json;
}

const Tokenizer& large_tokenizer() {
  static const Tokenizer tokenizer = *Tokenizer::parse(large_json(), "synthetic");
  return tokenizer;
}

std::string random_text(size_t bytes, bool blanks) {
  constexpr std::string_view kLetters = "etaoinshrdlucmfwypvbgkjqxz";
  Prng prng(11);
  std::string text;
  while (text.size() < bytes) {
    if (blanks && prng.below(6) == 0) text.push_back(' ');
    text.push_back(kLetters[prng.below(kLetters.size())]);
  }
  return text;
}

size_t heap_bytes() {
  const struct mallinfo2 info = mallinfo2();
  return info.uordblks + info.hblkhd;
}

void load(benchmark::State& state) {
  const std::string& json = large_json();
  double kept = 0;
  for (auto _ : state) {
    const size_t before = heap_bytes();
    const Tokenizer tokenizer = *Tokenizer::parse(json, "synthetic");
    kept = static_cast<double>(heap_bytes() - before);
  }
  state.counters["json_MB"] = static_cast<double>(json.size()) / 1e6;
  state.counters["heap_MB"] = kept / 1e6;
}
BENCHMARK(load)->Unit(benchmark::kMillisecond);

// Argument: whether the text has blanks, or is one long word.
void encode(benchmark::State& state) {
  const std::string text = random_text(1 << 20, state.range(0) != 0);
  const Tokenizer& tokenizer = large_tokenizer();
  for (auto _ : state) benchmark::DoNotOptimize(tokenizer.encode(text)->size());
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * text.size()));
}
BENCHMARK(encode)->Arg(1)->Arg(0)->Unit(benchmark::kMillisecond);

void decode(benchmark::State& state) {
  const std::string text = random_text(1 << 20, true);
  const Tokenizer& tokenizer = large_tokenizer();
  const std::vector<TokenId> ids = *tokenizer.encode(text);
  for (auto _ : state) benchmark::DoNotOptimize(tokenizer.decode(ids)->size());
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * text.size()));
}
BENCHMARK(decode)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace switchyard
