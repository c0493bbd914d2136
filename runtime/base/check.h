#pragma once

// Assertions that hold in release builds too: a broken invariant stops the process with the values.

#include <fmt/core.h>

#include <cstdio>
#include <cstdlib>

namespace switchyard {

[[noreturn]] inline void check_failed(const char* file, int line, const char* condition,
                                      const std::string& values) {
  std::fprintf(stderr, "switchyard: bug at %s:%d: %s%s%s\n", file, line, condition,
               values.empty() ? "" : ": ", values.c_str());
  std::abort();
}

}  // namespace switchyard

#define CHECK(condition)                                                              \
  do {                                                                                \
    if (!(condition)) ::switchyard::check_failed(__FILE__, __LINE__, #condition, {}); \
  } while (false)

// With a format and values: CHECK_THAT(a < b, "a {} b {}", a, b).
#define CHECK_THAT(condition, ...)                                                            \
  do {                                                                                        \
    if (!(condition))                                                                         \
      ::switchyard::check_failed(__FILE__, __LINE__, #condition, ::fmt::format(__VA_ARGS__)); \
  } while (false)
