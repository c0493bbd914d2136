#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <memory>
#include <numeric>
#include <thread>
#include <vector>

#include "launch/probes.h"
#include "runtime/base/align.h"
#include "runtime/base/clock.h"
#include "runtime/base/prng.h"
#include "storage/input_file.h"
#include "storage/open_queue.h"
#include "storage/output_file.h"

namespace switchyard {
namespace {

constexpr uint64_t kTestFileBytes = uint64_t{256} << 20;
constexpr uint64_t kTestFileBytesMin = uint64_t{16} << 20;
constexpr uint64_t kLargeFileBytes = kTestFileBytes;  // from here on a file tells without help
constexpr uint64_t kBlocksMin = 4;
constexpr uint32_t kBursts = 5;
constexpr uint32_t kPageReads = 9;
constexpr std::chrono::milliseconds kPause{50};
constexpr double kBurstMin = 1.2;  // times the steady rate: less is noise

// Blocks of a file in random order, over and over, as many in flight as the queue holds.
class DriveReader {
 public:
  DriveReader(const InputFile& file, uint64_t block_bytes, std::unique_ptr<ReadQueue> queue,
              std::span<std::byte> slab)
      : block_bytes_(block_bytes),
        ops_(queue->depth()),
        order_(file.size_bytes() / block_bytes),
        queue_(std::move(queue)) {
    std::iota(order_.begin(), order_.end(), 0U);
    Prng prng(1);
    for (size_t i = order_.size(); i > 1; --i) std::swap(order_[i - 1], order_[prng.below(i)]);
    for (size_t i = 0; i < ops_.size(); ++i) {
      ops_[i].file = &file;
      ops_[i].target = slab.subspan(i * block_bytes, block_bytes);
      ops_[i].bytes_needed = static_cast<uint32_t>(block_bytes);
    }
  }

  size_t blocks_at_once() const { return ops_.size(); }

  struct Counted {
    uint64_t blocks = 0;
    double seconds = 0;
  };
  // Reads for `seconds`, or `blocks_max` blocks where that is less. What first fills the queue is
  // left out where there is more.
  Result<Counted> read(double seconds, uint64_t blocks_max) {
    const double begin = now_seconds();
    Counted all, filling;
    for (ReadOp& op : ops_) offer(op);
    while (all.seconds < seconds && all.blocks < blocks_max) {
      const auto done = TRY(queue_->reap(1, kReadTimeoutSeconds));
      for (ReadOp* op : done) {
        if (op->result != 0) return tl::unexpected(read_error(*op));
        all.blocks += 1;
        offer(*op);
      }
      all.seconds = now_seconds() - begin;
      if (filling.blocks == 0 && all.blocks >= ops_.size()) filling = all;
    }
    if (all.blocks < 4 * filling.blocks) return all;
    return Counted{all.blocks - filling.blocks, all.seconds - filling.seconds};
  }

  // As many blocks as the queue holds, after a pause: the median of some. Nothing is in flight
  // before and after.
  Result<double> burst_seconds() {
    TRY_STATUS(drain());
    std::vector<double> times;
    for (uint32_t i = 0; i < kBursts; ++i) {
      std::this_thread::sleep_for(kPause);
      const double begin = now_seconds();
      for (ReadOp& op : ops_) offer(op);
      TRY_STATUS(drain());
      times.push_back(now_seconds() - begin);
    }
    return median(times);
  }

  Result<double> page_seconds() {
    std::vector<double> times;
    ReadOp& op = ops_.front();
    const auto target = op.target;
    op.target = target.first(kPageBytes);
    op.bytes_needed = kPageBytes;
    for (uint32_t i = 0; i < kPageReads; ++i) {
      const double begin = now_seconds();
      offer(op);
      TRY_STATUS(drain());
      times.push_back(now_seconds() - begin);
    }
    op.target = target;
    op.bytes_needed = static_cast<uint32_t>(block_bytes_);
    return median(times);
  }

 private:
  Status drain() {
    while (queue_->in_flight() > 0) {
      for (const ReadOp* op : TRY(queue_->reap(1, kReadTimeoutSeconds))) {
        if (op->result != 0) return tl::unexpected(read_error(*op));
      }
    }
    return {};
  }

  void offer(ReadOp& op) {
    op.offset = order_[next_] * block_bytes_;
    next_ = (next_ + 1) % order_.size();
    (void)queue_->offer(op);  // there are as many operations as places
  }

  const uint64_t block_bytes_;
  std::vector<ReadOp> ops_;
  std::vector<uint32_t> order_;
  size_t next_ = 0;
  std::unique_ptr<ReadQueue> queue_;  // last: waits for reads into the others when it goes
};

// A file that is gone when this is.
class TestFile {
 public:
  explicit TestFile(const std::string& folder)
      : path_(fmt::format("{}/.switchyard-drive-test-{}", folder, ::getpid())) {}
  ~TestFile() { remove(); }
  TestFile(const TestFile&) = delete;
  const std::string& path() const { return path_; }
  void remove() const { ::unlink(path_.c_str()); }

  // Random bytes: drives and file systems may compress.
  Status fill(uint64_t bytes) const {
    const UniqueFd fd = TRY(open_output(path_, true));
    std::vector<uint64_t> block(kDriveProbeBlockBytes / sizeof(uint64_t));
    Prng prng(static_cast<uint64_t>(::getpid()));
    for (uint64_t at = 0; at < bytes; at += kDriveProbeBlockBytes) {
      for (uint64_t& word : block) word = prng.next();
      TRY_STATUS(write_output(fd.get(), std::as_bytes(std::span(block)), path_));
    }
    if (::fsync(fd.get()) != 0) return fail_output(errno, "cannot write", path_);
    // Out of the page cache, for where it cannot be passed by.
    (void)::posix_fadvise(fd.get(), 0, 0, POSIX_FADV_DONTNEED);
    return {};
  }

 private:
  std::string path_;
};

std::string largest_file(const std::string& folder) {
  std::string largest;
  uint64_t bytes_max = 0;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(folder, ignored)) {
    if (!entry.is_regular_file(ignored)) continue;
    const uint64_t bytes = entry.file_size(ignored);
    if (ignored || bytes <= bytes_max) continue;
    bytes_max = bytes;
    largest = entry.path().string();
  }
  return bytes_max >= kLargeFileBytes ? largest : std::string();
}

Result<DriveRate> measure_open_file(const InputFile& file, double seconds, uint32_t depth) {
  const uint64_t block_bytes =
      std::min(kDriveProbeBlockBytes, round_down(file.size_bytes() / kBlocksMin, kPageBytes));
  if (block_bytes == 0) {
    return fail(Code::kBadData, "is too small to measure the drive with", file.path());
  }
  const Slab slab = TRY(Slab::allocate(depth * kDriveProbeBlockBytes, "the drive test"));
  QueueChoice choice = open_read_queue(slab.span(), depth, true);
  DriveRate rate;
  rate.queue = choice.queue->name();
  rate.warning = choice.warning;
  rate.direct = choice.warning.empty() && file.direct_fd() >= 0;
  rate.direct_refusal = file.direct_refusal();
  // Once only through the page cache: the second time it would answer itself.
  if (!rate.direct) (void)::posix_fadvise(file.fd(), 0, 0, POSIX_FADV_DONTNEED);
  DriveReader reader(file, block_bytes, std::move(choice.queue), slab.span());
  const auto counted =
      TRY(reader.read(seconds, rate.direct ? UINT64_MAX : file.size_bytes() / block_bytes));
  rate.block_bytes = block_bytes;
  rate.bytes = counted.blocks * block_bytes;
  rate.bytes_per_second = static_cast<double>(rate.bytes) / counted.seconds;
  rate.burst_per_second = rate.bytes_per_second;
  if (!rate.direct) return rate;  // what was read before is in the page cache
  const double burst =
      static_cast<double>(reader.blocks_at_once() * block_bytes) / TRY(reader.burst_seconds());
  if (burst > kBurstMin * rate.bytes_per_second) rate.burst_per_second = burst;
  rate.latency_seconds = TRY(reader.page_seconds());
  return rate;
}

}  // namespace

Result<DriveRate> measure_drive_file(const std::string& path, double seconds, uint32_t depth) {
  const auto file = TRY(InputFile::open(path));
  return measure_open_file(*file, seconds, depth);
}

Result<DriveRate> measure_drive_folder(const std::string& folder, double seconds) {
  std::error_code error;
  const auto space = std::filesystem::space(folder, error);
  if (error) return fail_errno(error.value(), "cannot look at the file system", folder);
  const uint64_t bytes =
      round_down(std::min<uint64_t>(kTestFileBytes, space.available / 4), kDriveProbeBlockBytes);
  if (bytes < kTestFileBytesMin) {
    return fail(Code::kIo, "too little space for a test file", folder, "name another folder");
  }
  const TestFile test_file(folder);
  TRY_STATUS(test_file.fill(bytes));
  const auto file = TRY(InputFile::open(test_file.path()));
  test_file.remove();  // at once: a test that is interrupted leaves nothing behind
  return measure_open_file(*file, seconds, kDriveProbeDepth);
}

Result<DriveRate> measure_drive(const std::string& path, double seconds) {
  std::error_code error;
  const auto status = std::filesystem::status(path, error);
  if (error) return fail_errno(error.value(), "cannot look at", path);
  if (!std::filesystem::is_directory(status)) return measure_drive_file(path, seconds);
  const std::string large = largest_file(path);
  return large.empty() ? measure_drive_folder(path, seconds) : measure_drive_file(large, seconds);
}

}  // namespace switchyard
