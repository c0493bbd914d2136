// run with a device: experts in its memory, on a machine without a GPU.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "tests/e2e/child.h"
#include "tests/e2e/models.h"
#include "tests/storage/temp_folder.h"

namespace switchyard {
namespace {

using Json = nlohmann::json;
using testing::AnyOf;
using testing::HasSubstr;

constexpr uint64_t kMiB = uint64_t{1} << 20;
constexpr bool kSanitized = std::string_view(SWITCHYARD_SANITIZE).size() > 0;

std::vector<std::string> arguments_for(const std::string& device) {
  return {"run",         test_model("demo").path,
          "-p",          "The sea",
          "-n",          "64",
          "--temp",      "0",
          "-t",          "1",
          "--memory",    "7MiB",
          "--device",    device,
          "--ignore-eos"};
}

struct DeviceResult {
  Json report;
  ChildResult child;
  uint64_t peak() const { return report["memory"]["peak_rss_bytes"]; }
};

DeviceResult run_on(const std::string& device, const std::vector<std::string>& more = {}) {
  const TempFolder folder;
  std::vector<std::string> arguments = arguments_for(device);
  arguments.insert(arguments.end(), more.begin(), more.end());
  arguments.insert(arguments.end(), {"--json", folder / "run.json"});
  DeviceResult run;
  run.child = run_switchyard(arguments);
  expect_done(run.child);
  run.report = Json::parse(read_text(folder / "run.json"));
  return run;
}

TEST(DeviceRun, CountsTheUsesOfEveryTierAndKeepsTheBits) {
  const DeviceResult none = run_on("none");
  EXPECT_EQ(none.report["experts"]["tiers"]["device"]["slots"], 0);
  for (const char* device : {"sim:1MiB,1GB/s,200us", "sim:64MiB,16GB/s,10us"}) {
    SCOPED_TRACE(device);
    const DeviceResult run = run_on(device);
    EXPECT_EQ(run.report["logits_hash"], none.report["logits_hash"]);
    EXPECT_EQ(run.report["text"], none.report["text"]);
    const Json& experts = run.report["experts"];
    const Json& tiers = experts["tiers"];
    EXPECT_EQ(tiers["device"]["name"], "sim");
    EXPECT_EQ(tiers["device"]["hits"].get<uint64_t>() + tiers["host"]["hits"].get<uint64_t>(),
              experts["hits"].get<uint64_t>());
    EXPECT_EQ(tiers["drive"]["misses"], experts["misses"]);
    EXPECT_THAT(run.child.err, HasSubstr("device sim: "));
  }
}

TEST(DeviceRun, ItsMemoryIsNotTheProcesss) {
  const DeviceResult none = run_on("none"), large = run_on("sim:64MiB,16GB/s,10us");
  const Json& device = large.report["experts"]["tiers"]["device"];
  EXPECT_GT(device["hits"], 0);
  EXPECT_GT(device["copies"], 0);
  EXPECT_GT(device["copied_bytes"], device["copies"]);
  EXPECT_LT(large.report["experts"]["misses"], none.report["experts"]["misses"]);
  if (kSanitized) return;
  EXPECT_EQ(device["slots"], large.report["experts"]["count"]);  // more than 16 MiB of them
  EXPECT_GE(large.child.peak_rss_bytes, none.child.peak_rss_bytes + 14 * kMiB);
  EXPECT_LE(large.peak(), none.peak() + 2 * kMiB);
}

TEST(DeviceRun, ShowsCopiesBesideComputing) {
  const TempFolder folder;
  (void)run_on("sim:64MiB,16GB/s,10us", {"--spans", folder / "spans.json"});
  const std::string spans = read_text(folder / "spans.json");
  EXPECT_THAT(spans, HasSubstr("copies to the device"));
  EXPECT_THAT(spans, HasSubstr("\"copy "));
}

TEST(DeviceRun, RefusesDevicesThatAreNone) {
  expect_refused(run_switchyard(arguments_for("gpu")), 2, {"--device", "'gpu'", "cuda[:N]"});
  expect_refused(run_switchyard(arguments_for("sim:1GiB")), 2, {"sim:1GiB"});
  expect_refused(run_switchyard(arguments_for("sim:64KiB,1GB/s,1us")), 71, {"64.0 KiB", "96KiB"});
  const ChildResult child = run_switchyard(arguments_for("cuda:999"));
  EXPECT_THAT(child.exit_code, AnyOf(69, 78));
  expect_refused(child, child.exit_code, {"cuda"});
}

}  // namespace
}  // namespace switchyard
