// The first byte chooses the parser of the command line.

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "launch/model_path.h"
#include "launch/parse.h"
#include "launch/stop_matcher.h"
#include "runtime/base/check.h"
#include "runtime/base/units.h"

namespace switchyard {
namespace {

void check_ids_list(std::string_view text) {
  const auto ids = parse_ids(text);
  if (!ids) return;
  CHECK(2 * ids->size() <= text.size() + 1);
  for (const TokenId id : *ids) CHECK(id >= 0);
}

void check_numbers(std::string_view text) {
  if (const auto integer = parse_integer(text, -1, 100)) CHECK(*integer >= -1 && *integer <= 100);
  if (const auto number = parse_number(text, 0, 1)) CHECK(*number >= 0 && *number <= 1);
  (void)parse_seed(text);
  (void)parse_size(text);
  if (const auto share = parse_size_or_share(text, 1000)) {
    CHECK(!text.ends_with('%') || *share <= 1000);
  }
}

void check_hub_name(std::string_view text) {
  const auto name = parse_hub_name(text);
  if (!name) return;
  for (const std::string_view part :
       {std::string_view(name->organisation), std::string_view(name->name)}) {
    CHECK(part.find('/') == std::string_view::npos && part != "..");
  }
  CHECK(name->revision.find("../") == std::string::npos && !name->revision.starts_with('/'));
}

// The first four bytes are the stop text, the rest comes a byte and at once: the same comes out.
void check_stop_matcher(std::string_view text) {
  if (text.size() < 4) return;
  const std::string stop(text.substr(0, 4));
  text.remove_prefix(4);
  StopMatcher whole({stop});
  StopMatcher pieces({stop});
  std::string expected = whole.push(text);
  expected += whole.finish();
  std::string shown;
  for (const char c : text) shown += pieces.push({&c, 1});
  shown += pieces.finish();
  CHECK(shown == expected && shown.find(stop) == std::string::npos);
  CHECK(whole.stopped() == pieces.stopped());
}

}  // namespace
}  // namespace switchyard

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data + 1), size - 1);
  switch (data[0] % 4) {
    case 0:
      switchyard::check_ids_list(text);
      break;
    case 1:
      switchyard::check_numbers(text);
      break;
    case 2:
      switchyard::check_hub_name(text);
      break;
    default:
      switchyard::check_stop_matcher(text);
  }
  return 0;
}
