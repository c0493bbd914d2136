#include "experts/staged_source.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>
#include <vector>

#include "experts/key_index.h"
#include "runtime/base/align.h"
#include "runtime/base/file.h"
#include "storage/input_file.h"

namespace switchyard {
namespace {

constexpr size_t kCopyBytes = 256 << 10;  // at once; ranks of one process copy together

class StagedSource final : public ExpertSource {
 public:
  StagedSource(const ExpertSource& source, std::shared_ptr<InputFile> file,
               std::vector<std::vector<ExpertPiece>> pieces)
      : source_(source),
        index_(source.keys()),
        file_(std::move(file)),
        pieces_(std::move(pieces)) {}

  const ExpertLayout& layout() const override { return source_.layout(); }
  uint64_t expert_bytes() const override { return source_.expert_bytes(); }
  uint64_t slot_bytes() const override { return source_.slot_bytes(); }
  const std::vector<ExpertKey>& keys() const override { return source_.keys(); }
  bool direct() const override { return source_.direct(); }
  std::vector<ExpertPiece> pieces(ExpertKey key) const override { return pieces_[index_.at(key)]; }
  uint64_t staging_bytes() const override { return source_.staging_bytes(); }
  Status finish(ExpertKey key, std::span<const StagedPiece> staged,
                std::span<std::byte> slot) const override {
    return source_.finish(key, staged, slot);
  }

 private:
  const ExpertSource& source_;
  const KeyIndex index_;
  const std::shared_ptr<InputFile> file_;
  const std::vector<std::vector<ExpertPiece>> pieces_;  // [keys]
};

// Writes pieces one after the other, each from a page's beginning.
class Copy {
 public:
  // Best a file that never has a name; where the file system cannot make one, it has one until
  // finish().
  static Result<Copy> begin(const std::string& folder) {
    Copy copy;
    copy.folder_ = folder;
    copy.fd_ = UniqueFd(::open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, S_IRUSR | S_IWUSR));
    copy.path_ = fmt::format("/proc/self/fd/{}", copy.fd_.get());
    if (copy.fd_.get() >= 0) return copy;
    copy.path_ = folder + "/switchyard-stage-XXXXXX";
    copy.fd_ = UniqueFd(::mkstemp(copy.path_.data()));
    copy.named_ = copy.fd_.get() >= 0;
    if (copy.fd_.get() < 0) return fail_errno(errno, "cannot make a file", folder);
    return copy;
  }
  Copy(Copy&& other) noexcept
      : folder_(std::move(other.folder_)),
        path_(std::move(other.path_)),
        fd_(std::move(other.fd_)),
        named_(std::exchange(other.named_, false)),
        buffer_(std::move(other.buffer_)),
        end_(other.end_) {}
  ~Copy() {
    if (named_) ::unlink(path_.c_str());
  }

  // Returns where it lies in the copy.
  Result<uint64_t> add(const ExpertPiece& piece) {
    const uint64_t at = end_;
    for (uint64_t done = 0; done < piece.bytes;) {
      const std::span<std::byte> part =
          std::span(buffer_).first(std::min<uint64_t>(buffer_.size(), piece.bytes - done));
      TRY_STATUS(piece.file->read(piece.offset + done, part));
      TRY_STATUS(write(at + done, part));
      done += part.size();
    }
    end_ = round_up(at + piece.bytes, kPageBytes);
    return at;
  }

  // Open for reading, no longer named.
  Result<std::shared_ptr<InputFile>> finish() {
    if (::ftruncate(fd_.get(), static_cast<off_t>(end_)) != 0 || ::fsync(fd_.get()) != 0) {
      return fail_errno(errno, "cannot write the copy", folder_);
    }
    return InputFile::open_unnamed(path_, "the copy in " + folder_);
  }

 private:
  Copy() : buffer_(kCopyBytes) {}

  Status write(uint64_t at, std::span<const std::byte> bytes) const {
    while (!bytes.empty()) {
      const ssize_t written =
          ::pwrite(fd_.get(), bytes.data(), bytes.size(), static_cast<off_t>(at));
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) return fail_errno(errno, "cannot write the copy", folder_);
      at += static_cast<uint64_t>(written);
      bytes = bytes.subspan(static_cast<size_t>(written));
    }
    return {};
  }

  std::string folder_, path_;
  UniqueFd fd_;
  bool named_ = false;
  std::vector<std::byte> buffer_;
  uint64_t end_ = 0;
};

}  // namespace

Result<std::unique_ptr<ExpertSource>> stage_experts(
    const ExpertSource& source, const std::string& folder,
    const std::function<void(uint64_t bytes_done)>& progress) {
  Copy copy = TRY(Copy::begin(folder));
  std::vector<std::vector<ExpertPiece>> pieces;
  uint64_t done = 0;
  for (const ExpertKey key : source.keys()) {
    pieces.push_back(source.pieces(key));
    for (ExpertPiece& piece : pieces.back()) {
      piece.offset = TRY(copy.add(piece));
      done += piece.bytes;
    }
    if (progress) progress(done);
  }
  auto file = TRY(copy.finish());
  for (auto& of_expert : pieces) {
    for (ExpertPiece& piece : of_expert) piece.file = file.get();
  }
  return std::make_unique<StagedSource>(source, std::move(file), std::move(pieces));
}

}  // namespace switchyard
