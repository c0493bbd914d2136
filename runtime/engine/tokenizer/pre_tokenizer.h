#pragma once

#include <memory>
#include <string>
#include <vector>

#include "runtime/base/json.h"
#include "runtime/engine/tokenizer/regex.h"

namespace switchyard {

// A text cut into pieces, each of which the model turns into tokens by itself.
struct Pieces {
  std::string text;
  std::vector<Match> pieces;  // in order, not empty, not overlapping; gaps were removed
  bool at_origin = false;     // pieces.front() begins with the first character of the whole input

  std::string_view piece(size_t i) const {
    return std::string_view(text).substr(pieces[i].begin, pieces[i].end - pieces[i].begin);
  }
};

// The known beginning of a piece, with a place at which the text may be cut.
struct CutPiece {
  std::string text;
  size_t at = 0;
  bool at_origin = false;  // as Pieces'
};

// What a step makes of the place.
enum class CutEffect {
  kBorder,  // a piece ends there, whether the text is cut or not
  kInside,  // the piece, rewritten or made smaller, goes to the next step
  kUnsafe,  // the cut might change the pieces
};

// One step that cuts or rewrites pieces. Immutable, for any number of threads.
class PreTokenizer {
 public:
  virtual ~PreTokenizer() = default;
  // kBadData when a pattern's search needs too many steps.
  virtual Status apply(Pieces& pieces, RegexScratch& scratch) const = 0;
  // What a cut there would do, however the text goes on behind piece.text.
  virtual Result<CutEffect> cut(CutPiece& piece, RegexScratch& scratch) const = 0;
};

using PreTokenizers = std::vector<std::unique_ptr<const PreTokenizer>>;

// The steps of tokenizer.json's "pre_tokenizer" in order, none for null. An unknown type is
// kConfig.
Result<PreTokenizers> parse_pre_tokenizers(const Json& spec, const std::string& where);

}  // namespace switchyard
