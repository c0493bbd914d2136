#pragma once

// Runs the real program as a child and tells what it did.

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

namespace switchyard {

struct ChildOptions {
  std::string input{};                               // standard input
  std::map<std::string, std::string> environment{};  // beside PATH and HOME
  bool as_nobody = false;                            // when root runs the tests
  uint64_t file_bytes_max = 0;                       // files it writes are no longer; 0: any length
  std::function<void(int process)> on_first_output{};   // once, when standard output begins
  std::function<void(int process)> on_first_message{};  // the same for standard error
};

struct ChildResult {
  int exit_code = -1;  // 128 + n when it died of signal n
  bool killed = false;
  std::string out;
  std::string err;
  uint64_t peak_rss_bytes = 0;  // as the system counted it

  // Lines of `err` that are errors.
  std::vector<std::string> error_lines() const;
};

// Waits for the child; it is killed after a minute or two.
ChildResult run_switchyard(const std::vector<std::string>& arguments,
                           const ChildOptions& options = {});

// Fails the running test unless the child ended with `code` and just one line of error, which has
// every one of `needles` in it.
void expect_refused(const ChildResult& child, int code, const std::vector<std::string>& needles);

// The same for success.
void expect_done(const ChildResult& child);

}  // namespace switchyard
