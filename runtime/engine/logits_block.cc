#include "runtime/engine/logits_block.h"

#include <fmt/format.h>

#include <algorithm>

#include "runtime/base/align.h"
#include "runtime/engine/products.h"
#include "runtime/kernels/matrix.h"

namespace switchyard {

VocabRange vocab_of(uint32_t rank, uint32_t ranks, uint32_t vocab) {
  const uint64_t blocks = ceil_div(vocab, kLanes);
  const auto at = [&](uint64_t i) {
    return static_cast<uint32_t>(std::min<uint64_t>(i * blocks / ranks * kLanes, vocab));
  };
  return {at(rank), at(rank + 1)};
}

Status compute_logits(const Compute& compute, const ModelSpec& spec, const DenseWeights& weights,
                      std::span<const WantedRow> some, VocabRange range, Workspace& workspace,
                      uint64_t& weight_bytes) {
  if (range.begin == range.end || some.empty()) return {};
  const size_t hidden = padded(spec.hidden), vocab = padded(spec.vocab);
  std::vector<uint32_t> rows;
  for (const WantedRow& wanted : some) {
    compute.kernels.rms_norm(workspace.x + wanted.row * hidden, weights.final_norm.data(),
                             spec.hidden, spec.hidden, spec.norm_eps,
                             workspace.normed + wanted.row * hidden);
    rows.push_back(wanted.row);
  }
  compute.kernels.pack(workspace.normed, hidden, rows.data(), static_cast<uint32_t>(rows.size()),
                       spec.hidden, workspace.packed);
  const MatrixView output = blocks_of(weights.output, range.begin, range.end);
  const Product product = {.w = &output,
                           .packed = workspace.packed,
                           .tokens = static_cast<uint32_t>(rows.size()),
                           .y = workspace.logits,
                           .y_stride = vocab};
  run_products(compute.pool, compute.kernels, {&product, 1});
  weight_bytes += product_weight_bytes(product);
  for (size_t i = 0; i < some.size(); ++i) {
    const std::span<const float> logits(workspace.logits + i * vocab, range.end - range.begin);
    if (all_finite(DType::kF32, std::as_bytes(logits))) continue;
    return fail(Code::kBadData,
                fmt::format("the logits at position {} are not finite", some[i].position), {},
                "the weights are damaged: they overflow fp32");
  }
  return {};
}

BestLogit best_logit(std::span<const float> logits, uint32_t first_token) {
  const auto best = std::max_element(logits.begin(), logits.end());
  return {*best, static_cast<TokenId>(first_token + (best - logits.begin()))};
}

}  // namespace switchyard
