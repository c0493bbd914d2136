#include "runtime/engine/sampler.h"

#include <algorithm>
#include <unordered_set>

#include "runtime/base/check.h"
#include "runtime/base/exact_math.h"

namespace switchyard {

Sampler::Sampler(const SamplerOptions& options) : options_(options), prng_(options.seed) {}

void Sampler::penalise(std::span<const TokenId> history) {
  const std::unordered_set<TokenId> seen(history.begin(), history.end());
  for (const TokenId id : seen) {
    float& logit = logits_[static_cast<size_t>(id)];
    logit = logit > 0 ? logit / options_.repeat_penalty : logit * options_.repeat_penalty;
  }
}

// Best first, cut to top-k, then to the nucleus of top-p, then to min-p.
void Sampler::keep_candidates() {
  const auto better = [](const Candidate& a, const Candidate& b) {
    return a.logit > b.logit || (a.logit == b.logit && a.id < b.id);
  };
  candidates_.clear();
  for (size_t i = 0; i < logits_.size(); ++i) {
    candidates_.push_back(
        {static_cast<TokenId>(i), static_cast<double>(logits_[i]) / options_.temperature});
  }
  const size_t kept = options_.top_k == 0 ? candidates_.size()
                                          : std::min<size_t>(options_.top_k, candidates_.size());
  std::partial_sort(candidates_.begin(), candidates_.begin() + static_cast<ptrdiff_t>(kept),
                    candidates_.end(), better);
  candidates_.resize(kept);

  const double best = candidates_.front().logit;
  double total = 0;
  for (Candidate& candidate : candidates_) {
    candidate.logit = exact_exp(candidate.logit - best);  // from here on a weight, 1 for the best
    total += candidate.logit;
  }
  double sum = 0;
  size_t end = 0;
  while (end < candidates_.size() && (end == 0 || sum < options_.top_p * total)) {
    sum += candidates_[end++].logit;
  }
  while (end > 1 && candidates_[end - 1].logit < options_.min_p) --end;
  candidates_.resize(end);
}

TokenId Sampler::sample(std::span<const float> logits, std::span<const TokenId> history) {
  CHECK(!logits.empty());
  logits_.assign(logits.begin(), logits.end());
  if (options_.repeat_penalty != 1) penalise(history);
  if (options_.temperature == 0) {
    return static_cast<TokenId>(std::max_element(logits_.begin(), logits_.end()) - logits_.begin());
  }
  keep_candidates();
  double total = 0;
  for (const Candidate& candidate : candidates_) total += candidate.logit;
  double left = prng_.uniform() * total;
  for (const Candidate& candidate : candidates_) {
    left -= candidate.logit;
    if (left < 0) return candidate.id;
  }
  return candidates_.back().id;
}

}  // namespace switchyard
