// `plan` beside what a run comes to.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "tests/e2e/child.h"
#include "tests/e2e/models.h"

namespace switchyard {
namespace {

using Json = nlohmann::json;
using testing::HasSubstr;

const std::string& demo() { return test_model("demo").path; }

Json plan_json(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), {"plan", demo(), "--json", "-"});
  const ChildResult child = run_switchyard(arguments);
  expect_done(child);
  return child.exit_code == 0 ? Json::parse(child.out) : Json();
}

TEST(CliPlan, ForeseesTheMemoryOfARun) {
  if (std::string(SWITCHYARD_SANITIZE) != "") GTEST_SKIP() << "sanitizers take memory of their own";
  const std::vector<std::string> flags = {"-p", "Call me", "-n", "16", "--expert-memory", "50%"};
  const Json plan = plan_json(flags);
  std::vector<std::string> run = {"run", demo(), "--json", "-"};
  run.insert(run.end(), flags.begin(), flags.end());
  const ChildResult child = run_switchyard(run);
  expect_done(child);
  const Json report = Json::parse(child.out);
  EXPECT_NEAR(plan["memory"]["total_bytes"].get<double>(),
              report["memory"]["peak_rss_bytes"].get<double>(), 8 << 20);
  EXPECT_EQ(plan["prompt_tokens"], report["prompt_tokens"]);
  EXPECT_EQ(plan["experts"]["in_memory"], report["experts"]["slots"]);
  EXPECT_EQ(plan["memory"]["planned_bytes"], report["memory"]["planned_bytes"]);
}

TEST(CliPlan, TellsRatesHitsAndWhatMoreMemoryBrings) {
  const Json plan = plan_json({"--prompt", "32", "-n", "8", "--expert-memory", "25%", "--drive",
                               "10MB/s", "--predictor", "none"});
  EXPECT_NEAR(plan["hit_rate"].get<double>(), 0.25, 0.03);
  EXPECT_EQ(plan["bottleneck"], "drive");
  const double decode = plan["tokens_per_second"]["decode"];
  const double read = plan["io"]["bytes_read_per_token"];
  EXPECT_NEAR(decode * read, 10e6, 1e6);
  EXPECT_GT(plan["tokens_per_second"]["prefill"].get<double>(), decode);
  EXPECT_EQ(plan["one_more_gib"]["hit_rate"], 1.0);
  EXPECT_GT(plan["one_more_gib"]["tokens_per_second"]["decode"].get<double>(), decode);
}

TEST(CliPlan, DescribesAMachineOneDoesNotHave) {
  const std::vector<std::string> flags = {"--prompt", "16", "-n", "8", "--drive", "1GB/s"};
  const auto experts = [&](const std::string& size) {
    std::vector<std::string> with = flags;
    with.insert(with.end(), {"--ram", size});
    return plan_json(with)["experts"]["in_memory"].get<uint32_t>();
  };
  EXPECT_LT(experts("24MiB"), experts("64GiB"));
  std::vector<std::string> device = flags;
  device.insert(device.end(), {"--vram", "4MiB", "--expert-memory", "25%"});
  EXPECT_GT(plan_json(device)["experts"]["on_device"], 0);
}

TEST(CliPlan, NamesTheMemoryThatIsTooSmall) {
  const ChildResult child = run_switchyard({"plan", demo(), "--ram", "2MiB"});
  EXPECT_EQ(child.exit_code, 71) << child.err;
  EXPECT_THAT(child.err, HasSubstr("of --ram 2MiB: --memory 1MiB is too small"));
  const ChildResult other =
      run_switchyard({"plan", demo(), "--ram", "8GiB", "--predictor", "nope"});
  EXPECT_EQ(other.err.find("--ram"), std::string::npos) << other.err;
}

// A device is empty when a run begins: it helps no prompt, and the longer it is used the more.
TEST(CliPlan, ADeviceFillsWhileTokensAreDecoded) {
  const auto plan = [](const std::string& device, const std::string& tokens) {
    return plan_json({"--prompt", "32", "-n", tokens, "--expert-memory", "25%", "--drive", "10MB/s",
                      "--predictor", "none", "--device", device});
  };
  const Json without = plan("none", "64"), with = plan("sim:64MiB,1GB/s,10us", "64");
  const double prefill = without["tokens_per_second"]["prefill"];
  EXPECT_NEAR(with["tokens_per_second"]["prefill"].get<double>(), prefill, 0.1 * prefill);
  EXPECT_EQ(without["device_hit_rate"], 0);
  EXPECT_GT(with["device_hit_rate"], 0.2);
  EXPECT_GT(with["hit_rate"], without["hit_rate"]);
  EXPECT_LT(plan("sim:64MiB,1GB/s,10us", "8")["hit_rate"], with["hit_rate"]);
  EXPECT_LT(with["hit_rate"], 1.0);
}

TEST(CliPlan, VerifyPrintsBothSides) {
  const ChildResult child = run_switchyard({"plan", demo(), "--prompt", "16", "-n", "8", "--drive",
                                            "1GB/s", "--batch", "2", "--verify"});
  expect_done(child);
  EXPECT_THAT(child.out, HasSubstr("predicted      measured"));
  EXPECT_THAT(child.out, HasSubstr("decode"));
}

TEST(CliPlan, NeedsNoWeights) {
  const std::string folder = testing::TempDir() + "plan_without_weights";
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);
  for (const auto& entry : std::filesystem::directory_iterator(demo())) {
    if (!entry.is_regular_file()) continue;
    const auto copy = folder / entry.path().filename();
    std::filesystem::copy_file(entry.path(), copy);
    if (entry.path().extension() != ".safetensors") continue;
    // The header stays; all that lies behind is a hole.
    const auto size = std::filesystem::file_size(copy);
    std::filesystem::resize_file(copy, std::min<uintmax_t>(size, 256 << 10));
    std::filesystem::resize_file(copy, size);
  }
  const ChildResult child =
      run_switchyard({"plan", folder, "--prompt", "8", "--drive", "1GB/s", "--json", "-"});
  expect_done(child);
  EXPECT_EQ(Json::parse(child.out)["parts"]["slots_bytes"],
            plan_json({"--prompt", "8", "--drive", "1GB/s"})["parts"]["slots_bytes"]);
  std::filesystem::remove_all(folder);
}

TEST(CliPlan, RefusesWhatRunWould) {
  expect_refused(run_switchyard({"plan", demo(), "--memory", "1MiB"}), 71, {"--memory"});
  expect_refused(run_switchyard({"plan", demo(), "--prompt", "4", "-p", "x"}), 2, {"--prompt"});
  expect_refused(run_switchyard({"plan", demo(), "--context", "8", "--prompt", "9"}), 2, {"9"});
}

}  // namespace
}  // namespace switchyard
