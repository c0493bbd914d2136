#include "launch/model_files.h"

#include <fmt/format.h>
#include <malloc.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "runtime/base/file.h"
#include "runtime/base/json.h"
#include "storage/pack_reader.h"

namespace switchyard {
namespace {

constexpr uint64_t kTextFileBytesMax = uint64_t{256} << 20;
constexpr uint64_t kTokenizerTablesBytes = 64 << 10;  // what even a small one needs
constexpr std::string_view kTokenizerFile = "tokenizer.json";

Result<std::optional<std::string>> read_packed(const std::string& path, std::string_view name) {
  if (!looks_like_pack(path)) {
    return fail(Code::kBadData, "is neither a model's folder nor a pack", path);
  }
  const PackReader pack = TRY(PackReader::open(path));
  const PackSection* section = pack.find(name);
  if (section == nullptr) return std::nullopt;
  if (section->bytes > kTextFileBytesMax) {
    return fail(Code::kBadData, fmt::format("{} is longer than {} bytes", name, kTextFileBytesMax),
                path);
  }
  return TRY(pack.read(*section));
}

}  // namespace

Result<std::optional<std::string>> read_model_text(const std::string& path, std::string_view name) {
  std::error_code ignored;
  if (!std::filesystem::is_directory(path, ignored)) return read_packed(path, name);
  auto text = read_text_file(fmt::format("{}/{}", path, name), kTextFileBytesMax);
  if (text) return std::optional(std::move(*text));
  if (text.error().code == Code::kNoInput) return std::nullopt;
  return tl::unexpected(std::move(text).error());
}

uint64_t tokenizer_memory_bytes(uint64_t json_bytes) { return json_bytes + kTokenizerTablesBytes; }

Result<std::optional<LoadedTokenizer>> find_tokenizer(const std::string& path) {
  auto text = TRY(read_model_text(path, kTokenizerFile));
  if (!text) return std::nullopt;
  const std::string where = fmt::format("{}/{}", path, kTokenizerFile);
  LoadedTokenizer loaded{TRY(Tokenizer::parse(*text, where)), tokenizer_memory_bytes(text->size())};
  text.reset();
  ::malloc_trim(0);  // parsing took more than the tokenizer holds
  return loaded;
}

Result<LoadedTokenizer> load_tokenizer(const std::string& path) {
  auto found = TRY(find_tokenizer(path));
  if (found) return std::move(*found);
  return fail(Code::kNoInput, "has no tokenizer.json", path,
              "add the model's tokenizer.json, or give --ids instead of text");
}

Result<bool> has_chat_template(const std::string& path) {
  if (TRY(read_model_text(path, "chat_template.jinja"))) return true;
  const auto text = TRY(read_model_text(path, "tokenizer_config.json"));
  if (!text) return false;
  const Json config = TRY(parse_json(*text, path + "/tokenizer_config.json"));
  return config.is_object() && config.contains("chat_template") &&
         !config["chat_template"].is_null();
}

}  // namespace switchyard
