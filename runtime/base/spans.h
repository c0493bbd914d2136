#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/base/result.h"

namespace switchyard {

// What went on when, for a viewer of Chrome's trace format (Perfetto). Tracks are rows of the view.
// Bounded: what comes after kSpansMax is counted, not kept. One thread.
class Spans {
 public:
  static constexpr size_t kSpansMax = 1'000'000;

  // Seconds are those of now_seconds().
  void add(uint32_t track, std::string_view name, double begin_seconds, double end_seconds);
  void name_track(uint32_t track, std::string_view name);
  uint64_t dropped() const { return dropped_; }

  // One JSON object. kIo, kPermission.
  Status write(const std::string& path) const;

 private:
  struct Span {
    uint32_t track;
    std::string name;
    double begin, end;
  };
  std::vector<Span> spans_;
  std::vector<std::string> tracks_;
  uint64_t dropped_ = 0;
};

}  // namespace switchyard
