#pragma once

#include <cstdint>
#include <span>

#include "runtime/base/routed_expert.h"

namespace switchyard {

struct Kernels;

// Takes a token's router logits [experts] (overwritten by their softmax) to its `chosen.size()`
// best experts, best first; equal scores go to the lower id. Gate weights are the softmax over all
// experts, divided by their sum (taken in that order) when `renormalise`.
void route_token(const Kernels& kernels, std::span<float> logits, bool renormalise,
                 std::span<RoutedExpert> chosen);

}  // namespace switchyard
