#include "experts/expert_source.h"

#include <fmt/format.h>

#include <utility>

#include "runtime/base/align.h"

namespace switchyard {

uint64_t bytes_in_pages(const ExpertPiece& piece) {
  return round_up(piece.offset + piece.bytes, kPageBytes) - round_down(piece.offset, kPageBytes);
}

Error in_expert(Error error, ExpertKey key) {
  if (!error.where.empty()) error.where += ", ";
  error.where += fmt::format("layer {}, expert {}", key.layer, key.expert);
  return error;
}

}  // namespace switchyard
