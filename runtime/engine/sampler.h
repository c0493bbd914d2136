#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "runtime/base/ids.h"
#include "runtime/base/prng.h"

namespace switchyard {

struct SamplerOptions {
  float temperature = 0;  // 0: the best token; equal logits go to the lower id
  uint32_t top_k = 0;     // 0: all
  float top_p = 1;        // 1: all
  float min_p = 0;        // of the best token's probability; 0: all
  float repeat_penalty =
      1;  // of tokens in the history: positive logits are divided, others multiplied
  uint64_t seed = 0;
};

// Chooses the next token. The same logits, history, options and number of earlier calls give the
// same token on every machine. Order: penalty, temperature, top-k, top-p, min-p.
class Sampler {
 public:
  explicit Sampler(const SamplerOptions& options);

  // `history` is the prompt and what was generated so far. Blocks no one; one thread at a time.
  TokenId sample(std::span<const float> logits, std::span<const TokenId> history);

 private:
  struct Candidate {
    TokenId id;
    double logit;
  };
  void penalise(std::span<const TokenId> history);
  void keep_candidates();

  SamplerOptions options_;
  Prng prng_;
  std::vector<float> logits_;
  std::vector<Candidate> candidates_;
};

}  // namespace switchyard
