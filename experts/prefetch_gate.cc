#include "experts/prefetch_gate.h"

#include <algorithm>

namespace switchyard {
namespace {

constexpr double kNewer = 0.1;       // weight of the latest observation in a running mean
constexpr uint32_t kRestSteps = 16;  // of the first rest; each that follows at once doubles
constexpr uint32_t kRestStepsMax = 1024;
constexpr double kFading = 0.95;        // of bytes that became useful or were wasted, a step
constexpr double kTrustFading = 0.998;  // of promises and what became of them, a step
constexpr double kEvidenceMin = 4;      // jobs' worth of promises before judging
constexpr double kTrustPrior = 4;       // jobs' worth of trust at first
// Of what wrong guesses evict, so much has to be read again that would not have been.
constexpr double kRegretted = 0.3;

void mix_in(double& mean, double value) { mean += (mean == 0 ? 1 : kNewer) * (value - mean); }

}  // namespace

void PrefetchGate::end_layer(const LayerTimes& times) {
  if (times.seconds <= 0) return;
  mix_in(idle_seconds_, std::max(times.idle_seconds, 0.0));
  busy_ += kNewer * (std::clamp(times.stalled_seconds / times.seconds, 0.0, 1.0) - busy_);
}

void PrefetchGate::begin_step() {
  bytes_left_ = bytes_per_step_max_;
  useful_ *= kFading;
  wasted_ *= kFading;
  for (Account& account : accounts_) {
    account.promised *= kTrustFading;
    account.kept *= kTrustFading;
  }
  if (rest_ > 0) rest_ -= 1;
}

void PrefetchGate::observe_drive(double bytes, double seconds) {
  if (bytes > 0 && seconds > 0) mix_in(bytes_per_second_, bytes / seconds);
}

void PrefetchGate::observe_overhead(double seconds) { mix_in(overhead_seconds_, seconds); }

// How far promises were kept. What is absent is used less often than a prediction says of all.
double PrefetchGate::Account::trust() const {
  return (kept + kTrustPrior) / (promised + kTrustPrior);
}

bool PrefetchGate::admit(const Job& job) {
  if (resting() || job.bytes > bytes_left_ || bytes_per_second_ == 0) return false;
  const double probability = std::min(1.0, job.probability * account(job.layers_ahead).trust());
  const double read_seconds = static_cast<double>(job.bytes) / bytes_per_second_;
  const double begins = static_cast<double>(job.bytes_ahead) / bytes_per_second_;
  const double hidden = std::clamp(job.layers_ahead * idle_seconds_ - begins, 0.0, read_seconds);
  const double saved = probability * hidden;
  const double committed = static_cast<double>(bytes_committed_) / bytes_per_second_;
  const double delay = std::max(hidden, std::min(committed, read_seconds));
  const double cost =
      (1 - probability) * (delay * busy_ + overhead_seconds_ + kRegretted * read_seconds);
  if (saved <= cost) return false;
  bytes_left_ -= job.bytes;
  return true;
}

void PrefetchGate::useful(const Promise& promise, uint64_t bytes) {
  useful_ += static_cast<double>(bytes);
  account(promise.layers_ahead).promised += promise.probability;
  account(promise.layers_ahead).kept += 1;
  rest_length_ = 0;
}

void PrefetchGate::wasted(const Promise& promise, uint64_t bytes) {
  wasted_ += static_cast<double>(bytes);
  account(promise.layers_ahead).promised += promise.probability;
  const bool judged = accounts_[0].promised + accounts_[1].promised > kEvidenceMin;
  if (resting() || !judged || useful_ >= kUsefulPerWastedMin * wasted_) return;
  rest_length_ = std::clamp(2 * rest_length_, kRestSteps, kRestStepsMax);
  rest_ = rest_length_;
  useful_ = wasted_ = 0;
}

}  // namespace switchyard
