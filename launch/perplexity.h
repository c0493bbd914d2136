#pragma once

// Teacher-forced scoring of a long text in windows.

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace switchyard {

// One window computes the rows [begin, end) of a text; those from score_begin on are its to score,
// the others are context.
struct EvalWindow {
  size_t begin = 0;
  size_t score_begin = 0;
  size_t end = 0;
};

// Windows of at most `context` rows, each `stride` after the last; every row in [0, rows) is scored
// by the first window that reaches it. 1 ≤ stride ≤ context.
// The one after `window`, of a text of which `rows` are known.
EvalWindow next_window(const EvalWindow& window, size_t rows, size_t context, size_t stride);
std::vector<EvalWindow> plan_windows(size_t rows, size_t context, size_t stride);

// −log of the probability that a row of logits gives `target`, in double. Blocks no one.
double negative_log_likelihood(std::span<const float> logits, size_t target);

// exp of the mean.
double perplexity(double nll_sum, uint64_t scored);

}  // namespace switchyard
