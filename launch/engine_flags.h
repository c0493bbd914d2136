#pragma once

// The options of every command that computes.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "launch/console.h"
#include "launch/team_flags.h"
#include "runtime/base/result.h"
#include "runtime/engine/engine.h"

namespace switchyard {

class OptionList;
class World;

struct EngineFlags {
  std::optional<uint32_t> threads;
  std::optional<uint64_t> memory;
  std::optional<std::string> expert_memory;  // SIZE or P%
  std::optional<std::string> isa;
  std::optional<std::string> policy;
  std::optional<std::string> predictor;
  bool no_prefetch = false;
  bool buffered = false;
  std::optional<std::string> stage;
  std::optional<std::string> faults;
  std::optional<std::string> drive;
  std::optional<std::string> device;
  std::optional<std::string> order;
  std::optional<uint32_t> chunk;
  TeamFlags team;

  void add_to(OptionList& options);
};

inline constexpr int64_t kTokensDefault = 128;      // of -n
inline constexpr uint32_t kOpenEndedTokens = 4096;  // room for -n -1 when --context is not given

// Positions that prompt and generated tokens need, of `limit`; `tokens` < 0: open-ended.
uint32_t default_context(uint64_t prompt, int64_t tokens, uint32_t limit);

// The options they stand for, with `context` positions beside `other_bytes` that the command itself
// holds; what is not given comes from the machine. `world`: of the job whose rank this process is;
// null: it is alone, or all of --ranks. kUsage; kNoMemory when --memory is missing and the machine
// does not tell.
Result<EngineOptions> engine_options(const EngineFlags& flags, const ModelSource& source,
                                     uint32_t context, uint64_t other_bytes,
                                     World* world = nullptr);

// The model at `path` in the order that --order gives its experts.
Result<std::unique_ptr<ModelSource>> open_model(const EngineFlags& flags, const std::string& path,
                                                const GivenTexts& given = {});

// kUsage when --context is past what the model was made for.
Status check_context(const std::optional<uint32_t>& context, const ModelSource& source);

// One line on standard error, control characters escaped: it may quote a file.
void print_warning(const std::string& text, Console& console);

// Computes `ids` as the next tokens of `sequence`, as many a step as fit. `wanted` rows of logits
// go to `sink`: kLast means the very last. Stops early, without an error, when `stop` or the
// engine's own says so.
Status feed_tokens(Engine& engine, SequenceId sequence, std::span<const TokenId> ids,
                   LogitsWanted wanted, const Engine::LogitsSink& sink,
                   const std::function<bool(size_t fed)>& stop);

}  // namespace switchyard
