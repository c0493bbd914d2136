#pragma once

#include <ostream>
#include <streambuf>
#include <string>
#include <utility>

namespace switchyard {

// Takes whatever is written, and forgets it.
class NoStream : private std::streambuf, public std::ostream {
 public:
  NoStream() : std::ostream(static_cast<std::streambuf*>(this)) {}

 private:
  std::streambuf::int_type overflow(std::streambuf::int_type character) override {
    return std::streambuf::traits_type::not_eof(character);
  }
};

// Writes whole lines to another stream, each behind a prefix, in one piece.
class PrefixedStream : private std::streambuf, public std::ostream {
 public:
  PrefixedStream(std::ostream& out, std::string prefix)
      : std::ostream(static_cast<std::streambuf*>(this)), out_(out), prefix_(std::move(prefix)) {}
  ~PrefixedStream() override {
    if (!line_.empty()) overflow('\n');
  }

 private:
  std::streambuf::int_type overflow(std::streambuf::int_type character) override {
    using Traits = std::streambuf::traits_type;
    if (Traits::eq_int_type(character, Traits::eof())) return 0;
    line_ += Traits::to_char_type(character);
    if (line_.back() != '\n') return character;
    out_ << prefix_ + line_ << std::flush;
    line_.clear();
    return character;
  }

  std::ostream& out_;
  const std::string prefix_;
  std::string line_;
};

}  // namespace switchyard
