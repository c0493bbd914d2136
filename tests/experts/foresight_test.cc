#include "experts/foresight.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <memory>

namespace switchyard {
namespace {

using testing::ElementsAre;

class Silent final : public Predictor {
 public:
  uint32_t predict(uint32_t, uint32_t, std::span<uint16_t>) const override { return 0; }
};

struct Told {
  uint16_t layer = 0, expert = 0;
  uint32_t layers_ahead = 0;
  bool operator==(const Told&) const = default;
};

std::vector<Told> told(std::span<const PrefetchJob> jobs) {
  std::vector<Told> all;
  for (const PrefetchJob& job : jobs) {
    all.push_back({job.key.layer, job.key.expert, job.layers_ahead});
  }
  return all;
}

// The model's odd layers have routers. What is told is probable, and six layers ahead at most.
TEST(Foresight, TellsWhatTokensForetellUntilItsLayerComes) {
  constexpr PredictorShape kShape = {9, 8, 2};
  Foresight foresight(std::make_unique<Silent>(), kShape, {1, 3, 5, 7, 9, 11, 13, 15, 17});
  const std::array<ForeseenUse, 4> uses = {
      {{{1, 2}, 0.6F, 0.8F}, {{3, 4}, 0.9F, 0}, {{5, 5}, 0.05F, 0.05F}, {{13, 6}, 0.7F, 0}}};
  const std::array<TokenId, 1> token = {7};
  const std::array<uint32_t, 1> request = {0};
  foresight.foresee(uses);
  EXPECT_THAT(told(foresight.begin_step(token, request)),
              ElementsAre(Told{3, 4, 2}, Told{1, 2, 1}));
  EXPECT_THAT(told(foresight.look_ahead(0)), ElementsAre(Told{3, 4, 1}, Told{13, 6, 6}));
  EXPECT_THAT(told(foresight.look_ahead(1)), ElementsAre(Told{13, 6, 5}));
  EXPECT_THAT(told(foresight.look_ahead(6)), ElementsAre(Told{1, 2, 3})) << "of the next step";
  foresight.foresee({});
  EXPECT_THAT(told(foresight.begin_step(token, request)), ElementsAre());
}

}  // namespace
}  // namespace switchyard
