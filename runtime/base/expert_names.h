#pragma once

#include <string>

namespace switchyard {

// What a checkpoint calls the matrices of one expert.
struct ExpertTensorNames {
  std::string gate;  // [intermediate, hidden]
  std::string up;    // [intermediate, hidden]
  std::string down;  // [hidden, intermediate]
};

}  // namespace switchyard
