#include "runtime/engine/tokenizer/bpe.h"

#include <fmt/core.h>

#include <algorithm>
#include <bit>

#include "runtime/engine/tokenizer/unicode.h"

namespace switchyard {
namespace {

constexpr size_t kBorderBitsMin = 1 << 12;
constexpr size_t kBorderBitsMax = 1 << 20;

uint64_t border_hash(char32_t last, char32_t first) {
  const uint64_t hash = (static_cast<uint64_t>(last) << 32 | first) * 0x9e3779b97f4a7c15;
  return hash ^ hash >> 32;
}

// For a heap with the lowest rank, then the leftmost position, on top.
bool after(const BpeCandidate& a, const BpeCandidate& b) {
  return a.rank != b.rank ? a.rank > b.rank : a.position > b.position;
}

}  // namespace

// Symbols gather until no merge can join the last one and the next.
struct Bpe::Word {
  const Bpe& bpe;
  BpeScratch& scratch;
  std::vector<TokenId>& out;
  char32_t last = 0;

  void add(TokenId id, Ends ends) {
    std::vector<BpeSymbol>& word = scratch.word;
    if (!word.empty() && !bpe.may_merge(last, ends.first)) flush();
    const auto at = static_cast<int32_t>(word.size());
    if (at > 0) word.back().next = at;
    word.push_back({id, at - 1, -1});
    last = ends.last;
  }

  void flush() {
    bpe.merge(scratch);
    for (const BpeSymbol& symbol : scratch.word) {
      if (symbol.id >= 0) out.push_back(symbol.id);
    }
    scratch.word.clear();
  }
};

Result<Bpe> Bpe::make(Vocab vocab, MergeTable merges, const BpeOptions& options,
                      const std::string& where) {
  Bpe bpe(std::move(vocab), std::move(merges), options);
  if (options.unk_token) {
    bpe.unk_ = bpe.vocab_.find(*options.unk_token);
    if (!bpe.unk_) {
      return fail(Code::kBadData,
                  fmt::format("unk_token \"{}\" is not in the vocabulary", *options.unk_token),
                  where);
    }
  }
  for (int byte = 0; byte < 256; ++byte) {
    bpe.byte_tokens_[byte] = bpe.vocab_.find(fmt::format("<0x{:02X}>", byte)).value_or(-1);
  }
  bpe.index_runes();
  bpe.index_borders();
  return bpe;
}

void Bpe::index_runes() {
  rune_tokens_.assign(kDirectRunes, -1);
  for (char32_t rune = 0; rune < kDirectRunes; ++rune) {
    std::string text;
    append_utf8(text, rune);
    rune_tokens_[rune] = vocab_.find(text).value_or(-1);
  }
}

void Bpe::index_borders() {
  const size_t wanted = std::bit_ceil(8 * merges_.merges().size());
  borders_.assign(std::clamp(wanted, kBorderBitsMin, kBorderBitsMax) / 64, 0);
  const uint64_t mask = borders_.size() * 64 - 1;
  for (const Merge& merge : merges_.merges()) {
    const uint64_t bit = border_hash(ends_of(merge.left).last, ends_of(merge.right).first) & mask;
    borders_[bit / 64] |= uint64_t{1} << bit % 64;
  }
}

Bpe::Ends Bpe::ends_of(TokenId id) const {
  const std::string_view text = *vocab_.content(id);
  if (text.empty()) return {};
  return {rune_at(text, 0).value, rune_before(text, text.size()).value};
}

bool Bpe::may_merge(char32_t last, char32_t first) const {
  const uint64_t bit = border_hash(last, first) & (borders_.size() * 64 - 1);
  return (borders_[bit / 64] >> bit % 64 & 1) != 0;
}

std::optional<TokenId> Bpe::rune_token(char32_t rune, std::string_view text) const {
  if (rune >= kDirectRunes) return vocab_.find(text);
  if (rune_tokens_[rune] < 0) return std::nullopt;
  return rune_tokens_[rune];
}

// The last character has a token of its own, so that no unknown one waits behind it.
bool Bpe::splits_between(char32_t last, char32_t first) const {
  std::string text;
  append_utf8(text, last);
  return !options_.ignore_merges && rune_token(last, text) && !may_merge(last, first);
}

bool Bpe::add_bytes(std::string_view text, Word& word) const {
  const auto token = [this](char c) { return byte_tokens_[static_cast<unsigned char>(c)]; };
  if (std::any_of(text.begin(), text.end(), [&](char c) { return token(c) < 0; })) return false;
  for (const char c : text) word.add(token(c), {'<', '>'});
  return true;
}

// An unknown token waits until the next known character, past any byte tokens in between: so does
// the reference implementation.
void Bpe::encode(std::string_view piece, BpeScratch& scratch, std::vector<TokenId>& out) const {
  if (options_.ignore_merges) {
    if (const auto id = vocab_.find(piece)) {
      out.push_back(*id);
      return;
    }
  }
  Word word{*this, scratch, out};
  bool unk_waits = false;
  const auto add_unk = [&] {
    if (unk_waits) word.add(*unk_, ends_of(*unk_));
    unk_waits = false;
  };
  for (size_t at = 0; at < piece.size();) {
    const Rune rune = rune_at(piece, at);
    const std::string_view text = piece.substr(at, rune.bytes);
    at += rune.bytes;
    if (const auto id = rune_token(rune.value, text)) {
      add_unk();
      word.add(*id, {rune.value, rune.value});
    } else if (!options_.byte_fallback || !add_bytes(text, word)) {
      if (!options_.fuse_unk) add_unk();
      unk_waits = unk_.has_value();
    }
  }
  add_unk();
  word.flush();
}

void Bpe::push_pair(BpeScratch& scratch, int32_t position) const {
  const BpeSymbol& left = scratch.word[static_cast<size_t>(position)];
  const BpeSymbol& right = scratch.word[static_cast<size_t>(left.next)];
  const uint32_t rank = merges_.rank(left.id, right.id);
  if (rank == MergeTable::kNone) return;
  scratch.queue.push_back({rank, static_cast<uint32_t>(position), merges_.merged(rank)});
}

void Bpe::merge(BpeScratch& scratch) const {
  std::vector<BpeSymbol>& word = scratch.word;
  std::vector<BpeCandidate>& queue = scratch.queue;
  queue.clear();
  for (size_t i = 0; i + 1 < word.size(); ++i) push_pair(scratch, static_cast<int32_t>(i));
  std::make_heap(queue.begin(), queue.end(), after);
  while (!queue.empty()) {
    const BpeCandidate top = queue.front();
    std::pop_heap(queue.begin(), queue.end(), after);
    queue.pop_back();
    BpeSymbol& left = word[top.position];
    if (left.id < 0 || left.next < 0) continue;
    BpeSymbol& right = word[static_cast<size_t>(left.next)];
    const uint32_t rank = merges_.rank(left.id, right.id);
    // Either side may have changed since; the pair still counts if it makes the same token.
    if (rank == MergeTable::kNone || merges_.merged(rank) != top.merged) continue;
    const auto position = static_cast<int32_t>(top.position);
    left.id = top.merged;
    left.next = right.next;
    right.id = -1;
    if (left.next >= 0) word[static_cast<size_t>(left.next)].previous = position;
    for (const int32_t start : {left.previous, left.next >= 0 ? position : -1}) {
      if (start < 0) continue;
      const size_t before = queue.size();
      push_pair(scratch, start);
      if (queue.size() > before) std::push_heap(queue.begin(), queue.end(), after);
    }
  }
}

}  // namespace switchyard
