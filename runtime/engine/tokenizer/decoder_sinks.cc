#include "runtime/engine/tokenizer/decoder_sinks.h"

#include <charconv>

#include "runtime/base/file.h"
#include "runtime/engine/tokenizer/byte_level.h"

namespace switchyard {
namespace {

// The value of a token such as <0x0A>, or −1.
int byte_of(std::string_view token) {
  if (token.size() != 6 || !token.starts_with("<0x") || token.back() != '>') return -1;
  unsigned value = 0;
  const auto [end, error] = std::from_chars(token.data() + 3, token.data() + 5, value, 16);
  return error == std::errc() && end == token.data() + 5 ? static_cast<int>(value) : -1;
}

}  // namespace

void JoinSink::part(std::string_view text) {
  if (blank_) next_.part(" ");
  blank_ = false;
  next_.part(text);
}

void JoinSink::finish() {
  next_.end_token();
  next_.finish();
}

void FuseSink::finish() {
  next_.end_token();
  next_.finish();
}

void ByteLevelSink::end_token() {
  bytes_.clear();
  out_.clear();
  append_byte_values(token_, bytes_);
  token_.clear();
  repair_.push(bytes_, out_);
  if (!out_.empty()) next_.part(out_);
}

void ByteLevelSink::finish() {
  out_.clear();
  repair_.finish(out_);
  if (!out_.empty()) next_.part(out_);
  next_.end_token();
  next_.finish();
}

void ByteFallbackSink::end_token() {
  const int byte = byte_of(token_);
  if (byte >= 0) {
    run_.push_back(static_cast<char>(byte));
  } else {
    flush();
    next_.part(token_);
    next_.end_token();
  }
  token_.clear();
}

void ByteFallbackSink::flush() {
  if (run_.empty()) return;
  if (is_utf8(run_)) {
    next_.part(run_);
    next_.end_token();
  } else {
    for (size_t i = 0; i < run_.size(); ++i) {
      next_.part(kReplacement);
      next_.end_token();
    }
  }
  run_.clear();
}

void ByteFallbackSink::finish() {
  flush();
  next_.finish();
}

void ReplaceSink::part(std::string_view text) {
  held_ += text;
  std::string out;
  size_t done = 0;
  for (size_t at = held_.find(what_); at != std::string::npos; at = held_.find(what_, done)) {
    out.append(held_, done, at - done);
    out += with_;
    done = at + what_.size();
  }
  size_t keep_from = std::max(done, held_.size() - std::min(held_.size(), what_.size() - 1));
  while (keep_from < held_.size() &&
         !what_.starts_with(std::string_view(held_).substr(keep_from))) {
    ++keep_from;
  }
  out.append(held_, done, keep_from - done);
  held_.erase(0, keep_from);
  if (!out.empty()) next_.part(out);
}

void ReplaceSink::end_token() {
  if (!held_.empty()) next_.part(held_);
  held_.clear();
  next_.end_token();
}

void StripSink::part(std::string_view text) {
  out_.clear();
  for (size_t at = 0; at < text.size();) {
    const Rune rune = rune_at(text, at);
    at += rune.bytes;
    if (rune.value == spec_.content && leading_ && taken_ < spec_.start) {
      ++taken_;
      continue;
    }
    leading_ = false;
    if (rune.value == spec_.content && held_ < spec_.stop) {
      ++held_;
      continue;
    }
    if (rune.value != spec_.content) {
      for (; held_ > 0; --held_) append_utf8(out_, spec_.content);
    }
    append_utf8(out_, rune.value);
  }
  if (!out_.empty()) next_.part(out_);
}

void StripSink::end_token() {
  leading_ = true;
  taken_ = 0;
  held_ = 0;
  next_.end_token();
}

void MetaspaceSink::part(std::string_view text) {
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const size_t mark = text.find(mark_, at);
    out += text.substr(at, mark - at);
    if (mark == std::string_view::npos) break;
    if (!drop_) out.push_back(' ');
    at = mark + mark_.size();
  }
  if (!out.empty()) next_.part(out);
}

void MetaspaceSink::end_token() {
  drop_ = false;
  next_.end_token();
}

}  // namespace switchyard
