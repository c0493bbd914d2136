#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/base/result.h"

struct pcre2_real_code_8;
struct pcre2_real_match_context_8;
struct pcre2_real_match_data_8;
struct pcre2_real_jit_stack_8;

namespace switchyard {

// Bytes [begin, end) of a text.
struct Match {
  uint32_t begin = 0;
  uint32_t end = 0;
};

// What a search writes to besides its result. Reused from search to search; one thread at a time.
class RegexScratch {
 public:
  RegexScratch();
  ~RegexScratch();
  RegexScratch(const RegexScratch&) = delete;

 private:
  friend class Regex;
  void prepare(size_t text_bytes);

  pcre2_real_match_data_8* data_ = nullptr;
  pcre2_real_match_context_8* context_ = nullptr;
  pcre2_real_jit_stack_8* stack_ = nullptr;
};

// A compiled pattern of tokenizer.json. Immutable: any number of threads may search at once.
class Regex {
 public:
  // kConfig when the pattern is not understood.
  static Result<Regex> compile(std::string_view pattern, const std::string& where);

  // Appends all matches from left to right; no two overlap. An empty match right after another is
  // left out. `text` is valid UTF-8 below 4 GiB. kBadData when the search needs too many steps.
  Status find_all(std::string_view text, RegexScratch& scratch, std::vector<Match>& out) const;

 private:
  struct Free {
    void operator()(pcre2_real_code_8* code) const;
  };
  std::unique_ptr<pcre2_real_code_8, Free> code_;
  bool jit_ = false;
};

}  // namespace switchyard
