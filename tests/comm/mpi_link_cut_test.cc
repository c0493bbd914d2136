// Ranks on hosts whose link breaks: network namespaces, so for root alone.

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <string>
#include <thread>

#include "runtime/base/clock.h"
#include "tests/comm/hosts.h"

namespace switchyard {
namespace {

std::string text_of(const std::string& path) {
  std::ifstream in(path);
  return {std::istreambuf_iterator<char>(in), {}};
}

TEST(CutLink, BothSidesLeaveByThemselves) {
  if (const auto why = why_no_hosts()) GTEST_SKIP() << *why;
  const Hosts hosts;
  if (!hosts.up()) GTEST_SKIP() << "network namespaces are not allowed here";
  ::setenv("ASAN_OPTIONS", "detect_leaks=0", 0);
  const std::string mpirun =
      hosts.line(fmt::format("mpirun --mca orte_tmpdir_base {0} --oversubscribe --bind-to none "
                             "-host sw0,sw1,sw2 -n 3 {1} chat 2 {0}",
                             hosts.folder(), SWITCHYARD_MPI_PROGRAM));
  double cut = 0;
  std::thread job([&] {
    run_line(mpirun, [&](const std::string& line) {
      if (line.find("chatting") == std::string::npos) return;
      EXPECT_EQ(hosts.hosts("cut sw2").exit_code, 0);
      cut = now_seconds();
    });
  });
  // The ranks' own files tell: mpirun cannot hear a host whose link is cut.
  const auto said = [&](uint32_t rank) {
    return text_of(fmt::format("{}/rank{}", hosts.folder(), rank));
  };
  const auto all_left = [&] {
    for (uint32_t rank = 0; rank < 3; ++rank) {
      if (said(rank).find("silent") == std::string::npos) return false;
    }
    return true;
  };
  const double end = now_seconds() + 40;
  while (!all_left() && now_seconds() < end) sleep_until_seconds(now_seconds() + 0.1);
  const double left = now_seconds();
  EXPECT_TRUE(all_left());
  EXPECT_THAT(said(0), testing::HasSubstr("rank 2: silent"));
  EXPECT_THAT(said(1), testing::HasSubstr("rank 2: silent"));
  EXPECT_THAT(said(2), testing::ContainsRegex("rank [01]: silent"));
  hosts.hosts("down");  // mpirun waits for its daemon behind the cut link
  job.join();
  EXPECT_LT(left - cut, 8);
}

}  // namespace
}  // namespace switchyard
