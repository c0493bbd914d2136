#include "launch/eval_checkpoint.h"

#include <fmt/format.h>

#include <bit>
#include <cmath>

#include "runtime/base/byte_fields.h"
#include "runtime/base/file.h"
#include "storage/output_file.h"

namespace switchyard {
namespace {

constexpr std::string_view kMagic = "switchyard eval\n";
constexpr uint32_t kVersion = 1;
constexpr uint64_t kBytesMax = 1 << 16;

tl::unexpected<Error> fail_damaged(const std::string& what, const std::string& where) {
  return fail(Code::kBadData, "damaged checkpoint: " + what, where,
              "remove it to begin at the first token");
}

tl::unexpected<Error> fail_foreign(const std::string& what, const std::string& where) {
  return fail(Code::kUsage, "is a checkpoint of " + what, where,
              "give what it was made with, or name another --checkpoint");
}

// Figures that no text could have.
bool possible(const EvalCheckpoint& checkpoint) {
  const EvalFigures& figures = checkpoint.figures;
  return figures.scored == figures.rows && std::isfinite(figures.nll_sum) &&
         checkpoint.subject.stride >= 1 && checkpoint.subject.stride <= checkpoint.subject.context;
}

}  // namespace

Result<std::string> encode_checkpoint(const EvalSubject& subject, const EvalFigures& figures) {
  std::string out(kMagic);
  put(out, kVersion);
  put_text(out, subject.build);
  put_text(out, subject.model);
  put(out, subject.context);
  put(out, subject.stride);
  put(out, subject.text);
  put(out, figures.rows);
  put(out, figures.scored);
  put(out, std::bit_cast<uint64_t>(figures.nll_sum));
  put_text(out, TRY(figures.logits.save()));
  put(out, hash_text(out));
  return out;
}

Result<EvalCheckpoint> parse_checkpoint(std::string_view bytes, const std::string& where) {
  ByteCursor cursor(bytes);
  if (cursor.take(kMagic.size()) != kMagic) {
    return fail(Code::kBadData, "is no checkpoint of an eval", where, "name another --checkpoint");
  }
  const auto version = cursor.number<uint32_t>();
  if (!cursor.ok() || cursor.bytes_left() < sizeof(uint64_t)) {
    return fail_damaged("cut short", where);
  }
  if (version != kVersion) return fail_foreign(fmt::format("version {}", version), where);
  const size_t hashed = bytes.size() - sizeof(uint64_t);
  if (ByteCursor(bytes.substr(hashed)).number<uint64_t>() != hash_text(bytes.substr(0, hashed))) {
    return fail_damaged("checksum", where);
  }
  EvalCheckpoint checkpoint;
  EvalSubject& subject = checkpoint.subject;
  EvalFigures& figures = checkpoint.figures;
  subject.build = cursor.text();
  subject.model = cursor.text();
  subject.context = cursor.number<uint32_t>();
  subject.stride = cursor.number<uint32_t>();
  subject.text = cursor.number<uint64_t>();
  figures.rows = cursor.number<uint64_t>();
  figures.scored = cursor.number<uint64_t>();
  figures.nll_sum = std::bit_cast<double>(cursor.number<uint64_t>());
  const std::string_view state = cursor.text();
  cursor.number<uint64_t>();
  if (!cursor.at_end() || !possible(checkpoint)) return fail_damaged("impossible figures", where);
  auto logits = Hasher::of_saved(state);
  if (!logits) logits.error().where = where;
  figures.logits = TRY(std::move(logits));
  return checkpoint;
}

Result<std::optional<EvalCheckpoint>> read_checkpoint(const std::string& path) {
  const auto bytes = read_text_file(path, kBytesMax);
  if (!bytes && bytes.error().code == Code::kNoInput) {
    TRY(output_target(path));  // a folder or a pipe is no place for one
    return std::nullopt;
  }
  return std::optional(TRY(parse_checkpoint(TRY(bytes), path)));
}

Status write_checkpoint(const std::string& path, std::string_view bytes) {
  const std::string target = TRY(output_target(path));
  // One name, so that whoever was killed here leaves nothing that the next one does not take.
  const std::string partial = target + ".partial";
  const UniqueFd fd = TRY(open_output(partial, true));
  TRY_STATUS(write_output(fd.get(), std::as_bytes(std::span(bytes)), partial));
  return publish_output(fd.get(), partial, target);
}

Status check_subject(const EvalSubject& saved, const EvalSubject& now, const std::string& where) {
  if (saved.model != now.model) return fail_foreign("another model", where);
  if (saved.context != now.context || saved.stride != now.stride) {
    return fail_foreign(fmt::format("context {}, stride {}, not {}, {}", saved.context,
                                    saved.stride, now.context, now.stride),
                        where);
  }
  if (saved.build != now.build) {
    return fail_foreign(fmt::format("{}, this is {}", saved.build, now.build), where);
  }
  return {};
}

}  // namespace switchyard
