#include "runtime/base/spans.h"

#include <fmt/format.h>

#include <algorithm>

#include "runtime/base/file.h"

namespace switchyard {

void Spans::add(uint32_t track, std::string_view name, double begin_seconds, double end_seconds) {
  if (spans_.size() == kSpansMax) {
    ++dropped_;
    return;
  }
  spans_.push_back({track, std::string(name), begin_seconds, end_seconds});
}

void Spans::name_track(uint32_t track, std::string_view name) {
  if (track >= tracks_.size()) tracks_.resize(track + 1);
  tracks_[track] = name;
}

// Names are ours: letters, digits and blanks.
Status Spans::write(const std::string& path) const {
  double zero = 0;
  if (!spans_.empty()) zero = std::ranges::min(spans_, {}, &Span::begin).begin;
  std::string text = "{\"displayTimeUnit\": \"ms\", \"traceEvents\": [\n";
  for (size_t track = 0; track < tracks_.size(); ++track) {
    text += fmt::format(
        R"({{"ph": "M", "pid": 1, "tid": {}, "name": "thread_name", "args": {{"name": "{}"}}}},)"
        "\n",
        track, tracks_[track]);
  }
  for (const Span& span : spans_) {
    text += fmt::format(
        R"({{"ph": "X", "pid": 1, "tid": {}, "name": "{}", "ts": {:.3f}, "dur": {:.3f}}},)"
        "\n",
        span.track, span.name, 1e6 * (span.begin - zero), 1e6 * (span.end - span.begin));
  }
  text += R"({"ph": "M", "pid": 1, "name": "process_name", "args": {"name": "switchyard"}}]})";
  return write_file_atomically(path, text + "\n");
}

}  // namespace switchyard
