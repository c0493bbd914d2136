#include "runtime/engine/tokenizer/tokenizer.h"

#include <fmt/core.h>

#include <algorithm>

#include "runtime/base/file.h"
#include "runtime/engine/tokenizer/loader.h"
#include "runtime/engine/tokenizer/unicode.h"

namespace switchyard {
namespace {

constexpr size_t kTextBytesMax = size_t{1} << 30;
constexpr int kCutTries = 8;

using Needles = std::vector<AddedTokenFinder::Needle>;

struct EncodeScratch {
  RegexScratch regex;
  BpeScratch bpe;
};

Result<std::string> normalized_content(const AddedToken& token, const Normalizers& normalizers,
                                       const std::string& where) {
  NormalizedText text{token.content, false};
  RegexScratch scratch;
  for (const auto& step : normalizers) TRY_STATUS(step->apply(text, scratch));
  if (!text.text.empty()) return std::move(text.text);
  return fail(Code::kConfig, fmt::format("added token {} is empty once normalised", token.id),
              where);
}

// Special tokens come first: where two tokens have the same text, they win.
Result<std::pair<Needles, Needles>> make_needles(const TokenizerParts& parts,
                                                 const std::string& where) {
  Needles raw;
  Needles normalized;
  for (const bool special : {true, false}) {
    for (const AddedToken& token : parts.added_tokens) {
      if (token.special != special) continue;
      if (token.normalized) {
        normalized.push_back({TRY(normalized_content(token, parts.normalizers, where)), token});
      } else {
        raw.push_back({token.content, token});
      }
    }
  }
  return std::pair(std::move(raw), std::move(normalized));
}

// Between a letter and a blank before a letter, or behind the end of a line that is not empty and
// before one that begins with no white space.
bool is_cut_candidate(std::string_view text, size_t at) {
  if (at < 2 || at + 1 >= text.size()) return false;
  if (text[at] == ' ') return is_ascii_letter(text[at - 1]) && is_ascii_letter(text[at + 1]);
  return text[at - 1] == '\n' && (text[at] & 0xc0) != 0x80 &&
         !is_white_space(rune_at(text, at).value);
}

}  // namespace

struct Tokenizer::State {
  TokenizerParts parts;
  AddedTokenFinder raw_tokens;
  AddedTokenFinder normalized_tokens;
  Vocab added;  // tokens that the model does not have
  std::vector<bool> special;

  State(TokenizerParts p, Needles raw, Needles normalized)
      : parts(std::move(p)),
        raw_tokens(std::move(raw)),
        normalized_tokens(std::move(normalized)),
        added(parts.id_limit) {}

  Status index_added_tokens(const std::string& where);
  std::optional<std::string_view> content(TokenId id) const {
    const auto found = parts.bpe.vocab().content(id);
    return found ? found : added.content(id);
  }
  bool is_special(TokenId id) const {
    return id >= 0 && static_cast<size_t>(id) < special.size() && special[static_cast<size_t>(id)];
  }
  Status encode_text(NormalizedText normalized, EncodeScratch& scratch,
                     std::vector<TokenId>& out) const;
  Result<std::string> normalize(NormalizedText text, RegexScratch& scratch) const;
  Result<bool> may_cut(std::string_view text, size_t at) const;
  Result<bool> splits_at(CutPiece piece, RegexScratch& scratch) const;
  Status encode_piece(std::string_view text, bool at_origin, EncodeScratch& scratch,
                      std::vector<TokenId>& out) const;
};

Status Tokenizer::State::index_added_tokens(const std::string& where) {
  const Vocab& vocab = parts.bpe.vocab();
  for (const AddedToken& token : parts.added_tokens) {
    const auto id = vocab.find(token.content);
    const auto content = vocab.content(token.id);
    if ((id && *id != token.id) || (content && *content != token.content)) {
      return fail(Code::kBadData,
                  fmt::format("added token \"{}\" with id {} contradicts the vocabulary",
                              token.content, token.id),
                  where);
    }
    if (!id) TRY_STATUS(added.insert(token.content, token.id, where));
  }
  special.assign(std::max(vocab.id_end(), added.id_end()), false);
  for (const AddedToken& token : parts.added_tokens) {
    special[static_cast<size_t>(token.id)] = token.special;
  }
  for (const TokenId id : parts.post_processor.added()) {
    if (content(id)) continue;
    return fail(Code::kBadData, fmt::format("post_processor: id {} has no token", id), where);
  }
  return {};
}

// Added tokens are found before normalisation or after it, as each one says.
Status Tokenizer::State::encode_text(NormalizedText normalized, EncodeScratch& scratch,
                                     std::vector<TokenId>& out) const {
  for (const auto& step : parts.normalizers) TRY_STATUS(step->apply(normalized, scratch.regex));
  for (const TextSegment& segment : normalized_tokens.split(normalized.text)) {
    if (segment.id >= 0) {
      out.push_back(segment.id);
      continue;
    }
    const std::string_view piece =
        std::string_view(normalized.text).substr(segment.begin, segment.end - segment.begin);
    TRY_STATUS(encode_piece(piece, normalized.at_origin && segment.begin == 0, scratch, out));
  }
  return {};
}

Status Tokenizer::State::encode_piece(std::string_view text, bool at_origin, EncodeScratch& scratch,
                                      std::vector<TokenId>& out) const {
  Pieces pieces{std::string(text), {{0, static_cast<uint32_t>(text.size())}}, at_origin};
  for (const auto& step : parts.pre_tokenizers) TRY_STATUS(step->apply(pieces, scratch.regex));
  for (size_t i = 0; i < pieces.pieces.size(); ++i) {
    parts.bpe.encode(pieces.piece(i), scratch.bpe, out);
  }
  return {};
}

Result<std::string> Tokenizer::State::normalize(NormalizedText text, RegexScratch& scratch) const {
  for (const auto& step : parts.normalizers) TRY_STATUS(step->apply(text, scratch));
  return std::move(text.text);
}

// Whether `at` can be a place to cut, as far as `text` and how it may go on tell.
Result<bool> Tokenizer::State::may_cut(std::string_view text, size_t at) const {
  const TextSegment segment = raw_tokens.split(text).back();
  if (segment.id >= 0 || segment.begin >= at) return false;
  RegexScratch scratch;
  const bool at_origin = segment.begin == 0;
  const std::string_view head = text.substr(segment.begin, at - segment.begin);
  CutPiece piece{TRY(normalize({std::string(text.substr(segment.begin)), at_origin}, scratch)),
                 TRY(normalize({std::string(head), at_origin}, scratch)).size(), at_origin};
  const std::string tail = TRY(normalize({std::string(text.substr(at)), false, true}, scratch));
  if (piece.at + tail.size() != piece.text.size() || !piece.text.ends_with(tail)) return false;
  const TextSegment last = normalized_tokens.split(piece.text).back();
  if (last.id >= 0 || last.begin >= piece.at) return false;
  piece.text.erase(0, last.begin);
  piece.at -= last.begin;
  piece.at_origin = at_origin && last.begin == 0;
  return splits_at(std::move(piece), scratch);
}

Result<bool> Tokenizer::State::splits_at(CutPiece piece, RegexScratch& scratch) const {
  for (const auto& step : parts.pre_tokenizers) {
    switch (TRY(step->cut(piece, scratch))) {
      case CutEffect::kBorder:
        return true;
      case CutEffect::kInside:
        break;
      case CutEffect::kUnsafe:
        return false;
    }
  }
  return parts.bpe.splits_between(rune_before(piece.text, piece.at).value,
                                  rune_at(piece.text, piece.at).value);
}

Tokenizer::Tokenizer(std::unique_ptr<const State> state) : state_(std::move(state)) {}
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;
Tokenizer::~Tokenizer() = default;

Result<Tokenizer> Tokenizer::parse(std::string_view json, const std::string& where) {
  TokenizerParts parts = TRY(load_tokenizer(json, where));
  auto [raw, normalized] = TRY(make_needles(parts, where));
  auto state = std::make_unique<State>(std::move(parts), std::move(raw), std::move(normalized));
  TRY_STATUS(state->index_added_tokens(where));
  return Tokenizer(std::move(state));
}

Result<std::vector<TokenId>> Tokenizer::encode(std::string_view text, EncodeOptions options) const {
  if (text.size() > kTextBytesMax) return fail(Code::kBadData, "the text is above 1 GiB");
  if (!is_utf8(text)) return fail(Code::kBadData, "the text is not UTF-8");
  EncodeScratch scratch;
  std::vector<TokenId> ids;
  for (const TextSegment& segment : state_->raw_tokens.split(text)) {
    if (segment.id >= 0) {
      ids.push_back(segment.id);
    } else {
      const std::string_view part = text.substr(segment.begin, segment.end - segment.begin);
      const bool first = segment.begin == 0;
      NormalizedText whole{std::string(part), first && !options.continues,
                           first && options.continues};
      TRY_STATUS(state_->encode_text(std::move(whole), scratch, ids));
    }
  }
  if (options.add_special) ids = state_->parts.post_processor.apply(std::move(ids));
  return ids;
}

Result<size_t> Tokenizer::find_cut(std::string_view text) const {
  const auto keeps = [](const auto& step) { return step->keeps_cuts(); };
  const Normalizers& normalizers = state_->parts.normalizers;
  if (!std::all_of(normalizers.begin(), normalizers.end(), keeps) ||
      !state_->raw_tokens.keeps_cuts(false) || !state_->normalized_tokens.keeps_cuts(true)) {
    return 0;
  }
  // Each is judged by the text up to the one after it: a text cut there is normalised as its
  // beginning is.
  size_t after = 0;
  int tries = 0;
  for (size_t at = text.size(); at-- > 2 && tries < kCutTries;) {
    if (!is_cut_candidate(text, at)) continue;
    if (after > 0) {
      ++tries;
      if (TRY(state_->may_cut(text.substr(0, after), at))) return at;
    }
    after = at;
  }
  return 0;
}

Result<std::string> Tokenizer::decode(std::span<const TokenId> ids, DecodeOptions options) const {
  StreamDecoder decoder(*this, options);
  std::string text;
  for (const TokenId id : ids) {
    if (!state_->content(id)) {
      return fail(Code::kBadData, fmt::format("id {} has no token", id));
    }
    text += decoder.push(id);
  }
  text += decoder.finish();
  return text;
}

size_t Tokenizer::vocab_size() const { return state_->special.size(); }

std::optional<TokenId> Tokenizer::token_id(std::string_view content) const {
  const auto found = state_->parts.bpe.vocab().find(content);
  return found ? found : state_->added.find(content);
}

bool Tokenizer::is_special(TokenId id) const { return state_->is_special(id); }

StreamEncoder::StreamEncoder(const Tokenizer& tokenizer, bool add_special) : tokenizer_(tokenizer) {
  if (!add_special) return;
  constexpr TokenId kText = -1;
  const auto around = tokenizer.state_->parts.post_processor.apply({kText});
  const auto text = std::find(around.begin(), around.end(), kText);
  before_.assign(around.begin(), text);
  after_.assign(text + 1, around.end());
}

struct StreamDecoder::Run {
  const Tokenizer::State& state;
  DecodeOptions options;
  DecodeRun run;
};

StreamDecoder::StreamDecoder(const Tokenizer& tokenizer, DecodeOptions options)
    : run_(new Run{*tokenizer.state_, options, DecodeRun(tokenizer.state_->parts.decoder)}) {}
StreamDecoder::~StreamDecoder() = default;
StreamDecoder::StreamDecoder(StreamDecoder&&) noexcept = default;

std::string StreamDecoder::push(TokenId id) {
  const auto content = run_->state.content(id);
  if (!content || (run_->options.skip_special && run_->state.is_special(id))) return {};
  return run_->run.push(*content);
}

std::string StreamDecoder::finish() { return run_->run.finish(); }

}  // namespace switchyard
