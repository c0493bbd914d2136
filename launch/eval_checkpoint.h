#pragma once

// What an eval needs to go on where another one ended: a file, and the figures in it.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "runtime/base/hash.h"
#include "runtime/base/ids.h"
#include "runtime/base/result.h"

namespace switchyard {

// What is known of a text's rows [0, rows): all of its figures, to the bit.
struct EvalFigures {
  uint64_t rows = 0;
  uint64_t scored = 0;
  double nll_sum = 0;
  Hasher logits;
};

// Whose figures they are. Memory, threads, ranks and the like are no part of it: they change no
// bit.
struct EvalSubject {
  std::string build;  // of this program
  std::string model;  // with its order of experts
  uint32_t context = 0;
  uint32_t stride = 0;
  uint64_t text = 0;  // a hash of the ids [0, rows]
};

struct EvalCheckpoint {
  EvalSubject subject;
  EvalFigures figures;
};

// kConfig when the hash's state cannot be saved.
Result<std::string> encode_checkpoint(const EvalSubject& subject, const EvalFigures& figures);
// Any bytes may come. kBadData: no checkpoint, or a damaged one; kUsage: one that another version
// of this program, or of xxHash, wrote. `where` names the file.
Result<EvalCheckpoint> parse_checkpoint(std::string_view bytes, const std::string& where);

// Nothing when there is no such file. Errors of reading and parsing.
Result<std::optional<EvalCheckpoint>> read_checkpoint(const std::string& path);
// Blocks until it is on the drive; the file is the one before or this one, whenever power fails.
Status write_checkpoint(const std::string& path, std::string_view bytes);

// kUsage, naming what differs, unless `saved` is of this build, model, context and stride. Texts
// are not compared.
Status check_subject(const EvalSubject& saved, const EvalSubject& now, const std::string& where);

}  // namespace switchyard
