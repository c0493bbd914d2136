#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "storage/pack_format.h"

namespace switchyard {

// Writes PATH.partial and, beside it, a journal of the sections finished; the pack appears under
// PATH at finish(). An interrupted writer leaves both, and the next with the same fingerprint goes
// on from there. One thread; calls block. Errors: kIo (drive full, folder missing) or kPermission;
// after one, destroy the writer.
class PackWriter {
 public:
  // `fingerprint` (one line) tells the source and how it is packed: a partial file of another is
  // begun anew. Re-hashes what it resumes. kFailed when another process writes the same pack.
  static Result<PackWriter> create(const std::string& path, const std::string& fingerprint);
  PackWriter(PackWriter&&) noexcept;
  PackWriter& operator=(PackWriter&&) noexcept;
  ~PackWriter();

  // Kept from an interrupted run, or added in this one: must not be added again.
  bool has(std::string_view name) const;
  // Of the sections kept from an interrupted run.
  uint64_t resumed_bytes() const;

  // A whole section, or one in pieces: begin, append…, end.
  Status add(std::string_view name, std::span<const std::byte> bytes,
             PackAttributes attributes = {});
  Status begin(std::string_view name, PackAttributes attributes = {});
  Status append(std::span<const std::byte> bytes);
  Status end();

  // Completes the file and gives it its name. Nothing may follow.
  Status finish();

 private:
  struct State;
  explicit PackWriter(std::unique_ptr<State> state);

  std::unique_ptr<State> state_;
};

// Removes the journal that a writer left which was killed between naming the pack at `path` and
// removing it: nothing is partial any more. Best effort.
void remove_journal_of_finished(const std::string& path);

}  // namespace switchyard
