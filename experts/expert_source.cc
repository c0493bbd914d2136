#include "experts/expert_source.h"

#include <fmt/format.h>

#include <utility>

#include "runtime/base/align.h"
#include "runtime/base/check.h"

namespace switchyard {

uint64_t bytes_in_pages(const ExpertPiece& piece) {
  return round_up(piece.offset + piece.bytes, kPageBytes) - round_down(piece.offset, kPageBytes);
}

std::unique_ptr<ExpertSource> ExpertSource::sliced(const std::vector<ExpertKey>& /*keys*/,
                                                   RowSlice /*slice*/) const {
  CHECK_THAT(false, "{} experts are not whole", keys().size());
  return nullptr;
}

Error in_expert(Error error, ExpertKey key) {
  if (!error.where.empty()) error.where += ", ";
  error.where += fmt::format("layer {}, expert {}", key.layer, key.expert);
  return error;
}

}  // namespace switchyard
