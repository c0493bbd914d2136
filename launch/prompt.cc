#include "launch/prompt.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <istream>
#include <iterator>

#include "launch/options.h"
#include "runtime/base/check.h"

namespace switchyard {
namespace {

constexpr uint64_t kPromptBytesMax = uint64_t{1} << 30;
constexpr size_t kReadBytes = 1 << 16;

Result<std::string> read_stream(std::istream& in) {
  std::string text;
  while (in) {
    const size_t have = text.size();
    text.resize(have + kReadBytes);
    in.read(text.data() + have, kReadBytes);
    text.resize(have + static_cast<size_t>(in.gcount()));
    if (text.size() > kPromptBytesMax) {
      return fail(Code::kBadData, fmt::format("longer than {} bytes", kPromptBytesMax),
                  "standard input");
    }
  }
  return text;
}

Status check_utf8(const std::string& text, const std::string& where) {
  if (is_utf8(text)) return {};
  return fail(Code::kBadData, "the text is not UTF-8", where,
              "convert it, for example with iconv -t UTF-8");
}

}  // namespace

void TextOptions::add_to(OptionList& options, const std::string& what) {
  options.text("-p,--prompt", "TEXT", prompt, what + "; - reads standard input");
  options.text("-f,--file", "FILE", file, "the same from a file; - reads standard input");
}

Result<TextReader> TextReader::open(const TextOptions& options, Console& console) {
  CHECK(options.given() == 1);
  const std::string& source = options.prompt ? *options.prompt : *options.file;
  TextReader reader;
  if (source == "-") {
    reader.where_ = "standard input";
    reader.stream_ = &console.in;
  } else if (options.prompt) {
    reader.where_ = "the prompt";
    reader.rest_ = source;
  } else {
    reader.where_ = source;
    reader.fd_ = UniqueFd(::open(source.c_str(), O_RDONLY | O_CLOEXEC));
    if (!reader.fd_) return fail_errno(errno, "cannot open", source);
  }
  return reader;
}

Result<std::string> TextReader::next() {
  if (stream_ == nullptr && !fd_) return std::exchange(rest_, {});
  std::string piece(kReadBytes, '\0');
  if (stream_ != nullptr) {
    stream_->read(piece.data(), kReadBytes);
    piece.resize(static_cast<size_t>(stream_->gcount()));
    return piece;
  }
  ssize_t got = -1;
  do {
    got = ::read(fd_.get(), piece.data(), kReadBytes);
  } while (got < 0 && errno == EINTR);
  if (got < 0) return fail_errno(errno, "cannot read", where_);
  piece.resize(static_cast<size_t>(got));
  return piece;
}

Result<std::string> read_text(const TextOptions& options, Console& console) {
  CHECK(options.given() == 1);
  const std::string& source = options.prompt ? *options.prompt : *options.file;
  std::string text;
  std::string where = "the prompt";
  if (source == "-") {
    where = "standard input";
    text = TRY(read_stream(console.in));
  } else if (options.prompt) {
    text = source;
  } else {
    where = source;
    text = TRY(read_text_input(source, kPromptBytesMax));
  }
  TRY_STATUS(check_utf8(text, where));
  return text;
}

}  // namespace switchyard
