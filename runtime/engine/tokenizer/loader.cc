#include "runtime/engine/tokenizer/loader.h"

#include <fmt/core.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "runtime/engine/tokenizer/fields.h"
#include "runtime/engine/tokenizer/json_sections.h"

namespace switchyard {
namespace {

constexpr size_t kIdLimitMin = size_t{1} << 20;

// The small member `key` as a JSON value; null when it is not there.
Result<Json> small_member(const JsonSections& sections, const char* key, const std::string& where) {
  const auto found = sections.find(key);
  if (found == sections.end()) return Json();
  return parse_part(found->second, where);
}

Result<JsonPart> large_member(const JsonSections& sections, const char* key,
                              const std::string& where) {
  const auto found = sections.find(key);
  if (found == sections.end()) {
    return fail(Code::kBadData, fmt::format("\"{}\" is missing", key), where);
  }
  return found->second;
}

Result<Vocab> load_vocab(const JsonPart& json, size_t id_limit, const std::string& where) {
  Vocab vocab(id_limit);
  TRY_STATUS(for_each_number(json, where, [&](std::string_view content, int64_t id) {
    return vocab.insert(content, id, where);
  }));
  vocab.shrink_to_fit();
  return vocab;
}

class MergeLoader {
 public:
  MergeLoader(const Vocab& vocab, const std::string& where) : vocab_(vocab), where_(where) {}

  Status add(std::string_view left, std::string_view right) {
    if (left.empty() || right.empty()) {
      return fail(Code::kBadData,
                  fmt::format("merge {} (\"{}\", \"{}\") is a cycle: it makes one of its own parts",
                              number_, left, right),
                  where_);
    }
    joined_.assign(left);
    joined_ += right;
    table_.add({TRY(id_of(left)), TRY(id_of(right)), TRY(id_of(joined_))});
    ++number_;
    return {};
  }

  // The older form: both parts in one string, a blank between them.
  Status add(std::string_view line) {
    if (line.starts_with("#version")) return {};
    const size_t blank = line.find(' ');
    if (blank == std::string_view::npos || line.find(' ', blank + 1) != std::string_view::npos) {
      return fail(Code::kBadData, fmt::format("merge {} is not two tokens: \"{}\"", number_, line),
                  where_);
    }
    return add(line.substr(0, blank), line.substr(blank + 1));
  }

  MergeTable take() {
    table_.shrink_to_fit();
    return std::move(table_);
  }

 private:
  Result<TokenId> id_of(std::string_view content) const {
    const auto id = vocab_.find(content);
    if (id) return *id;
    return fail(
        Code::kBadData,
        fmt::format("merge {} needs \"{}\", which is not in the vocabulary", number_, content),
        where_);
  }

  const Vocab& vocab_;
  const std::string& where_;
  MergeTable table_;
  std::string joined_;
  size_t number_ = 0;
};

Result<BpeOptions> load_options(const JsonSections& sections, const std::string& where) {
  Json members = Json::object();
  for (const auto& [key, part] : sections) {
    if (key != "vocab" && key != "merges") members[key] = TRY(parse_part(part, where));
  }
  Fields fields = TRY(Fields::of(members, "model", where));
  const std::string type = TRY(fields.text_or("type", "BPE"));
  if (type != "BPE") return fields.unsupported(fmt::format("type {} is not supported", type));
  BpeOptions options;
  if (fields.has("unk_token")) options.unk_token = TRY(fields.text("unk_token"));
  fields.skip("unk_token");
  options.fuse_unk = TRY(fields.flag("fuse_unk", false));
  options.byte_fallback = TRY(fields.flag("byte_fallback", false));
  options.ignore_merges = TRY(fields.flag("ignore_merges", false));
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    if (!TRY(fields.text_or(key, "")).empty()) {
      return fields.unsupported(fmt::format("{} is not supported", key));
    }
  }
  if (fields.has("dropout") && *TRY(fields.value("dropout")) != 0) {
    return fields.unsupported("dropout is not supported");
  }
  fields.skip("dropout");
  TRY_STATUS(fields.done());
  return options;
}

Result<Bpe> load_model(const JsonPart& json, size_t id_limit, const std::string& where) {
  const JsonSections sections = TRY(json_sections(json, where));
  const BpeOptions options = TRY(load_options(sections, where));
  Vocab vocab = TRY(load_vocab(TRY(large_member(sections, "vocab", where)), id_limit, where));
  MergeLoader merges(vocab, where);
  const JsonPart list = TRY(large_member(sections, "merges", where));
  TRY_STATUS(
      for_each_pair(list, where, [&](std::string_view first, const std::string_view* second) {
        return second == nullptr ? merges.add(first) : merges.add(first, *second);
      }));
  return Bpe::make(std::move(vocab), merges.take(), options, where);
}

Status check_members(const JsonSections& sections, const std::string& where) {
  for (const auto& [key, part] : sections) {
    const bool cuts = key == "truncation" || key == "padding";
    if (cuts && TRY(parse_part(part, where)).is_null()) continue;
    if (cuts) {
      return fail(Code::kConfig, fmt::format("{} is not supported", key), where, "set it to null");
    }
    constexpr std::string_view kKnown[] = {"version",       "added_tokens",   "normalizer",
                                           "pre_tokenizer", "post_processor", "decoder",
                                           "model"};
    if (std::find(std::begin(kKnown), std::end(kKnown), key) == std::end(kKnown)) {
      return fail(Code::kConfig, fmt::format("\"{}\" is not known", key), where);
    }
  }
  return {};
}

}  // namespace

Result<TokenizerParts> load_tokenizer(std::string_view text, const std::string& where) {
  const PaddedJson json = TRY(PaddedJson::copy(text, where));
  const JsonSections sections = TRY(json_sections(json.whole(), where));
  TRY_STATUS(check_members(sections, where));
  const auto member = [&](const char* key) { return small_member(sections, key, where); };
  const Json added_tokens = TRY(member("added_tokens"));
  const Json normalizer = TRY(member("normalizer"));
  const Json pre_tokenizer = TRY(member("pre_tokenizer"));
  const Json post_processor = TRY(member("post_processor"));
  const Json decoder = TRY(member("decoder"));
  // An id beyond the file's length would make tables larger than anything the file can fill.
  const size_t id_limit = std::max(text.size(), kIdLimitMin);
  // One by one: a return from within braces would leak the members made so far.
  auto added = TRY(parse_added_tokens(added_tokens, where));
  auto normalizers = TRY(parse_normalizers(normalizer, where));
  auto pre_tokenizers = TRY(parse_pre_tokenizers(pre_tokenizer, where));
  auto processor = TRY(PostProcessor::parse(post_processor, where));
  auto steps = TRY(parse_decoder(decoder, where));
  auto bpe = TRY(load_model(TRY(large_member(sections, "model", where)), id_limit, where));
  return TokenizerParts{std::move(added),
                        std::move(normalizers),
                        std::move(pre_tokenizers),
                        std::move(processor),
                        std::move(steps),
                        std::move(bpe),
                        id_limit};
}

}  // namespace switchyard
