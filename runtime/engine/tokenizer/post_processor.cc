#include "runtime/engine/tokenizer/post_processor.h"

#include <fmt/core.h>

#include <nlohmann/json.hpp>

#include "runtime/engine/tokenizer/fields.h"

namespace switchyard {
namespace {

// The ids that a template's "special_tokens" gives for `name`.
Result<std::vector<TokenId>> special_ids(const Json& special_tokens, const std::string& name,
                                         const std::string& where) {
  const auto found = special_tokens.find(name);
  if (found == special_tokens.end()) {
    return fail(Code::kBadData, fmt::format("post_processor: no special token \"{}\"", name),
                where);
  }
  Fields fields = TRY(Fields::of(*found, "post_processor", where));
  std::vector<TokenId> ids;
  for (const Json& id : *TRY(fields.list("ids"))) {
    if (!id.is_number_unsigned() || id.get<uint64_t>() > INT32_MAX) {
      return fields.bad(fmt::format("special token \"{}\" has an id that is none", name));
    }
    ids.push_back(id.get<TokenId>());
  }
  return ids;
}

}  // namespace

Result<PostProcessor> PostProcessor::parse(const Json& spec, const std::string& where) {
  PostProcessor processor;
  if (!spec.is_null()) TRY_STATUS(processor.append(spec, where));
  return processor;
}

Status PostProcessor::append(const Json& spec, const std::string& where) {
  Fields fields = TRY(Fields::of(spec, "post_processor", where));
  const std::string type = TRY(fields.text("type"));
  if (type == "ByteLevel") return {};  // concerns offsets only
  if (type == "Sequence") {
    for (const Json& step : *TRY(fields.list("processors"))) TRY_STATUS(append(step, where));
    return fields.done();
  }
  if (type != "TemplateProcessing") {
    return fields.unsupported(fmt::format("type {} is not supported", type));
  }
  const Json& special_tokens = *TRY(fields.value("special_tokens"));
  fields.skip("pair");  // two texts are never encoded as one
  Around around;
  int texts = 0;
  for (const Json& part : *TRY(fields.list("single"))) {
    Fields one = TRY(Fields::of(part, "post_processor", where));
    const bool is_text = one.has("Sequence");
    const Json& content = *TRY(one.value(is_text ? "Sequence" : "SpecialToken"));
    Fields inner = TRY(Fields::of(content, "post_processor", where));
    const std::string id = TRY(inner.text("id"));
    if (is_text) {
      if (id != "A") return fields.unsupported("the template for one text wants another");
      ++texts;
      continue;
    }
    std::vector<TokenId>& side = texts == 0 ? around.before : around.after;
    for (const TokenId token : TRY(special_ids(special_tokens, id, where))) side.push_back(token);
  }
  if (texts != 1) return fields.unsupported("the template does not hold the text once");
  steps_.push_back(std::move(around));
  return fields.done();
}

std::vector<TokenId> PostProcessor::apply(std::vector<TokenId> ids) const {
  for (const Around& around : steps_) {
    ids.insert(ids.begin(), around.before.begin(), around.before.end());
    ids.insert(ids.end(), around.after.begin(), around.after.end());
  }
  return ids;
}

std::vector<TokenId> PostProcessor::added() const { return apply({}); }

}  // namespace switchyard
