#pragma once

// What an eval has found so far, kept in a file if it is to outlive the process.

#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "launch/eval_checkpoint.h"

namespace switchyard {

// Rows come one after the other; ids, too. One thread.
class EvalTally {
 public:
  // Begins at the first row, or where the file at `path` ends. Without a path nothing is kept. The
  // file is written at once: better no place for it now than after hours. Errors of reading it and
  // writing it, and of check_subject.
  static Result<EvalTally> open(const std::optional<std::string>& path, const EvalSubject& subject);

  const EvalFigures& figures() const { return figures_; }
  // Rows that an eval before this one did.
  uint64_t rows_before() const { return rows_before_; }

  // The ids that belong to these rows: from the first one on up to rows_before() inclusive.
  void pass_over(std::span<const TokenId> ids);
  // kUsage unless all of them came, as they were.
  Status check_text() const;

  // The logits of the next row and the id that it foretells; nothing behind the text's last one.
  void take(std::span<const float> logits, std::optional<TokenId> next);

  // Blocks for the drive; does nothing without a path.
  Status save();
  // The same every few seconds.
  Status save_if_due();

 private:
  EvalTally() = default;

  std::optional<std::string> path_;
  EvalSubject subject_;
  EvalFigures figures_;
  Hasher text_;
  uint64_t ids_ = 0;  // in text_
  uint64_t rows_before_ = 0;
  uint64_t text_before_ = 0;
  double saved_at_ = 0;
};

}  // namespace switchyard
