#include "runtime/engine/tokenizer/normalizer.h"

#include <fmt/core.h>
#include <utf8proc.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "runtime/base/check.h"
#include "runtime/engine/tokenizer/fields.h"
#include "runtime/engine/tokenizer/pattern.h"
#include "runtime/engine/tokenizer/unicode.h"

namespace switchyard {
namespace {

int combining_class(int32_t rune) { return utf8proc_get_property(rune)->combining_class; }

// Unicode normalisation forms (UAX 15). The marks of a character are sorted here and not by
// utf8proc, whose insertion sort takes quadratic time on long runs of them.
class UnicodeForm : public Normalizer {
 public:
  UnicodeForm(bool compose, bool compatible)
      : options_(static_cast<utf8proc_option_t>(UTF8PROC_STABLE |
                                                (compose ? UTF8PROC_COMPOSE : UTF8PROC_DECOMPOSE) |
                                                (compatible ? UTF8PROC_COMPAT : 0))),
        compose_(compose) {}

  Status apply(NormalizedText& text, RegexScratch&) const override {
    const bool ascii =
        std::all_of(text.text.begin(), text.text.end(), [](char c) { return c >= 0; });
    if (ascii) return {};
    std::vector<int32_t> runes = decompose(text.text);
    sort_marks(runes);
    size_t count = runes.size();
    if (compose_) {
      const auto composed =
          utf8proc_normalize_utf32(runes.data(), static_cast<utf8proc_ssize_t>(count), options_);
      CHECK(composed >= 0);
      count = static_cast<size_t>(composed);
    }
    text.text.clear();
    for (size_t i = 0; i < count; ++i) append_utf8(text.text, static_cast<char32_t>(runes[i]));
    return {};
  }
  bool keeps_cuts() const override { return true; }  // ASCII composes with nothing before it

 private:
  std::vector<int32_t> decompose(std::string_view text) const {
    std::vector<int32_t> runes;
    runes.reserve(text.size());
    for (size_t at = 0; at < text.size();) {
      const Rune rune = rune_at(text, at);
      at += rune.bytes;
      int32_t parts[32];  // the longest decomposition of Unicode has 18
      const auto decompose_only =
          static_cast<utf8proc_option_t>((options_ & ~UTF8PROC_COMPOSE) | UTF8PROC_DECOMPOSE);
      const auto count = utf8proc_decompose_char(static_cast<int32_t>(rune.value), parts, 32,
                                                 decompose_only, nullptr);
      CHECK(count >= 0 && count <= 32);
      runes.insert(runes.end(), parts, parts + count);
    }
    return runes;
  }

  static void sort_marks(std::vector<int32_t>& runes) {
    for (auto begin = runes.begin(); begin != runes.end();) {
      begin = std::find_if(begin, runes.end(), combining_class);
      const auto end =
          std::find_if(begin, runes.end(), [](int32_t rune) { return combining_class(rune) == 0; });
      if (end - begin > 1) {
        std::stable_sort(begin, end, [](int32_t a, int32_t b) {
          return combining_class(a) < combining_class(b);
        });
      }
      begin = end;
    }
  }

  utf8proc_option_t options_;
  bool compose_;
};

class Lowercase : public Normalizer {
 public:
  Status apply(NormalizedText& text, RegexScratch&) const override {
    constexpr char32_t kDottedCapitalI = 0x130;  // the one letter that becomes two
    std::string out;
    out.reserve(text.text.size());
    for (size_t at = 0; at < text.text.size();) {
      const Rune rune = rune_at(text.text, at);
      at += rune.bytes;
      if (rune.value == kDottedCapitalI) {
        out += "i\u0307";
      } else {
        const int32_t lower = utf8proc_tolower(static_cast<int32_t>(rune.value));
        append_utf8(out, static_cast<char32_t>(lower));
      }
    }
    text.text = std::move(out);
    return {};
  }
  bool keeps_cuts() const override { return true; }
};

class Replace : public Normalizer {
 public:
  Replace(Pattern pattern, std::string content)
      : pattern_(std::move(pattern)), content_(std::move(content)) {}
  Status apply(NormalizedText& text, RegexScratch& scratch) const override {
    std::vector<Match> matches;
    TRY_STATUS(pattern_.find_all(text.text, scratch, matches));
    if (matches.empty()) return {};
    if (content_.empty() && matches.front().begin == 0 && matches.front().end > 0) {
      text.at_origin = false;
    }
    text.text = TRY(pattern_.replace_all(text.text, content_, scratch));
    return {};
  }
  bool keeps_cuts() const override {
    const std::string* literal = pattern_.literal_text();
    if (literal == nullptr) return false;
    return *literal == " " || std::none_of(literal->begin(), literal->end(), [](char c) {
      return c == ' ' || c == '\n' || is_ascii_letter(c);
    });
  }

 private:
  Pattern pattern_;
  std::string content_;
};

class Prepend : public Normalizer {
 public:
  explicit Prepend(std::string content) : content_(std::move(content)) {}
  Status apply(NormalizedText& text, RegexScratch&) const override {
    if (!text.text.empty() && !text.continues) text.text.insert(0, content_);
    return {};
  }
  bool keeps_cuts() const override { return true; }

 private:
  std::string content_;
};

class Strip : public Normalizer {
 public:
  Strip(bool left, bool right) : left_(left), right_(right) {}
  Status apply(NormalizedText& text, RegexScratch&) const override {
    const std::string_view all = text.text;
    size_t begin = 0;
    size_t end = all.size();
    while (left_ && begin < end && is_white_space(rune_at(all, begin).value)) {
      begin += rune_at(all, begin).bytes;
    }
    while (right_ && end > begin && is_white_space(rune_before(all, end).value)) {
      end -= rune_before(all, end).bytes;
    }
    if (begin > 0) text.at_origin = false;
    text.text = std::string(all.substr(begin, end - begin));
    return {};
  }
  bool keeps_cuts() const override { return !left_ && !right_; }

 private:
  bool left_;
  bool right_;
};

using MadeNormalizer = Result<std::unique_ptr<const Normalizer>>;

MadeNormalizer make_normalizer_step(const std::string& type, Fields& fields) {
  if (type == "NFC") return std::make_unique<UnicodeForm>(true, false);
  if (type == "NFD") return std::make_unique<UnicodeForm>(false, false);
  if (type == "NFKC") return std::make_unique<UnicodeForm>(true, true);
  if (type == "NFKD") return std::make_unique<UnicodeForm>(false, true);
  if (type == "Lowercase") return std::make_unique<Lowercase>();
  if (type == "Prepend") {
    const std::string prepended = TRY(fields.text("prepend"));
    return std::make_unique<Prepend>(prepended);
  }
  if (type == "Strip") {
    const bool left = TRY(fields.flag("strip_left", true));
    const bool right = TRY(fields.flag("strip_right", true));
    return std::make_unique<Strip>(left, right);
  }
  if (type == "Replace") {
    const Json& spec = *TRY(fields.value("pattern"));
    Pattern pattern = TRY(Pattern::parse(spec, fields.where()));
    const std::string content = TRY(fields.text("content"));
    return std::make_unique<Replace>(std::move(pattern), content);
  }
  return fields.unsupported(fmt::format("type {} is not supported", type));
}

Status append_steps(const Json& spec, const std::string& where, Normalizers& out) {
  Fields fields = TRY(Fields::of(spec, "normalizer", where));
  const std::string type = TRY(fields.text("type"));
  if (type == "Sequence") {
    for (const Json& step : *TRY(fields.list("normalizers"))) {
      TRY_STATUS(append_steps(step, where, out));
    }
  } else {
    out.push_back(TRY(make_normalizer_step(type, fields)));
  }
  return fields.done();
}

}  // namespace

Result<Normalizers> parse_normalizers(const Json& spec, const std::string& where) {
  Normalizers steps;
  if (!spec.is_null()) TRY_STATUS(append_steps(spec, where, steps));
  return steps;
}

}  // namespace switchyard
