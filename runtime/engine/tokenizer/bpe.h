#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/base/result.h"
#include "runtime/engine/tokenizer/merge_table.h"
#include "runtime/engine/tokenizer/vocab.h"

namespace switchyard {

struct BpeOptions {
  std::optional<std::string> unk_token;
  bool fuse_unk = false;       // neighbouring unknown characters are one unknown token
  bool byte_fallback = false;  // an unknown character becomes tokens <0x00> … <0xFF>
  bool ignore_merges = false;  // a piece that is a token is that token
};

struct BpeSymbol {
  TokenId id = -1;  // −1: merged into the symbol before it
  int32_t previous = -1;
  int32_t next = -1;
};

struct BpeCandidate {
  uint32_t rank = 0;
  uint32_t position = 0;
  TokenId merged = 0;
};

// Buffers of an encoding, reused from piece to piece; one thread at a time.
struct BpeScratch {
  std::vector<BpeSymbol> word;
  std::vector<BpeCandidate> queue;
};

// Byte-pair encoding (Sennrich et al. 2016): of all neighbouring pairs the one of lowest rank
// merges, the leftmost first, until none can. Takes n log n steps for a piece of n characters, and
// memory for its longest part that no merge can cross. Immutable, for any number of threads.
class Bpe {
 public:
  // kBadData when the unknown token is not in the vocabulary.
  static Result<Bpe> make(Vocab vocab, MergeTable merges, const BpeOptions& options,
                          const std::string& where);

  // Appends the tokens of `piece`, which is valid UTF-8. Characters that nothing can stand for are
  // left out.
  void encode(std::string_view piece, BpeScratch& scratch, std::vector<TokenId>& out) const;

  // Whether a piece that holds these two characters side by side gives the tokens of its two parts.
  bool splits_between(char32_t last, char32_t first) const;

  const Vocab& vocab() const { return vocab_; }

 private:
  // First and last character of a token, to tell which symbols can ever be merged.
  struct Ends {
    char32_t first = 0;
    char32_t last = 0;
  };
  struct Word;  // a piece on its way into tokens

  Bpe(Vocab vocab, MergeTable merges, const BpeOptions& options)
      : vocab_(std::move(vocab)), merges_(std::move(merges)), options_(options) {}
  void index_runes();
  void index_borders();
  Ends ends_of(TokenId id) const;
  bool may_merge(char32_t last, char32_t first) const;
  std::optional<TokenId> rune_token(char32_t rune, std::string_view text) const;
  bool add_bytes(std::string_view text, Word& word) const;
  void merge(BpeScratch& scratch) const;
  void push_pair(BpeScratch& scratch, int32_t position) const;

  static constexpr size_t kDirectRunes = 0x800;

  Vocab vocab_;
  MergeTable merges_;
  BpeOptions options_;
  std::optional<TokenId> unk_;
  std::array<TokenId, 256> byte_tokens_{};
  std::vector<TokenId> rune_tokens_;  // [kDirectRunes] the token of a character alone, or −1
  std::vector<uint64_t> borders_;     // a bit set over hashes of the characters that merges join
};

}  // namespace switchyard
