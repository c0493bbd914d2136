// tokenize and detokenize: need no more of a model than its tokenizer.json.

#include <fmt/format.h>

#include <istream>
#include <memory>
#include <nlohmann/json.hpp>
#include <ostream>

#include "launch/commands/commands.h"
#include "launch/json_output.h"
#include "launch/model_files.h"
#include "launch/model_path.h"
#include "launch/options.h"
#include "launch/parse.h"
#include "launch/prompt.h"

namespace switchyard {
namespace {

struct TokenizeOptions {
  std::string model;
  TextOptions text;
  std::optional<std::string> ids;
  bool jsonl = false;
  bool no_special = false;
  bool skip_special = false;
};

Result<Tokenizer> tokenizer_of(const std::string& model) {
  return TRY(load_tokenizer(TRY(resolve_model(model, HubEnvironment::of_process())))).tokenizer;
}

// Every line of standard input becomes one line of output, at once. What a line of JSON becomes is
// `convert`'s; its errors get the line's number.
template <class Convert>
Status convert_lines(Console& console, Convert convert) {
  std::string line;
  for (uint64_t number = 1; std::getline(console.in, line); ++number) {
    const std::string where = fmt::format("standard input, line {}", number);
    const Json value = TRY(parse_json(line, where));
    Result<Json> converted = convert(value);
    if (!converted) {
      return fail(Code::kBadData, converted.error().what, where, converted.error().hint);
    }
    console.out << json_line(*converted) << std::endl;
    if (!console.out) return fail(Code::kIo, "cannot write", "standard output");
  }
  return {};
}

Status check_sources(int given, bool jsonl, const std::string& names) {
  if (jsonl && given > 0) {
    return fail(Code::kUsage, fmt::format("--jsonl reads standard input; it excludes {}", names));
  }
  if (!jsonl && given != 1) {
    return fail(Code::kUsage, fmt::format("give one of {} or --jsonl", names));
  }
  return {};
}

Result<Json> encode_value(const Tokenizer& tokenizer, const Json& value,
                          const EncodeOptions& encode) {
  if (!value.is_string()) return fail(Code::kBadData, "is not a JSON string");
  return Json(TRY(tokenizer.encode(value.get_ref<const std::string&>(), encode)));
}

Result<std::vector<TokenId>> ids_of(const Json& value) {
  if (!value.is_array()) return fail(Code::kBadData, "is not a JSON list of ids");
  std::vector<TokenId> ids;
  ids.reserve(value.size());
  for (const Json& item : value) {
    if (!item.is_number_integer() || item < 0 || item > INT32_MAX) {
      return fail(Code::kBadData, fmt::format("entry {} is not a token id", ids.size()));
    }
    ids.push_back(item.get<TokenId>());
  }
  return ids;
}

Result<int> tokenize(const TokenizeOptions& options, Console& console) {
  TRY_STATUS(check_sources(options.text.given(), options.jsonl, "-p, -f"));
  const Tokenizer tokenizer = TRY(tokenizer_of(options.model));
  const EncodeOptions encode{.add_special = !options.no_special};
  if (options.jsonl) {
    TRY_STATUS(convert_lines(
        console, [&](const Json& value) { return encode_value(tokenizer, value, encode); }));
    return 0;
  }
  const std::string text = TRY(read_text(options.text, console));
  console.out << json_line(Json(TRY(tokenizer.encode(text, encode)))) << '\n';
  return 0;
}

Result<std::vector<TokenId>> read_ids(const TokenizeOptions& options, Console& console) {
  if (options.ids) return parse_ids(*options.ids);
  Result<std::vector<TokenId>> ids = parse_ids(TRY(read_text(options.text, console)));
  if (!ids && options.text.file) {
    return fail(Code::kBadData, ids.error().what, *options.text.file);
  }
  return ids;
}

Result<int> detokenize(const TokenizeOptions& options, Console& console) {
  const int given = options.text.given() + (options.ids ? 1 : 0);
  TRY_STATUS(check_sources(given, options.jsonl, "--ids, -p, -f"));
  const Tokenizer tokenizer = TRY(tokenizer_of(options.model));
  const DecodeOptions decode{.skip_special = options.skip_special};
  if (options.jsonl) {
    TRY_STATUS(convert_lines(console, [&](const Json& value) -> Result<Json> {
      return Json(TRY(tokenizer.decode(TRY(ids_of(value)), decode)));
    }));
    return 0;
  }
  const std::vector<TokenId> ids = TRY(read_ids(options, console));
  if (options.ids) TRY_STATUS(check_ids(ids, tokenizer.vocab_size()));
  console.out << TRY(tokenizer.decode(ids, decode));
  if (console.out_is_terminal) console.out << '\n';
  return 0;
}

constexpr const char* kModelHelp = "a folder, ORG/NAME[@REV] in the HF cache, or a pack";

Command::Body prepare_tokenize(OptionList& list) {
  auto options = std::make_shared<TokenizeOptions>();
  list.positional("MODEL", options->model, kModelHelp);
  options->text.add_to(list, "text to tokenize");
  list.flag("--jsonl", options->jsonl,
            "standard input holds a JSON string a line; a list of ids a line comes out");
  list.flag("--no-special", options->no_special, "add no special tokens");
  return {[options](Console& console) { return tokenize(*options, console); }};
}

Command::Body prepare_detokenize(OptionList& list) {
  auto options = std::make_shared<TokenizeOptions>();
  list.positional("MODEL", options->model, kModelHelp);
  list.text("--ids", "LIST", options->ids, "ids, as 1,2,3");
  options->text.add_to(list, "ids, as tokenize writes them or as 1,2,3");
  list.flag("--jsonl", options->jsonl,
            "standard input holds a JSON list of ids a line; a string a line comes out");
  list.flag("--skip-special", options->skip_special, "leave special tokens out of the text");
  return {[options](Console& console) { return detokenize(*options, console); }};
}

}  // namespace

Command tokenize_command() {
  return {"tokenize", "text to token ids, as a JSON list",
          "  switchyard tokenize MODEL -p \"Call me Ishmael.\"\n"
          "  switchyard tokenize MODEL -f book.txt --no-special\n"
          "  switchyard tokenize MODEL --jsonl < strings.jsonl\n",
          prepare_tokenize};
}

Command detokenize_command() {
  return {"detokenize", "token ids to text",
          "  switchyard detokenize MODEL --ids 46,97,108\n"
          "  switchyard tokenize MODEL -f book.txt | switchyard detokenize MODEL -f -\n"
          "  switchyard detokenize MODEL --jsonl --skip-special < ids.jsonl\n",
          prepare_detokenize};
}

}  // namespace switchyard
