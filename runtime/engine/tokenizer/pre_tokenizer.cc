#include "runtime/engine/tokenizer/pre_tokenizer.h"

#include <fmt/core.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "runtime/engine/tokenizer/byte_level.h"
#include "runtime/engine/tokenizer/fields.h"
#include "runtime/engine/tokenizer/metaspace.h"
#include "runtime/engine/tokenizer/pattern.h"
#include "runtime/engine/tokenizer/split.h"
#include "runtime/engine/tokenizer/unicode.h"

namespace switchyard {
namespace {

constexpr std::string_view kGpt2Split =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

// Cuts every piece at what find() finds.
class SplitStep : public PreTokenizer {
 public:
  SplitStep(SplitBehavior behavior, bool invert) : behavior_(behavior), invert_(invert) {}

  Status apply(Pieces& all, RegexScratch& scratch) const final {
    std::vector<Match> out;
    std::vector<Match> matches;
    const uint32_t front = all.pieces.empty() ? 0 : all.pieces.front().begin;
    for (size_t i = 0; i < all.pieces.size(); ++i) {
      const std::string_view text = all.piece(i);
      matches.clear();
      TRY_STATUS(find(text, scratch, matches));
      const size_t start = out.size();
      split_text(text.size(), matches, invert_, behavior_, out);
      for (size_t j = start; j < out.size(); ++j) {
        out[j].begin += all.pieces[i].begin;
        out[j].end += all.pieces[i].begin;
      }
    }
    all.pieces = std::move(out);
    if (!all.pieces.empty() && all.pieces.front().begin != front) all.at_origin = false;
    return {};
  }

  Result<CutEffect> cut(CutPiece& piece, RegexScratch& scratch) const final {
    const std::string_view text = piece.text;
    std::vector<Match> matches;
    size_t open_at = 0;
    TRY_STATUS(find_certain(text, scratch, matches, open_at));
    if (looks_back() || piece.at >= open_at) return CutEffect::kUnsafe;
    const auto ends_before = [&](const Match& match) { return match.end <= piece.at; };
    const auto next = std::find_if_not(matches.begin(), matches.end(), ends_before);
    std::vector<Match> of_head;
    TRY_STATUS(find(text.substr(0, piece.at), scratch, of_head));
    if (!std::equal(of_head.begin(), of_head.end(), matches.begin(), next)) {
      return CutEffect::kUnsafe;  // what follows shows
    }
    const size_t begin = next == matches.begin() ? 0 : std::prev(next)->end;
    const size_t end = next == matches.end() ? open_at : next->begin;
    if (begin < piece.at && piece.at < end) {
      if (joins_neighbours()) return CutEffect::kUnsafe;
      piece = {std::string(text.substr(begin, end - begin)), piece.at - begin,
               piece.at_origin && begin == 0};
      return CutEffect::kInside;
    }
    const bool after_match = begin == piece.at && begin > 0;
    const bool before_match = end == piece.at && next != matches.end();
    return is_border(after_match, before_match) ? CutEffect::kBorder : CutEffect::kUnsafe;
  }

 private:
  virtual Status find(std::string_view text, RegexScratch& scratch,
                      std::vector<Match>& matches) const = 0;
  // As Regex::find_certain; here for matches that depend on nothing behind the character after
  // them.
  virtual Status find_certain(std::string_view text, RegexScratch& scratch,
                              std::vector<Match>& matches, size_t& open_at) const {
    TRY_STATUS(find(text, scratch, matches));
    open_at = text.size();
    if (!matches.empty() && matches.back().end == text.size()) {
      open_at = matches.back().begin;
      matches.pop_back();
    }
    return {};
  }
  virtual bool looks_back() const { return false; }
  bool joins_neighbours() const {
    return behavior_ == SplitBehavior::kMergedWithPrevious ||
           behavior_ == SplitBehavior::kMergedWithNext;
  }

  // Whether pieces part at a place right after a match, right before one, or both.
  bool is_border(bool after_match, bool before_match) const {
    switch (behavior_) {
      case SplitBehavior::kIsolated:
      case SplitBehavior::kRemoved:
        return after_match || before_match;
      case SplitBehavior::kContiguous:
        return after_match != before_match;
      case SplitBehavior::kMergedWithPrevious:
        return !invert_ && after_match && !before_match;
      case SplitBehavior::kMergedWithNext:
        return !invert_ && before_match && !after_match;
    }
    return false;
  }

  SplitBehavior behavior_;
  bool invert_;
};

class PatternSplit : public SplitStep {
 public:
  PatternSplit(Pattern pattern, SplitBehavior behavior, bool invert)
      : SplitStep(behavior, invert), pattern_(std::move(pattern)) {}

 private:
  Status find(std::string_view text, RegexScratch& scratch,
              std::vector<Match>& matches) const override {
    return pattern_.find_all(text, scratch, matches);
  }
  Status find_certain(std::string_view text, RegexScratch& scratch, std::vector<Match>& matches,
                      size_t& open_at) const override {
    return pattern_.find_certain(text, scratch, matches, open_at);
  }
  bool looks_back() const override { return pattern_.looks_back(); }

  Pattern pattern_;
};

// Each character of a class is a match of its own.
class ClassSplit : public SplitStep {
 public:
  ClassSplit(bool (*in_class)(char32_t), SplitBehavior behavior)
      : SplitStep(behavior, false), in_class_(in_class) {}

 private:
  Status find(std::string_view text, RegexScratch&, std::vector<Match>& matches) const override {
    for (uint32_t at = 0; at < text.size();) {
      const Rune rune = rune_at(text, at);
      if (in_class_(rune.value)) matches.push_back({at, at + rune.bytes});
      at += rune.bytes;
    }
    return {};
  }
  bool (*in_class_)(char32_t);
};

// Keeps runs of word characters and runs of the rest; white space goes.
class WordSplit : public SplitStep {
 public:
  WordSplit() : SplitStep(SplitBehavior::kRemoved, true) {}

 private:
  Status find(std::string_view text, RegexScratch&, std::vector<Match>& matches) const override {
    enum class Kind { kSpace, kWord, kOther };
    Kind before = Kind::kSpace;
    for (uint32_t at = 0; at < text.size();) {
      const Rune rune = rune_at(text, at);
      const Kind kind = is_word(rune.value)          ? Kind::kWord
                        : is_white_space(rune.value) ? Kind::kSpace
                                                     : Kind::kOther;
      if (kind != Kind::kSpace && kind != before) matches.push_back({at, at});
      if (kind != Kind::kSpace) matches.back().end = at + rune.bytes;
      before = kind;
      at += rune.bytes;
    }
    return {};
  }
};

// Writes every piece anew.
class RewriteStep : public PreTokenizer {
 public:
  Status apply(Pieces& all, RegexScratch&) const final {
    std::string out;
    out.reserve(all.text.size());
    for (size_t i = 0; i < all.pieces.size(); ++i) {
      const auto begin = static_cast<uint32_t>(out.size());
      rewrite(all.piece(i), i == 0 && all.at_origin, out);
      all.pieces[i] = {begin, static_cast<uint32_t>(out.size())};
    }
    all.text = std::move(out);
    return {};
  }

  Result<CutEffect> cut(CutPiece& piece, RegexScratch&) const final {
    const std::string_view text = piece.text;
    std::string head;
    std::string tail;
    rewrite(text.substr(0, piece.at), piece.at_origin, head);
    rewrite(text.substr(piece.at), false, tail);
    std::string whole;
    rewrite(text, piece.at_origin, whole);
    if (whole != head + tail) return CutEffect::kUnsafe;
    piece.text = std::move(whole);
    piece.at = head.size();
    return CutEffect::kInside;
  }

 private:
  // Appends at least one byte to `out`.
  virtual void rewrite(std::string_view piece, bool at_origin, std::string& out) const = 0;
};

class PrefixSpace : public RewriteStep {
  void rewrite(std::string_view piece, bool, std::string& out) const override {
    if (piece.front() != ' ') out.push_back(' ');
    out += piece;
  }
};

class ByteChars : public RewriteStep {
  void rewrite(std::string_view piece, bool, std::string& out) const override {
    append_byte_chars(piece, out);
  }
};

class Metaspace : public RewriteStep {
 public:
  explicit Metaspace(const MetaspaceSpec& spec)
      : replacement_(spec.replacement), scheme_(spec.scheme) {}

 private:
  void rewrite(std::string_view piece, bool at_origin, std::string& out) const override {
    const bool marked = piece.front() == ' ' || piece.starts_with(replacement_);
    const bool wanted =
        scheme_ == PrependScheme::kAlways || (scheme_ == PrependScheme::kFirst && at_origin);
    if (wanted && !marked) out += replacement_;
    for (const char c : piece) {
      if (c == ' ') {
        out += replacement_;
      } else {
        out.push_back(c);
      }
    }
  }

  std::string replacement_;
  PrependScheme scheme_;
};

Result<SplitBehavior> parse_behavior(Fields& fields, const char* otherwise) {
  const std::string name = TRY(fields.text_or("behavior", otherwise));
  if (name == "Isolated") return SplitBehavior::kIsolated;
  if (name == "Removed") return SplitBehavior::kRemoved;
  if (name == "Contiguous") return SplitBehavior::kContiguous;
  if (name == "MergedWithPrevious") return SplitBehavior::kMergedWithPrevious;
  if (name == "MergedWithNext") return SplitBehavior::kMergedWithNext;
  return fields.unsupported(fmt::format("behavior {} is not known", name));
}

Status append_byte_level(Fields& fields, PreTokenizers& out) {
  fields.skip("trim_offsets");
  const bool prefix_space = TRY(fields.flag("add_prefix_space", true));
  const bool use_regex = TRY(fields.flag("use_regex", true));
  if (prefix_space) out.push_back(std::make_unique<PrefixSpace>());
  if (use_regex) {
    Pattern pattern = TRY(Pattern::regex(kGpt2Split, fields.where()));
    out.push_back(
        std::make_unique<PatternSplit>(std::move(pattern), SplitBehavior::kIsolated, false));
  }
  out.push_back(std::make_unique<ByteChars>());
  return {};
}

Status append_metaspace(Fields& fields, PreTokenizers& out) {
  const MetaspaceSpec spec = TRY(parse_metaspace(fields));
  out.push_back(std::make_unique<Metaspace>(spec));
  if (spec.split) {
    out.push_back(std::make_unique<PatternSplit>(Pattern::literal(spec.replacement),
                                                 SplitBehavior::kMergedWithNext, false));
  }
  return {};
}

Result<std::unique_ptr<const PreTokenizer>> make_split(const std::string& type, Fields& fields) {
  if (type == "Split") {
    const Json& spec = *TRY(fields.value("pattern"));
    Pattern pattern = TRY(Pattern::parse(spec, fields.where()));
    const SplitBehavior behavior = TRY(parse_behavior(fields, "Isolated"));
    const bool invert = TRY(fields.flag("invert", false));
    return std::make_unique<PatternSplit>(std::move(pattern), behavior, invert);
  }
  if (type == "Digits") {
    const bool single = TRY(fields.flag("individual_digits", false));
    return std::make_unique<ClassSplit>(
        is_numeric, single ? SplitBehavior::kIsolated : SplitBehavior::kContiguous);
  }
  if (type == "Punctuation") {
    const SplitBehavior behavior = TRY(parse_behavior(fields, "Isolated"));
    return std::make_unique<ClassSplit>(is_punctuation, behavior);
  }
  if (type == "Whitespace") return std::make_unique<WordSplit>();
  if (type == "WhitespaceSplit") {
    return std::make_unique<ClassSplit>(is_white_space, SplitBehavior::kRemoved);
  }
  if (type == "CharDelimiterSplit") {
    std::string delimiter;
    append_utf8(delimiter, TRY(fields.rune("delimiter")));
    return std::make_unique<PatternSplit>(Pattern::literal(delimiter), SplitBehavior::kRemoved,
                                          false);
  }
  return fields.unsupported(fmt::format("type {} is not supported", type));
}

Status append_steps(const Json& spec, const std::string& where, PreTokenizers& out) {
  Fields fields = TRY(Fields::of(spec, "pre_tokenizer", where));
  const std::string type = TRY(fields.text("type"));
  if (type == "Sequence") {
    for (const Json& step : *TRY(fields.list("pretokenizers"))) {
      TRY_STATUS(append_steps(step, where, out));
    }
  } else if (type == "ByteLevel") {
    TRY_STATUS(append_byte_level(fields, out));
  } else if (type == "Metaspace") {
    TRY_STATUS(append_metaspace(fields, out));
  } else {
    out.push_back(TRY(make_split(type, fields)));
  }
  return fields.done();
}

}  // namespace

Result<PreTokenizers> parse_pre_tokenizers(const Json& spec, const std::string& where) {
  PreTokenizers steps;
  if (!spec.is_null()) TRY_STATUS(append_steps(spec, where, steps));
  return steps;
}

}  // namespace switchyard
