#include "launch/perplexity.h"

#include <algorithm>

#include "runtime/base/check.h"
#include "runtime/base/exact_math.h"

namespace switchyard {

EvalWindow next_window(const EvalWindow& window, size_t rows, size_t context, size_t stride) {
  const size_t begin = window.begin + stride;
  return {begin, window.end, std::min(begin + context, rows)};
}

std::vector<EvalWindow> plan_windows(size_t rows, size_t context, size_t stride) {
  CHECK(rows >= 1 && stride >= 1 && stride <= context);
  std::vector<EvalWindow> windows;
  EvalWindow window{0, 0, std::min(context, rows)};
  windows.push_back(window);
  while (window.end < rows) {
    window = next_window(window, rows, context, stride);
    windows.push_back(window);
  }
  return windows;
}

double negative_log_likelihood(std::span<const float> logits, size_t target) {
  CHECK(target < logits.size());
  const double most = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float logit : logits) sum += exact_exp(static_cast<double>(logit) - most);
  return exact_log(sum) - (static_cast<double>(logits[target]) - most);
}

double perplexity(double nll_sum, uint64_t scored) {
  return exact_exp(nll_sum / static_cast<double>(scored));
}

}  // namespace switchyard
