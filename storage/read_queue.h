#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "runtime/base/result.h"

namespace switchyard {

class InputFile;

// One read. The caller keeps it, its file and its target alive and untouched from offer() until
// reap() returns it or the queue is destroyed.
struct ReadOp {
  const InputFile* file = nullptr;
  uint64_t offset = 0;          // multiple of kPageBytes
  std::span<std::byte> target;  // address and size multiples of kPageBytes, inside the queue's slab
  uint32_t bytes_needed = 0;    // a read that meets the end of file may be shorter than target,
                                // never than this; 1 … target.size()
  int32_t result = 0;  // 0: bytes_needed or more arrived; else −errno (−ENODATA: the file
                       // ended before)
  uint64_t tag = 0;    // the caller's own
};

// A bounded queue of reads. Used from one thread at a time; the destructor waits for whatever the
// drive still writes. Short reads are continued and EINTR and EAGAIN retried inside.
class ReadQueue {
 public:
  virtual ~ReadQueue() = default;

  virtual std::string_view name() const = 0;
  virtual uint32_t depth() const = 0;
  // Offered and not yet returned by reap().
  virtual uint32_t in_flight() const = 0;

  // false when depth() operations are in flight: nothing is kept. Never blocks. An operation that
  // breaks the rules above is a bug.
  virtual bool offer(ReadOp& op) = 0;

  // Hands all offered operations on at once: one system call a batch; does not wait for the drive.
  // After an error the operations stay in flight and may be submitted again.
  virtual Status submit() = 0;

  // Submits what was offered, then returns completed operations in any order, blocking until at
  // least `count_min` (≤ in flight) are there. The span lives until the next call. kIo naming the
  // file and offset of a late one after `timeout_seconds`; then everything is still in flight.
  virtual Result<std::span<ReadOp* const>> reap(uint32_t count_min, double timeout_seconds) = 0;
};

inline constexpr double kReadTimeoutSeconds = 60;

// The error for a reaped operation whose result is not 0, naming its file and offset: kBadData for
// −ENODATA, kIo otherwise. The caller adds layer and expert.
[[nodiscard]] Error read_error(const ReadOp& op);

}  // namespace switchyard
