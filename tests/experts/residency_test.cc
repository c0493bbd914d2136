#include "experts/residency.h"

#include <gtest/gtest.h>

#include <array>
#include <set>
#include <utility>

namespace switchyard {
namespace {

TEST(Residency, OnlyTheseStepsExist) {
  using enum Residency;
  const std::set<std::pair<Residency, Residency>> steps = {
      {kAbsent, kLoading},  {kLoading, kResident},  {kLoading, kAbsent}, {kResident, kDraining},
      {kDraining, kAbsent}, {kDraining, kResident}, {kAbsent, kLent},    {kLent, kAbsent}};
  const std::array all = {kAbsent, kLoading, kResident, kDraining, kLent};
  for (const Residency from : all) {
    for (const Residency to : all) {
      EXPECT_EQ(may_become(from, to), steps.contains({from, to}))
          << static_cast<int>(from) << " to " << static_cast<int>(to);
    }
  }
}

}  // namespace
}  // namespace switchyard
