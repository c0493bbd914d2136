#include "launch/report_text.h"

#include <fmt/format.h>

namespace switchyard {

std::string fact_line(const std::string& name, const std::string& value) {
  return fmt::format("{:<16}{}\n", name, value);
}

std::string counted(int64_t count, const char* what) {
  return fmt::format("{} {}{}", count, what, count == 1 ? "" : "s");
}

}  // namespace switchyard
