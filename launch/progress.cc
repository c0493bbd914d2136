#include "launch/progress.h"

#include <fmt/format.h>

#include <algorithm>
#include <ostream>

#include "runtime/base/clock.h"
#include "runtime/base/units.h"

namespace switchyard {
namespace {

constexpr double kQuietSeconds = 0.5;   // what is over sooner shows nothing
constexpr double kRedrawSeconds = 0.1;  // on a terminal
constexpr double kLineSecondsMin = 1;   // elsewhere
constexpr double kLineSecondsMax = 5;
constexpr uint64_t kLinePercent = 10;
constexpr size_t kBarWidth = 24;

uint64_t percent_of(uint64_t done, uint64_t all) {
  return all == 0 ? 100 : static_cast<uint64_t>(100.0 * static_cast<double>(done) / all);
}

std::string rate_text(const ProgressState& state) {
  if (!(state.seconds > 0) || state.done == 0) return {};
  const double rate = static_cast<double>(state.done) / state.seconds;
  const double left = static_cast<double>(state.all - state.done) / rate;
  const std::string speed = state.bytes ? format_rate(rate) : fmt::format("{:.1f} tok/s", rate);
  return fmt::format("  {}  {} left", speed, format_seconds(left));
}

}  // namespace

std::string progress_line(const ProgressState& given, bool bar) {
  ProgressState state = given;
  state.done = std::min(state.done, state.all);
  const uint64_t percent = percent_of(state.done, state.all);
  std::string drawn;
  if (bar) {
    const size_t filled = kBarWidth * percent / 100;
    drawn = fmt::format(" [{}{}]", std::string(filled, '#'), std::string(kBarWidth - filled, '.'));
  }
  return fmt::format("{}{} {:3} %{}", state.label, drawn, percent, rate_text(state));
}

Progress::Progress(Console& console, std::string label, bool bytes, std::function<double()> clock)
    : console_(console), clock_(clock ? std::move(clock) : now_seconds) {
  state_.label = std::move(label);
  state_.bytes = bytes;
  begin_ = shown_at_ = clock_();
}

Progress::~Progress() {
  if (drawn_ && console_.err_is_terminal) console_.err << "\r\x1b[K" << std::flush;
}

bool Progress::is_due(double now, uint64_t percent) const {
  if (now - begin_ < kQuietSeconds) return false;
  const double since = now - shown_at_;
  if (console_.err_is_terminal) return !drawn_ || since >= kRedrawSeconds;
  return since >= kLineSecondsMax ||
         (since >= kLineSecondsMin && percent >= percent_shown_ + kLinePercent);
}

void Progress::update(uint64_t done, uint64_t all) {
  const double now = clock_();
  const uint64_t percent = percent_of(std::min(done, all), all);
  if (!is_due(now, percent)) return;
  state_.done = done;
  state_.all = all;
  state_.seconds = now - begin_;
  const std::string line = progress_line(state_, console_.err_is_terminal);
  if (console_.err_is_terminal) {
    console_.err << '\r' << line << "\x1b[K" << std::flush;
  } else {
    console_.err << line << std::endl;
  }
  drawn_ = true;
  shown_at_ = now;
  percent_shown_ = percent;
}

}  // namespace switchyard
