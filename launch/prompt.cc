#include "launch/prompt.h"

#include <fmt/format.h>

#include <istream>
#include <iterator>

#include "launch/options.h"
#include "runtime/base/check.h"
#include "runtime/base/file.h"

namespace switchyard {
namespace {

constexpr uint64_t kTextBytesMax = uint64_t{1} << 30;
constexpr size_t kReadBytes = 1 << 16;

Result<std::string> read_stream(std::istream& in) {
  std::string text;
  while (in) {
    const size_t have = text.size();
    text.resize(have + kReadBytes);
    in.read(text.data() + have, kReadBytes);
    text.resize(have + static_cast<size_t>(in.gcount()));
    if (text.size() > kTextBytesMax) {
      return fail(Code::kBadData, fmt::format("longer than {} bytes", kTextBytesMax),
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
    text = TRY(read_text_input(source, kTextBytesMax));
  }
  TRY_STATUS(check_utf8(text, where));
  return text;
}

}  // namespace switchyard
