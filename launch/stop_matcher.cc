#include "launch/stop_matcher.h"

#include <algorithm>
#include <utility>

#include "runtime/base/check.h"

namespace switchyard {

StopMatcher::StopMatcher(std::vector<std::string> stops) : stops_(std::move(stops)) {
  for (const std::string& stop : stops_) CHECK(!stop.empty());
}

// The longest end of held_ that begins a stop string.
size_t StopMatcher::undecided_bytes() const {
  size_t longest = 0;
  for (const std::string& stop : stops_) {
    for (size_t length = std::min(stop.size() - 1, held_.size()); length > longest; --length) {
      if (held_.ends_with(std::string_view(stop).substr(0, length))) longest = length;
    }
  }
  return longest;
}

std::string StopMatcher::push(std::string_view piece) {
  if (stopped_) return {};
  held_ += piece;
  size_t begin = std::string::npos;
  size_t end = std::string::npos;
  for (const std::string& stop : stops_) {
    const size_t at = held_.find(stop);
    if (at == std::string::npos) continue;
    if (at + stop.size() < end || (at + stop.size() == end && at < begin)) {
      begin = at;
      end = at + stop.size();
    }
  }
  stopped_ = end != std::string::npos;
  const size_t shown = stopped_ ? begin : held_.size() - undecided_bytes();
  std::string text = held_.substr(0, shown);
  held_ = stopped_ ? std::string() : held_.substr(shown);
  return text;
}

std::string StopMatcher::finish() { return std::exchange(held_, {}); }

}  // namespace switchyard
