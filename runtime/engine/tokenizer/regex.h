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

  bool operator==(const Match&) const = default;
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

  // Appends the matches that `text` has however it goes on. `open_at` becomes the first byte of
  // which this is not known, text.size() when it is known of all.
  Status find_certain(std::string_view text, RegexScratch& scratch, std::vector<Match>& out,
                      size_t& open_at) const;

  // Whether a match may depend on what lies before it.
  bool looks_back() const { return looks_back_; }

 private:
  Status find(std::string_view text, uint32_t flags, RegexScratch& scratch, std::vector<Match>& out,
              size_t& open_at) const;

  struct Free {
    void operator()(pcre2_real_code_8* code) const;
  };
  std::unique_ptr<pcre2_real_code_8, Free> code_;
  bool jit_ = false;
  bool looks_back_ = false;
};

}  // namespace switchyard
