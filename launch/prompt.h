#pragma once

// Text that comes with -p or -f.

#include <optional>
#include <string>

#include "launch/console.h"
#include "runtime/base/file.h"
#include "runtime/base/result.h"

namespace switchyard {

class OptionList;

struct TextOptions {
  std::optional<std::string> prompt;  // -p
  std::optional<std::string> file;    // -f

  // `what` says in the help page what the text is.
  void add_to(OptionList& options, const std::string& what);
  int given() const { return (prompt ? 1 : 0) + (file ? 1 : 0); }
};

// The same text piece by piece, not looked at.
class TextReader {
 public:
  // Errors of opening a file.
  static Result<TextReader> open(const TextOptions& options, Console& console);
  // Some bytes more, none at the end. Blocks.
  Result<std::string> next();
  const std::string& where() const { return where_; }

 private:
  std::string where_;  // for errors
  std::string rest_;
  UniqueFd fd_;
  std::istream* stream_ = nullptr;
};

// The text of the one that was given; "-" is standard input. kBadData unless it is UTF-8.
Result<std::string> read_text(const TextOptions& options, Console& console);

}  // namespace switchyard
