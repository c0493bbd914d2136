#pragma once

// Short runs of the engine's own products and rows on made-up weights: what `plan` reckons with.

#include <cstdint>
#include <span>

#include "runtime/base/dtype.h"
#include "runtime/base/result.h"
#include "scheduler/cost_model.h"

namespace switchyard {

struct KernelFigures;
struct Kernels;
class Slab;
class WorkerPool;

// Weights a second of experts' products for several numbers of tokens, larger ones last, packing of
// rows included. `slab` holds some experts, more than the caches do to be of use, and no denormals.
// Takes about `seconds`.
ProductCurve measure_products(WorkerPool& pool, const Kernels& kernels, DType dtype,
                              const Slab& slab, double seconds);

// Of starting and joining the threads once.
double measure_section(WorkerPool& pool);

// fp32 operations a second of attention over keys and values in the caches, all threads.
double measure_attention(WorkerPool& pool, const Kernels& kernels, double seconds);

// Elements a second of what goes over rows of activations one after the other, all threads.
double measure_rows(WorkerPool& pool, const Kernels& kernels, double seconds);

// Bytes a second at which one thread checks an expert that was read, somewhere in `slab`, and the
// rate at which it makes one of a folder kernel-ready.
double measure_checksum(const Slab& slab, double seconds);
double measure_interleave(DType dtype, const Slab& slab, double seconds);

// All of it, products for weights of `dtypes`, in about a second for each. kNoMemory.
Result<KernelFigures> measure_kernels(WorkerPool& pool, const Kernels& kernels,
                                      std::span<const DType> dtypes, uint64_t bytes);

}  // namespace switchyard
