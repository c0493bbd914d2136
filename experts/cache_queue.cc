#include "experts/cache_queue.h"

#include <fmt/format.h>

#include <string>
#include <utility>

#include "experts/expert_source.h"
#include "storage/input_file.h"

namespace switchyard {
namespace {

// Why reads through `source`'s files are slower than they might be; empty when they are not.
std::string page_cache_warning(const ExpertSource& source) {
  for (const ExpertKey key : source.keys()) {
    for (const ExpertPiece& piece : source.pieces(key)) {
      if (piece.file->direct_fd() >= 0) continue;
      return fmt::format("{}: read through the page cache, which is slower: {}", piece.file->path(),
                         piece.file->direct_refusal());
    }
  }
  return {};
}

}  // namespace

QueueChoice open_cache_queue(const ExpertSource& source, const ExpertCacheOptions& options,
                             std::span<std::byte> slab) {
  if (options.make_queue) return {options.make_queue(slab), {}};
  QueueChoice choice = open_read_queue(slab, options.queue_depth, !options.buffered);
  if (choice.warning.empty() && !options.buffered) choice.warning = page_cache_warning(source);
  if (options.wrap_queue) choice.queue = options.wrap_queue(std::move(choice.queue));
  return choice;
}

}  // namespace switchyard
