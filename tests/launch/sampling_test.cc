#include "launch/sampling.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace switchyard {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

GenerationDefaults sampling_file() {
  GenerationDefaults defaults;
  defaults.present = true;
  defaults.do_sample = true;
  defaults.temperature = 0.6F;
  defaults.top_k = 20;
  defaults.top_p = 0.95F;
  defaults.end_ids = {7, 8};
  return defaults;
}

TEST(ChooseSampling, TakesTheFileAndSaysSo) {
  const SamplingChoice choice = choose_sampling({}, sampling_file(), {8, 9});
  EXPECT_EQ(choice.options.temperature, 0.6F);
  EXPECT_EQ(choice.options.top_k, 20U);
  EXPECT_EQ(choice.options.top_p, 0.95F);
  EXPECT_THAT(choice.end_ids, ElementsAre(7, 8, 9));
  EXPECT_THAT(choice.line, AllOf(HasSubstr("temp 0.6 (generation_config.json)"),
                                 HasSubstr("min-p 0 (default)"), HasSubstr("end ids 7, 8, 9")));
}

TEST(ChooseSampling, TheCommandLineRules) {
  SamplingFlags flags;
  flags.temperature = 0;
  flags.top_k = 5;
  flags.seed = 42;
  const SamplingChoice choice = choose_sampling(flags, sampling_file(), {});
  EXPECT_EQ(choice.options.temperature, 0);
  EXPECT_EQ(choice.options.top_k, 5U);
  EXPECT_EQ(choice.options.seed, 42U);
  EXPECT_THAT(choice.line, AllOf(HasSubstr("temp 0 (--temp)"), HasSubstr("seed 42 (--seed)")));
}

TEST(ChooseSampling, WithoutDoSampleIsGreedy) {
  GenerationDefaults defaults = sampling_file();
  defaults.do_sample = false;
  EXPECT_EQ(choose_sampling({}, defaults, {}).options.temperature, 0);
  defaults.do_sample.reset();
  EXPECT_EQ(choose_sampling({}, defaults, {}).options.temperature, 0);
  EXPECT_EQ(choose_sampling({}, {}, {}).options.temperature, 0);
}

TEST(ChooseSampling, DoSampleWithoutTemperatureIsOne) {
  GenerationDefaults defaults;
  defaults.present = true;
  defaults.do_sample = true;
  EXPECT_EQ(choose_sampling({}, defaults, {}).options.temperature, 1);
}

}  // namespace
}  // namespace switchyard
