#include "runtime/engine/tokenizer/split.h"

#include <algorithm>

namespace switchyard {
namespace {

struct Segment {
  Match bytes;
  bool is_match = false;
};

std::vector<Segment> segments_of(size_t text_bytes, const std::vector<Match>& matches,
                                 bool invert) {
  std::vector<Segment> segments;
  segments.reserve(2 * matches.size() + 1);
  uint32_t done = 0;
  for (const Match& match : matches) {
    if (match.begin > done) segments.push_back({{done, match.begin}, invert});
    segments.push_back({match, !invert});
    done = match.end;
  }
  const auto end = static_cast<uint32_t>(text_bytes);
  if (end > done) segments.push_back({{done, end}, invert});
  return segments;
}

// A segment that `joins(before, segment)` extends the piece of the segment before it.
template <class Joins>
void merge_forward(const std::vector<Segment>& segments, const Joins& joins,
                   std::vector<Match>& pieces) {
  bool previous = false;
  bool first = true;
  for (const Segment& segment : segments) {
    if (!first && joins(previous, segment.is_match)) {
      pieces.back().end = segment.bytes.end;
    } else {
      pieces.push_back(segment.bytes);
    }
    previous = segment.is_match;
    first = false;
  }
}

void merge_backward(const std::vector<Segment>& segments, std::vector<Match>& pieces) {
  const auto start = static_cast<std::ptrdiff_t>(pieces.size());
  bool next = false;
  for (size_t i = segments.size(); i-- > 0;) {
    const Segment& segment = segments[i];
    if (i + 1 < segments.size() && segment.is_match && !next) {
      pieces.back().begin = segment.bytes.begin;
    } else {
      pieces.push_back(segment.bytes);
    }
    next = segment.is_match;
  }
  std::reverse(pieces.begin() + start, pieces.end());
}

}  // namespace

void split_text(size_t text_bytes, const std::vector<Match>& matches, bool invert,
                SplitBehavior behavior, std::vector<Match>& pieces) {
  const std::vector<Segment> segments = segments_of(text_bytes, matches, invert);
  const auto start = static_cast<std::ptrdiff_t>(pieces.size());
  switch (behavior) {
    case SplitBehavior::kIsolated:
      for (const Segment& segment : segments) pieces.push_back(segment.bytes);
      break;
    case SplitBehavior::kRemoved:
      for (const Segment& segment : segments) {
        if (!segment.is_match) pieces.push_back(segment.bytes);
      }
      break;
    case SplitBehavior::kContiguous:
      merge_forward(
          segments, [](bool before, bool now) { return before == now; }, pieces);
      break;
    case SplitBehavior::kMergedWithPrevious:
      merge_forward(
          segments, [](bool before, bool now) { return now && !before; }, pieces);
      break;
    case SplitBehavior::kMergedWithNext:
      merge_backward(segments, pieces);
      break;
  }
  const auto empty = [](const Match& piece) { return piece.begin == piece.end; };
  pieces.erase(std::remove_if(pieces.begin() + start, pieces.end(), empty), pieces.end());
}

}  // namespace switchyard
