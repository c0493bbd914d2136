#include "launch/stop_signal.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>

#include "runtime/base/check.h"
#include "runtime/base/result.h"

namespace switchyard {
namespace {

std::atomic<int> received_signal = 0;
std::atomic<bool> deferred = false;
std::atomic<bool> alive = false;
std::atomic<bool> file_to_remove = false;
std::array<char, 4097> file_name{};
constexpr std::array kSignals = {SIGINT, SIGTERM, SIGUSR1};
std::array<struct sigaction, kSignals.size()> previous;

int exit_code_of(int number) {
  return number == SIGUSR1 ? static_cast<int>(Code::kStopped) : 128 + number;
}

void on_signal(int number) {
  int none = 0;
  const bool first = received_signal.compare_exchange_strong(none, number);
  if (first && deferred) return;
  if (file_to_remove) ::unlink(file_name.data());
  ::_exit(exit_code_of(number));
}

}  // namespace

StopSignal::StopSignal() {
  CHECK(!alive.exchange(true));
  received_signal = 0;
  deferred = false;
  file_to_remove = false;
  struct sigaction action {};
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESTART;
  for (size_t i = 0; i < kSignals.size(); ++i) ::sigaction(kSignals[i], &action, &previous[i]);
}

StopSignal::~StopSignal() {
  for (size_t i = 0; i < kSignals.size(); ++i) ::sigaction(kSignals[i], &previous[i], nullptr);
  alive = false;
}

void StopSignal::defer() { deferred = true; }
void StopSignal::act_at_once() { deferred = false; }

void StopSignal::remove_at_end(const std::string& path) {
  file_to_remove = false;
  if (path.empty() || path.size() >= file_name.size()) return;
  file_name.fill('\0');
  std::copy(path.begin(), path.end(), file_name.begin());
  file_to_remove = true;
}

int StopSignal::received() const { return received_signal; }
int StopSignal::exit_code() const { return exit_code_of(received()); }

void leave_signals_to_rank_0() {
  for (const int number : kSignals) ::signal(number, SIG_IGN);
}

}  // namespace switchyard
