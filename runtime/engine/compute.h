#pragma once

namespace switchyard {

struct Kernels;
class WorkerPool;

// What computes: passed to every block.
struct Compute {
  const Kernels& kernels;
  WorkerPool& pool;
};

}  // namespace switchyard
