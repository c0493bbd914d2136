#pragma once

// From MODEL as it is typed to a folder or file. Never touches the network.

#include <optional>
#include <string>
#include <string_view>

#include "runtime/base/result.h"

namespace switchyard {

// The variables that say where Hugging Face keeps its downloads.
struct HubEnvironment {
  std::optional<std::string> hf_hub_cache;
  std::optional<std::string> hf_home;
  std::optional<std::string> xdg_cache_home;
  std::optional<std::string> home;

  static HubEnvironment of_process();
  // The folder of models--ORG--NAME folders; nothing when no variable tells.
  std::optional<std::string> hub_folder() const;
};

// ORG/NAME[@REV].
struct HubName {
  std::string organisation;
  std::string name;
  std::string revision;  // "main" when not given
};

// Nothing when `text` is no such name; parts that would leave the cache are none.
std::optional<HubName> parse_hub_name(std::string_view text);

// An existing path is itself; else a name in the cache. kNoInput says where was looked and which
// revisions there are, kUsage for an ambiguous revision, kConfig for a GGUF, kPermission.
Result<std::string> resolve_model(const std::string& model, const HubEnvironment& environment);

}  // namespace switchyard
