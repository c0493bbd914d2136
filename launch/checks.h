#pragma once

// What this machine and job offer, each as one line for `doctor`.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace switchyard {

enum class CheckState : uint8_t { kOk, kLimited, kMissing };
std::string_view check_state_name(CheckState state);  // "ok", "limited", "missing"

struct Check {
  std::string name;
  CheckState state = CheckState::kOk;
  std::string value;
  std::string mend;  // what to do about it, or what it is for; may be empty
};

// `root` is put before /proc and /sys: "" for the machine's own, a folder in tests.
Check check_cores(const std::string& root);
Check check_instruction_sets();
Check check_numa();
Check check_memory(const std::string& root);
Check check_huge_pages(const std::string& root);
Check check_io_uring(const std::string& root);  // by trying
Check check_memlock();                          // by registering a buffer
// Looked for in $PATH and by the dynamic linker; nothing of theirs is linked.
Check check_mpi();
Check check_cuda();

// A table with a line, or two, for each.
std::string checks_table(const std::vector<Check>& checks);

}  // namespace switchyard
