#pragma once

// Where each expert's bytes lie and how they become kernel-ready: the catalog. Immutable; any
// thread may use it.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "experts/expert_layout.h"
#include "runtime/base/ids.h"
#include "runtime/base/result.h"

namespace switchyard {

class InputFile;

// A byte range of a file that belongs to one expert, of any alignment.
struct ExpertPiece {
  const InputFile* file = nullptr;
  uint64_t offset = 0;
  uint64_t bytes = 0;
};

// What reading a piece in whole pages takes.
uint64_t bytes_in_pages(const ExpertPiece& piece);

// Where a piece came to lie after an aligned read.
struct StagedPiece {
  const std::byte* data = nullptr;
  uint64_t bytes = 0;
  uint64_t hash = 0;  // when the source is direct, hash_bytes() of all pieces together
};

class ExpertSource {
 public:
  virtual ~ExpertSource() = default;

  virtual const ExpertLayout& layout() const = 0;
  // Of one expert, and of the slot it needs: whole pages.
  virtual uint64_t expert_bytes() const { return layout().bytes(); }
  virtual uint64_t slot_bytes() const { return layout().slot_bytes(); }
  // The experts there are, by layer, then in expert order: the order in which slots are filled.
  virtual const std::vector<ExpertKey>& keys() const = 0;

  // True when the pieces of every expert, one after the other, are kernel-ready, each begins on a
  // page boundary and only the last one ends elsewhere: they are read straight into its slot.
  virtual bool direct() const = 0;
  // One to three pieces.
  virtual std::vector<ExpertPiece> pieces(ExpertKey key) const = 0;
  // The most that a read of any expert's pieces takes in whole pages.
  virtual uint64_t staging_bytes() const = 0;

  // Makes `slot` (slot_bytes()) kernel-ready from what was read, a staged piece for each
  // of pieces(). Direct sources only verify it in place (`staged` is the slot itself, hashed
  // already). kBadData naming layer and expert: wrong checksum, NaN or infinity, file replaced
  // while open.
  virtual Status finish(ExpertKey key, std::span<const StagedPiece> staged,
                        std::span<std::byte> slot) const = 0;

  // A slice of the rows of these experts, which are whole here; this one outlives it. A bug for
  // what is made of another source.
  virtual std::unique_ptr<ExpertSource> sliced(const std::vector<ExpertKey>& keys,
                                               RowSlice slice) const;
  // To be called once before the first read of slices, which a checksum of the whole says nothing
  // of: reads the experts through and keeps what finish() compares with. Blocks. As finish().
  virtual Status verify() { return {}; }
};

// `error`, its place extended by layer and expert.
[[nodiscard]] Error in_expert(Error error, ExpertKey key);

}  // namespace switchyard
