#pragma once

// How reports for people are worded.

#include <cstdint>
#include <string>

namespace switchyard {

// A line of two columns.
std::string fact_line(const std::string& name, const std::string& value);

// "1 token", "2 tokens".
std::string counted(int64_t count, const char* what);

}  // namespace switchyard
