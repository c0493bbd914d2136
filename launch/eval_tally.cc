#include "launch/eval_tally.h"

#include "launch/perplexity.h"
#include "runtime/base/clock.h"

namespace switchyard {
namespace {

// As much work as a crash may cost; a save is a few kilobytes and a flush of the drive.
constexpr double kSaveSeconds = 2;

}  // namespace

Result<EvalTally> EvalTally::open(const std::optional<std::string>& path,
                                  const EvalSubject& subject) {
  EvalTally tally;
  tally.path_ = path;
  tally.subject_ = subject;
  if (!path) return tally;
  auto saved = TRY(read_checkpoint(*path));
  if (!saved || saved->figures.rows == 0) {  // of an eval that was refused, say
    TRY_STATUS(tally.save());
    return tally;
  }
  TRY_STATUS(check_subject(saved->subject, subject, *path));
  tally.figures_ = std::move(saved->figures);
  tally.rows_before_ = tally.figures_.rows;
  tally.text_before_ = saved->subject.text;
  tally.saved_at_ = now_seconds();
  return tally;
}

void EvalTally::pass_over(std::span<const TokenId> ids) {
  text_.update(std::as_bytes(ids));
  ids_ += ids.size();
}

Status EvalTally::check_text() const {
  if (rows_before_ == 0) return {};
  if (ids_ == rows_before_ + 1 && text_.digest() == text_before_) return {};
  return fail(Code::kUsage, "is a checkpoint of another text", *path_,
              "give what it was made with, or name another --checkpoint");
}

void EvalTally::take(std::span<const float> logits, std::optional<TokenId> next) {
  figures_.logits.update(std::as_bytes(logits));
  figures_.rows += 1;
  if (!next) return;
  pass_over({&*next, 1});
  figures_.nll_sum += negative_log_likelihood(logits, static_cast<size_t>(*next));
  figures_.scored += 1;
}

Status EvalTally::save() {
  if (!path_) return {};
  subject_.text = text_.digest();
  TRY_STATUS(write_checkpoint(*path_, TRY(encode_checkpoint(subject_, figures_))));
  saved_at_ = now_seconds();
  return {};
}

Status EvalTally::save_if_due() {
  return now_seconds() - saved_at_ < kSaveSeconds ? Status{} : save();
}

}  // namespace switchyard
