#pragma once

// How long steps of a model take on a machine, from figures alone. Pure.
//
// A layer first does what needs no expert, then asks for its experts; those in memory are computed
// while the others are read. So a layer's experts take the longer of reading and computing them,
// and what comes after the last read.

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace switchyard {

// Weights a second that products of so many tokens at once use.
struct ProductPoint {
  uint32_t tokens = 0;
  double weights_per_second = 0;
};

// Times in between are interpolated, those beyond the last point grow with the tokens. Not empty,
// tokens ascending.
using ProductCurve = std::vector<ProductPoint>;
double seconds_per_weight(const ProductCurve& curve, double tokens);

struct MachineRates {
  ProductCurve products;
  double memory_bytes_per_second = 0;  // for the bottleneck's name only
  double section_seconds = 0;          // starting and joining the threads once
  double layer_seconds = 0;            // of what one thread does alone in a layer's step
  double attention_flops = 0;          // operations a second
  double row_elements = 0;             // elements of activations a second
  double finish_bytes_per_second = 0;  // making an expert that was read ready
  double drive_bytes_per_second = 0;   // that it keeps up
  double drive_burst_per_second = 0;   // after a pause: some drives and limits save up for it
  double drive_latency_seconds = 0;    // until the first bytes of a request
};

// What of a model costs time. Weights are elements, of all layers together unless told.
struct ModelWork {
  uint32_t layers = 0;
  uint32_t sparse_layers = 0;
  uint32_t experts = 0;  // of a sparse layer
  uint32_t top_k = 0;
  double dense_weights = 0;   // attention, routers, MLPs of layers that are not sparse
  double shared_weights = 0;  // shared experts: computed while others are read
  double output_weights = 0;
  double expert_weights = 0;    // of one
  double weight_bytes = 0;      // of one weight
  double read_bytes = 0;        // of one expert on the drive
  double attention_width = 0;   // of a layer's queries
  double row_elements = 0;      // touched for each token and layer beside the products
  uint32_t layer_sections = 0;  // times that a layer starts all threads
};

// One step. `positions` are summed over its rows: what each attends to.
struct StepShape {
  uint32_t rows = 0;
  double positions = 0;
  uint32_t logits = 0;  // rows of them
  // 0…1: how far reads for the layer to come fill the time in which the drive has nothing to do.
  double read_ahead = 0;
};

struct StepCost {
  double seconds = 0;
  double stall_seconds = 0;   // of it, waiting for the drive
  double memory_seconds = 0;  // of it, reading weights at the memory's rate would take
  double bytes_read = 0;

  void add(const StepCost& other, double times = 1);
};

// `resident[l]`: the share of sparse layer l's experts that is in memory or on a device, where they
// are computed as fast; which ones are wanted is as good as random.
StepCost step_cost(const ModelWork& work, const MachineRates& machine, const StepShape& step,
                   std::span<const double> resident);

// How many of `experts` are wanted when each of `rows` tokens picks its own `top_k`.
double expected_experts(uint32_t experts, uint32_t top_k, uint32_t rows);

// "memory", "drive" or "compute": where most of the time goes.
std::string_view bottleneck(const StepCost& cost);

}  // namespace switchyard
