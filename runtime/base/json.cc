#include "runtime/base/json.h"

#include <fmt/core.h>

#include <nlohmann/json.hpp>

namespace switchyard {

namespace {

// Without the library's own name for it.
std::string reason(const Json::exception& error) {
  const std::string_view what = error.what();
  const size_t end = what.find("] ");
  return std::string(end == std::string_view::npos ? what : what.substr(end + 2));
}

}  // namespace

Result<Json> parse_json(std::string_view text, const std::string& where) {
  // The library would take it for the end of the text.
  if (const size_t nul = text.find('\0'); nul != std::string_view::npos) {
    return fail(Code::kBadData, fmt::format("not valid JSON: a NUL byte at {}", nul), where);
  }
  constexpr int kDepthMax = 64;
  bool too_deep = false;
  const auto guard = [&too_deep](int depth, Json::parse_event_t, Json&) {
    too_deep = too_deep || depth >= kDepthMax;
    return !too_deep;
  };
  try {
    Json value = Json::parse(text, guard);
    if (too_deep) return fail(Code::kBadData, "JSON nested deeper than 64", where);
    return value;
  } catch (const Json::exception& error) {
    return fail(Code::kBadData, std::string("not valid JSON: ") + reason(error), where);
  }
}

}  // namespace switchyard
