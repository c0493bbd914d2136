#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace switchyard {

// Finds the text that ends a generation in text that comes in pieces, and lets nothing of it
// through. Which stop string ends it depends on the text alone, not on where the pieces were cut:
// the one that is complete first, the longest of those.
class StopMatcher {
 public:
  explicit StopMatcher(std::vector<std::string> stops);  // none empty

  // The text that may be shown now: up to a stop string, or up to what may yet become one.
  std::string push(std::string_view piece);
  // The text held back when no more comes; empty once stopped.
  std::string finish();
  bool stopped() const { return stopped_; }

 private:
  size_t undecided_bytes() const;

  std::vector<std::string> stops_;
  std::string held_;
  bool stopped_ = false;
};

}  // namespace switchyard
