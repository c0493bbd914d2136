#pragma once

#include <memory>
#include <string>
#include <vector>

#include "runtime/base/json.h"

namespace switchyard {

class RegexScratch;

// A text on its way to the pre-tokenizer.
struct NormalizedText {
  std::string text;
  bool at_origin = false;  // its first character comes from the first one of the whole input
  bool continues = false;  // the text before a cut comes before it
};

// One step of normalisation. Immutable, for any number of threads.
class Normalizer {
 public:
  virtual ~Normalizer() = default;
  // kBadData when a pattern's search needs too many steps.
  virtual Status apply(NormalizedText& text, RegexScratch& scratch) const = 0;
  // Whether the parts of a text that Tokenizer::find_cut() may cut are normalised as the whole is:
  // between a letter and a blank, both ASCII, or behind the end of a line.
  virtual bool keeps_cuts() const = 0;
};

using Normalizers = std::vector<std::unique_ptr<const Normalizer>>;

// The steps of tokenizer.json's "normalizer" in order, none for null. An unknown type is kConfig.
Result<Normalizers> parse_normalizers(const Json& spec, const std::string& where);

}  // namespace switchyard
