#pragma once

#include "runtime/device/device.h"

namespace switchyard {

// The GPU of this number: memory and copies on a stream of their own. kUnavailable when there is
// none, or its driver does not work. Only in builds that found the CUDA toolkit.
Result<std::shared_ptr<Device>> open_cuda_device(uint32_t number);

}  // namespace switchyard
