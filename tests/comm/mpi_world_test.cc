#include "comm/mpi_world.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/comm/mpirun.h"

namespace switchyard {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::EndsWith;
using testing::HasSubstr;

class MpiWorldTest : public testing::Test {
 protected:
  void SetUp() override {
    if (const auto why = why_no_mpi()) GTEST_SKIP() << *why;
  }
};

class MpiTraffic : public testing::TestWithParam<uint32_t> {
 protected:
  void SetUp() override {
    if (const auto why = why_no_mpi()) GTEST_SKIP() << *why;
  }
};

void expect_good(const Ended& ended, uint32_t ranks) {
  EXPECT_EQ(ended.exit_code, 0) << ended.out;
  for (uint32_t rank = 0; rank < ranks; ++rank) {
    EXPECT_THAT(ended.said_by(rank), Contains("good")) << ended.out;
  }
}

TEST_P(MpiTraffic, ComesAsItWasSent) { expect_good(mpirun(GetParam(), "suite"), GetParam()); }

TEST_P(MpiTraffic, ComesAsItWasSentOverTcp) {
  expect_good(mpirun(GetParam(), "suite", "--mca btl self,tcp"), GetParam());
}

INSTANTIATE_TEST_SUITE_P(Ranks, MpiTraffic, testing::Values(2, 3, 4));

TEST_F(MpiWorldTest, ARankByItself) { expect_good(mpirun(1, "early"), 1); }

// Open MPI alone would write past the end of the shorter one.
TEST_F(MpiWorldTest, ALongerMessageThanWasAskedForIsNotTaken) {
  for (const char* options : {"", "--mca btl self,tcp"}) {
    const Ended ended = mpirun(3, "wrong-length", options);
    EXPECT_EQ(ended.exit_code, 70) << ended.out;
    const auto right = AllOf(HasSubstr("rank 2: "), HasSubstr("1048576 bytes instead of 1"));
    for (const uint32_t rank : {0U, 1U, 2U}) {
      EXPECT_THAT(ended.said_by(rank), Contains(right)) << ended.out;
    }
  }
}

TEST_F(MpiWorldTest, NorIsAShorterOne) {
  const Ended ended = mpirun(3, "short-length");
  EXPECT_THAT(ended.said_by(0), Contains(HasSubstr("rank 2: a message of 0 bytes instead of 1")))
      << ended.out;
}

TEST_F(MpiWorldTest, WhoLeavesSaysWhy) {
  const Ended ended = mpirun(4, "leave");
  EXPECT_EQ(ended.exit_code, 74) << ended.out;
  EXPECT_LT(ended.seconds, 15);
  for (const uint32_t rank : {0U, 1U, 2U}) {
    EXPECT_THAT(ended.said_by(rank), Contains("rank 3: expert 5: the drive failed; another drive"))
        << ended.out;
  }
  EXPECT_THAT(ended.said_by(3), Contains("expert 5: the drive failed; another drive")) << ended.out;
}

// For longer than silence is taken for.
TEST_F(MpiWorldTest, WhoComputesForLongIsNotLost) { expect_good(mpirun(3, "slow 1.5"), 3); }

TEST_F(MpiWorldTest, WhoEndsLateIsNotLost) { expect_good(mpirun(3, "late-end 1.5"), 3); }

TEST_F(MpiWorldTest, WhoAnswersButDoesNotSendIsWaitedForABoundedTime) {
  const Ended ended = mpirun(3, "ignore");
  EXPECT_EQ(ended.exit_code, 69) << ended.out;
  EXPECT_LT(ended.seconds, 15);
  EXPECT_THAT(ended.said_by(0), Contains(AllOf(HasSubstr("rank"), HasSubstr("after 1.5 s"),
                                               HasSubstr("rows of layer 3"))))
      << ended.out;
}

TEST_F(MpiWorldTest, AJobThatWasSuspendedGoesOn) { expect_good(mpirun(3, "suspend 1"), 3); }

TEST_F(MpiWorldTest, NobodyWaitsForOneWhoIsDone) {
  const Ended ended = mpirun(3, "early");
  EXPECT_NE(ended.exit_code, 0);
  EXPECT_LT(ended.seconds, 15);
  for (const uint32_t rank : {0U, 1U}) {
    EXPECT_THAT(ended.said_by(rank),
                Contains(AllOf(HasSubstr("rank 2: left"), EndsWith("rows of layer 3"))))
        << ended.out;
  }
}

TEST_F(MpiWorldTest, AWorldThatEndsInTheMiddleTellsTheOthers) {
  const Ended ended = mpirun(3, "careless");
  EXPECT_NE(ended.exit_code, 0);
  for (const uint32_t rank : {0U, 1U}) {
    EXPECT_THAT(ended.said_by(rank), Contains("rank 2: left with 1 messages in flight"))
        << ended.out;
  }
}

// As a machine that hangs: the defaults are what is tested.
TEST_F(MpiWorldTest, WhoIsStoppedIsLost) {
  const Ended ended = mpirun(3, "stop");
  EXPECT_EQ(ended.exit_code, 69) << ended.out;
  EXPECT_LT(ended.seconds, 6 + 10);  // with mpirun's own start and end
  for (const uint32_t rank : {0U, 1U}) {
    EXPECT_THAT(ended.said_by(rank), Contains(AllOf(HasSubstr("rank 2: "), HasSubstr("6 s"),
                                                    EndsWith("rows of layer 3"))))
        << ended.out;
    EXPECT_THAT(ended.said_by(rank), Contains(testing::StartsWith("after 6"))) << ended.out;
  }
}

TEST_F(MpiWorldTest, MpirunEndsAJobOfWhichARankWasKilled) {
  const Ended ended = mpirun(3, "kill 2");
  EXPECT_NE(ended.exit_code, 0);
  EXPECT_LT(ended.seconds, 15);
}

TEST(MpiVersion, IsOpenMpis) { EXPECT_THAT(mpi_version(), testing::StartsWith("Open MPI v4")); }

}  // namespace
}  // namespace switchyard
