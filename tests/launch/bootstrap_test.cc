#include "launch/bootstrap.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>
#include <stdlib.h>

#include <string>

namespace switchyard {
namespace {

// What SLURM 22.05 and Open MPI 4.1 set, as seen.
const Environment kBatchScript = {{"SLURM_JOB_ID", "9"},
                                  {"SLURM_PROCID", "0"},
                                  {"SLURM_NTASKS", "4"},
                                  {"SLURM_LOCALID", "0"},
                                  {"SLURM_NODEID", "0"},
                                  {"SLURM_NPROCS", "4"},
                                  {"SLURM_TASKS_PER_NODE", "2(x2)"}};
const Environment kAllocation = {
    {"SLURM_JOB_ID", "10"}, {"SLURM_NTASKS", "2"}, {"SLURM_TASKS_PER_NODE", "1(x2)"}};

Environment with(Environment base, const Environment& more) {
  for (const auto& [name, value] : more) base.insert_or_assign(name, value);
  return base;
}

Environment step(const std::string& tasks, const std::string& tasks_per_node) {
  return with(kBatchScript, {{"SLURM_STEP_ID", "0"},
                             {"SLURM_NTASKS", tasks},
                             {"SLURM_STEP_NUM_TASKS", tasks},
                             {"SLURM_STEP_TASKS_PER_NODE", tasks_per_node}});
}

Environment mpirun(const std::string& size, const std::string& local_size,
                   const std::string& local_rank) {
  return {{"OMPI_COMM_WORLD_SIZE", size},
          {"OMPI_COMM_WORLD_LOCAL_SIZE", local_size},
          {"OMPI_COMM_WORLD_LOCAL_RANK", local_rank},
          {"PMIX_NAMESPACE", "2680094721"},
          {"PMIX_RANK", local_rank}};
}

const Environment kPmix = {{"PMIX_NAMESPACE", "slurm.pmix.9.2"}, {"PMIX_RANK", "3"}};

void expect(const Environment& environment, LaunchKind kind) {
  const auto decided = decide_launch(environment);
  ASSERT_TRUE(decided.has_value()) << to_line(decided.error());
  EXPECT_EQ(*decided, kind);
}

void expect_refused(const Environment& environment, const std::string& what) {
  const auto decided = decide_launch(environment);
  ASSERT_FALSE(decided.has_value());
  EXPECT_EQ(decided.error().code, Code::kUsage);
  EXPECT_THAT(decided.error().what, testing::HasSubstr(what));
  EXPECT_THAT(decided.error().hint, testing::HasSubstr("srun --mpi=pmix"));
  EXPECT_THAT(decided.error().hint, testing::HasSubstr("mpirun"));
}

TEST(DecideLaunch, OneProcessNeedsNoMpi) {
  expect({}, LaunchKind::kPlain);
  expect(mpirun("1", "1", "0"), LaunchKind::kPlain);
  expect(step("1", "1"), LaunchKind::kPlain);
  expect(with(step("1", "1"), kPmix), LaunchKind::kPlain);
}

TEST(DecideLaunch, ABatchScriptIsOneProcessWhateverItsJob) {
  expect(kBatchScript, LaunchKind::kPlain);
  expect(kAllocation, LaunchKind::kPlain);
  expect(with(kBatchScript, {{"SLURM_STEP_ID", "4294967291"}}), LaunchKind::kPlain);
}

TEST(DecideLaunch, SeveralRanksThatMpiKnows) {
  expect(mpirun("2", "2", "1"), LaunchKind::kMpi);
  expect(with(step("4", "2(x2)"), kPmix), LaunchKind::kMpi);
  expect(kPmix, LaunchKind::kMpi);
}

// There, a rank on another node than mpirun is in a step of one task: the daemon's.
TEST(DecideLaunch, MpirunInsideABatchScript) {
  expect(with(kBatchScript, mpirun("4", "2", "0")), LaunchKind::kMpi);
  expect(with(step("1", "1"), mpirun("4", "2", "0")), LaunchKind::kMpi);
  expect(with(kBatchScript, mpirun("1", "1", "0")), LaunchKind::kPlain);
}

TEST(DecideLaunch, SeveralProcessesThatOpenMpiWouldEnd) {
  expect_refused(step("4", "2(x2)"), "srun started 4 processes");
  expect_refused(with(step("2", "2"), {{"PMI_RANK", "1"}, {"PMI_SIZE", "2"}}),
                 "srun started 2 processes");
  expect_refused({{"PMI_RANK", "1"}, {"PMI_SIZE", "3"}}, "another MPI started 3 processes");
  Environment old = step("4", "4");
  old.erase("SLURM_STEP_NUM_TASKS");
  expect_refused(old, "srun started 4 processes");
}

void expect_share(const Environment& environment, uint32_t ranks, uint32_t rank) {
  const NodeShare share = node_share(environment);
  EXPECT_EQ(share.ranks, ranks);
  EXPECT_EQ(share.rank, rank);
}

TEST(NodeShareTest, IsWhatTheStarterSays) {
  expect_share({}, 1, 0);
  expect_share(kBatchScript, 1, 0);
  expect_share(mpirun("8", "4", "3"), 4, 3);
  expect_share(with(kBatchScript, mpirun("4", "2", "1")), 2, 1);
  expect_share(with(step("1", "1"), mpirun("4", "2", "1")), 2, 1);
}

TEST(NodeShareTest, ReadsSlurmsListOfNodes) {
  const auto on_node = [](const std::string& list, const char* node, const char* local) {
    return with(step("7", list), {{"SLURM_NODEID", node}, {"SLURM_LOCALID", local}});
  };
  expect_share(on_node("2(x3),1", "2", "1"), 2, 1);
  expect_share(on_node("2(x3),1", "3", "0"), 1, 0);
  expect_share(on_node("3,4", "1", "3"), 4, 3);
  for (const char* bad : {"", "2(x3)", "2(x", "2(x)", "(x3),1", "x", "2(x9999999999),1", ","}) {
    expect_share(on_node(bad, "3", "0"), 1, 0);
  }
  expect_share(on_node("1,1", "1", "1"), 1, 0);  // not possible
}

RC_GTEST_PROP(NodeShareTest, NoListIsTooOdd, (const std::string& list)) {
  const NodeShare share = node_share(step("7", list));
  RC_ASSERT(share.rank < share.ranks);
}

TEST(NodeShareTest, DividesWhatTheRanksOfANodeShare) {
  const NodeShare share{.ranks = 3, .rank = 1};
  EXPECT_EQ(share.of_bytes(10), 3U);
  EXPECT_EQ(share.of_threads(16), 5U);
  EXPECT_EQ(share.of_threads(2), 1U);
}

TEST(IsFirstApart, OfSlurmsTasksAndOfAnotherMpisRanks) {
  EXPECT_TRUE(is_first_apart({}));
  EXPECT_TRUE(is_first_apart(step("4", "2(x2)")));
  EXPECT_FALSE(is_first_apart(with(step("4", "2(x2)"), {{"SLURM_PROCID", "3"}})));
  EXPECT_FALSE(is_first_apart({{"PMI_RANK", "1"}, {"PMI_SIZE", "3"}}));
}

TEST(SetUpOpenMpi, LeavesWhatTheUserSet) {
  const char* const name = "OMPI_MCA_pmix_base_async_modex";
  ::unsetenv(name);
  set_up_open_mpi(mpirun("2", "2", "1"));
  EXPECT_EQ(::getenv(name), nullptr);
  set_up_open_mpi(kPmix);
  EXPECT_STREQ(::getenv(name), "1");
  ::setenv(name, "0", 1);
  set_up_open_mpi(kPmix);
  EXPECT_STREQ(::getenv(name), "0");
}

TEST(ProcessEnvironment, HasTheVariablesOfThisProcess) {
  ::setenv("SWITCHYARD_TEST_VARIABLE", "a=b", 1);
  EXPECT_EQ(process_environment()["SWITCHYARD_TEST_VARIABLE"], "a=b");
}

}  // namespace
}  // namespace switchyard
