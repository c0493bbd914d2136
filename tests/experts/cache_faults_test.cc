// What a drive, a file or a weight gone wrong does to a request, and to the next one.

#include <gtest/gtest.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <vector>

#include "experts/expert_cache.h"
#include "storage/read_queue.h"
#include "storage/simulated_queue.h"
#include "tests/experts/test_model.h"

namespace switchyard {
namespace {

using Experts = std::vector<uint16_t>;

// A drive on which single reads fail, or which falls silent.
class ScriptedQueue final : public ReadQueue {
 public:
  ScriptedQueue(uint32_t depth, ManualClock& clock) : drive_(depth, {}, clock) {}

  std::string_view name() const override { return "scripted"; }
  uint32_t depth() const override { return drive_.depth(); }
  uint32_t in_flight() const override { return drive_.in_flight(); }
  bool offer(ReadOp& op) override {
    reads_offered += 1;
    return drive_.offer(op);
  }
  Status submit() override { return drive_.submit(); }
  Result<std::span<ReadOp* const>> reap(uint32_t count_min, double timeout_seconds) override {
    if (silent && count_min > 0) return fail(Code::kIo, "read not done", "drive");
    if (silent) return std::span<ReadOp* const>();
    const auto done = drive_.reap(count_min, timeout_seconds);
    for (ReadOp* op : *done) {
      reads_done += 1;
      if (reads_done == failing_read) failing_offset = op->offset;
      if (op->offset == failing_offset && failures-- > 0) op->result = failure;
    }
    return done;
  }

  uint32_t reads_offered = 0;
  uint32_t reads_done = 0;
  uint32_t failing_read = 0;     // counted from 1; those of the same place fail too …
  int64_t failures = INT64_MAX;  // … until so many have
  int32_t failure = 0;
  void heal() { failing_offset = UINT64_MAX; }
  uint64_t failing_offset = UINT64_MAX;
  bool silent = false;

 private:
  SimulatedQueue drive_;
};

class CacheFaults : public testing::TestWithParam<bool> {
 protected:
  void make(uint32_t slots, uint32_t depth = 4) {
    source_ = GetParam() ? model_.pack_source() : model_.folder_source();
    ExpertCacheOptions options;
    options.slots = slots;
    options.staging = 4;
    options.read_chunk_bytes = 4096;
    options.queue_depth = depth;
    options.make_queue = [this, depth](std::span<std::byte>) {
      auto queue = std::make_unique<ScriptedQueue>(depth, clock_);
      queue_ = queue.get();
      return queue;
    };
    cache_ = *ExpertCache::create(*source_, options);
  }

  const std::string& path() {
    path_ = GetParam() ? model_.pack_path() : model_.checkpoint_path();
    return path_;
  }

  // The experts given before the request was over, all of them right; or its error.
  Result<size_t> run(uint16_t layer, const Experts& experts) {
    cache_->request(layer, experts);
    size_t given = 0;
    while (true) {
      const auto leases = TRY(cache_->next());
      if (leases.empty()) return given;
      given += leases.size();
      for (const ExpertLease& lease : leases) {
        const std::vector<std::byte> truth = model_.kernel_ready(lease.key());
        EXPECT_EQ(std::memcmp(truth.data(), lease.view().gate.data, truth.size()), 0);
      }
    }
  }

  void overwrite(uint64_t offset, std::byte byte) {
    std::fstream file(path(), std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(static_cast<std::streamoff>(offset));
    file.put(static_cast<char>(byte));
  }

  TestModel model_{{.hidden = 64, .intermediate = 64, .layers = 2}};
  ManualClock clock_;
  ScriptedQueue* queue_ = nullptr;
  std::unique_ptr<ExpertSource> source_;
  std::unique_ptr<ExpertCache> cache_;
  std::string path_;
};

INSTANTIATE_TEST_SUITE_P(Sources, CacheFaults, testing::Bool(),
                         [](const auto& info) { return info.param ? "Pack" : "Folder"; });

TEST_P(CacheFaults, FailedReadNamesFileLayerAndExpert) {
  make(8);
  queue_->failing_read = 1;
  queue_->failure = -EIO;
  const auto came = run(1, {5, 2, 3, 0, 7});
  ASSERT_FALSE(came);
  EXPECT_EQ(came.error().code, Code::kIo);
  EXPECT_EQ(came.error().where, path() + ", layer 1, expert 5");
  EXPECT_NE(came.error().what.find("Input/output error"), std::string::npos);
  queue_->heal();
  EXPECT_EQ(*run(1, {5, 2, 3, 0, 7}), 5u);
}

TEST_P(CacheFaults, AReadThatFailsOnceIsReadAgain) {
  make(8);
  queue_->failing_read = 2;
  queue_->failure = -EIO;
  queue_->failures = 1;
  EXPECT_EQ(*run(1, {5, 2, 3, 0, 7}), 5u);
  EXPECT_EQ(cache_->counters().retries, 1u);
}

TEST_P(CacheFaults, EndOfFileIsBadData) {
  make(8);
  queue_->failing_read = 3;
  queue_->failure = -ENODATA;
  const auto came = run(0, {1, 2});
  ASSERT_FALSE(came);
  EXPECT_EQ(came.error().code, Code::kBadData);
  queue_->heal();
  EXPECT_EQ(*run(0, {1, 2}), 2u);
}

TEST_P(CacheFaults, WithOneSlotTheNextRequestTakesItBack) {
  make(1, 2);
  for (uint32_t failing = 1; failing <= 9; ++failing) {
    queue_->reads_done = 0;
    queue_->failing_read = failing;
    queue_->failure = -EIO;
    ASSERT_FALSE(run(1, {6, 4, 3})) << failing;
    queue_->heal();
    ASSERT_EQ(*run(0, {2, 1, 6}), 3u) << failing;
  }
}

// What was not handed on when the error came is never read.
TEST_P(CacheFaults, AfterAnErrorNothingMoreIsReadForTheRequest) {
  make(8, 2);
  queue_->failing_read = 1;
  queue_->failure = -EIO;
  ASSERT_FALSE(run(0, {0, 1, 2, 3, 4, 5, 6, 7}));
  const uint32_t before = queue_->reads_offered;
  EXPECT_EQ(*run(1, {}), 0u);
  EXPECT_EQ(queue_->reads_offered, before);
}

TEST_P(CacheFaults, ASilentDriveEndsTheRequestAndMayComeBack) {
  make(2);
  queue_->silent = true;
  for (int round = 0; round < 3; ++round) {
    const auto came = run(1, {3, 4, 5});
    ASSERT_FALSE(came);
    EXPECT_EQ(came.error().code, Code::kIo);
    EXPECT_EQ(came.error().where, "drive, layer 1, expert 3");
  }
  queue_->silent = false;
  EXPECT_EQ(*run(1, {3, 4, 5}), 3u);
}

TEST_P(CacheFaults, FailedFillLeavesTheCacheUsable) {
  make(6);
  queue_->failing_read = 4;
  queue_->failure = -EIO;
  const Status filled = cache_->fill({});
  ASSERT_FALSE(filled);
  EXPECT_NE(filled.error().where.find("layer 0, expert "), std::string::npos);
  queue_->heal();
  EXPECT_EQ(*run(0, {0, 1, 2, 3, 4, 5, 6, 7}), 8u);
}

TEST_P(CacheFaults, TruncatedFile) {
  make(3);
  ASSERT_EQ(*run(0, {0}), 1u);
  std::filesystem::resize_file(path(), std::filesystem::file_size(path()) / 2);
  const auto came = run(1, {7});
  ASSERT_FALSE(came);
  EXPECT_EQ(came.error().code, Code::kBadData);
  EXPECT_NE(came.error().where.find(", layer 1, expert 7"), std::string::npos);
}

TEST_P(CacheFaults, ReplacedFile) {
  make(3);
  std::filesystem::copy_file(path(), path() + ".new");
  std::filesystem::rename(path() + ".new", path());
  const auto came = run(1, {7});
  ASSERT_FALSE(came);
  EXPECT_EQ(came.error().code, Code::kBadData);
  EXPECT_EQ(came.error().what, "replaced while open");
  EXPECT_EQ(came.error().where, path() + ", layer 1, expert 7");
}

using CachedPackFaults = CacheFaults;
INSTANTIATE_TEST_SUITE_P(Sources, CachedPackFaults, testing::Values(true),
                         [](const auto&) { return "Pack"; });

TEST_P(CachedPackFaults, DamagedExpertIsNamedAndTheOthersAreServed) {
  ASSERT_TRUE(model_.write_pack());
  const PackReader pack = *PackReader::open(path());
  const PackSection* section = pack.find("expert/1/4");
  ASSERT_NE(section, nullptr);
  overwrite(section->offset + section->bytes - 1, std::byte{0x5a});
  make(4);
  for (int round = 0; round < 2; ++round) {
    const auto came = run(1, {4});
    ASSERT_FALSE(came);
    EXPECT_EQ(came.error().code, Code::kBadData);
    EXPECT_EQ(came.error().what, "damaged (checksum)");
    EXPECT_EQ(came.error().where, path() + ", layer 1, expert 4");
    EXPECT_EQ(*run(1, {0, 1, 2, 3, 5, 6, 7}), 7u);
  }
}

using CachedFolderFaults = CacheFaults;
INSTANTIATE_TEST_SUITE_P(Sources, CachedFolderFaults, testing::Values(false),
                         [](const auto&) { return "Folder"; });

TEST_P(CachedFolderFaults, NaNIsNamedAndTheOthersAreServed) {
  const uint16_t nan = 0x7fc0;
  std::memcpy(model_.tensor(test_names({0, 2}).down).data(), &nan, 2);
  make(4);
  const auto came = run(0, {2});
  ASSERT_FALSE(came);
  EXPECT_EQ(came.error().code, Code::kBadData);
  EXPECT_NE(came.error().where.find("layers.0.experts.2.down, layer 0, expert 2"),
            std::string::npos);
  EXPECT_EQ(*run(0, {0, 1, 3, 4, 5, 6, 7}), 7u);
}

}  // namespace
}  // namespace switchyard
