#include "runtime/engine/rank_command.h"

#include <cstring>
#include <span>

#include "comm/collectives.h"
#include "runtime/base/byte_fields.h"
#include "runtime/base/hash.h"

namespace switchyard {
namespace {

uint64_t sum_of(std::string_view bytes) { return hash_bytes(std::as_bytes(std::span(bytes))); }

void put_part(std::string& out, const StepPart& part) {
  put(out, static_cast<uint32_t>(part.sequence));
  put(out, static_cast<uint8_t>(part.logits));
  put(out, static_cast<uint8_t>(part.prompt ? 1 : 0));
  put(out, static_cast<uint32_t>(part.tokens.size()));
  for (const TokenId token : part.tokens) put(out, static_cast<uint32_t>(token));
}

bool take_part(ByteCursor& cursor, StepPart& part) {
  part.sequence = static_cast<SequenceId>(cursor.number<uint32_t>());
  const auto logits = cursor.number<uint8_t>();
  part.logits = static_cast<LogitsWanted>(logits);
  part.prompt = cursor.number<uint8_t>() != 0;
  const auto tokens = cursor.number<uint32_t>();
  if (!cursor.ok() || logits > static_cast<uint8_t>(LogitsWanted::kBest) ||
      tokens > cursor.bytes_left() / sizeof(uint32_t)) {
    return false;
  }
  for (uint32_t i = 0; i < tokens; ++i) {
    part.tokens.push_back(static_cast<TokenId>(cursor.number<uint32_t>()));
  }
  return true;
}

void put_placement(std::string& out, const Placement& placement) {
  put(out, placement.ranks);
  put(out, static_cast<uint32_t>(placement.holders.size()));
  for (const std::vector<RankSet>& layer : placement.holders) {
    put(out, static_cast<uint32_t>(layer.size()));
    for (const RankSet holders : layer) put(out, holders);
  }
}

bool take_placement(ByteCursor& cursor, Placement& placement) {
  placement.ranks = cursor.number<uint32_t>();
  const auto layers = cursor.number<uint32_t>();
  if (!cursor.ok() || placement.ranks < 1 || placement.ranks > kRanksMax ||
      layers > cursor.bytes_left() / sizeof(uint32_t)) {
    return false;
  }
  for (uint32_t at = 0; at < layers; ++at) {
    const auto experts = cursor.number<uint32_t>();
    if (experts > cursor.bytes_left() / sizeof(RankSet)) return false;
    std::vector<RankSet>& layer = placement.holders.emplace_back(experts);
    for (RankSet& holders : layer) {
      holders = cursor.number<RankSet>();
      if (holders == 0 || holders >> (placement.ranks - 1) > 1) return false;
    }
  }
  return cursor.ok();
}

}  // namespace

std::string encode(const RankCommand& command) {
  std::string out;
  put(out, static_cast<uint8_t>(command.kind));
  put(out, static_cast<uint32_t>(command.sequence));
  put(out, command.home);
  put(out, command.number);
  put(out, static_cast<uint8_t>(command.halves ? 1 : 0));
  put(out, static_cast<uint32_t>(command.ways.size()));
  for (const ExchangeWay way : command.ways) put(out, static_cast<uint8_t>(way));
  put(out, static_cast<uint32_t>(command.plan.parts.size()));
  for (const StepPart& part : command.plan.parts) put_part(out, part);
  put_placement(out, command.placement);
  put(out, sum_of(out));
  return out;
}

Result<RankCommand> decode_command(std::string_view bytes) {
  const auto broken = [] { return fail(Code::kInternal, "an order that is none", "rank 0"); };
  uint64_t sum = 0;
  if (bytes.size() < sizeof sum) return broken();
  std::memcpy(&sum, bytes.data() + bytes.size() - sizeof sum, sizeof sum);
  bytes.remove_suffix(sizeof sum);
  if (sum != sum_of(bytes)) return broken();
  ByteCursor cursor(bytes);
  RankCommand command;
  const auto kind = cursor.number<uint8_t>();
  command.kind = static_cast<RankCommand::Kind>(kind);
  command.sequence = static_cast<SequenceId>(cursor.number<uint32_t>());
  command.home = cursor.number<uint32_t>();
  command.number = cursor.number<uint32_t>();
  command.halves = cursor.number<uint8_t>() != 0;
  const auto ways = cursor.number<uint32_t>();
  if (!cursor.ok() || kind > static_cast<uint8_t>(RankCommand::Kind::kEnd) ||
      ways > cursor.bytes_left()) {
    return broken();
  }
  for (uint32_t i = 0; i < ways; ++i) {
    command.ways.push_back(static_cast<ExchangeWay>(cursor.number<uint8_t>() & 1));
  }
  const auto parts = cursor.number<uint32_t>();
  if (parts > cursor.bytes_left()) return broken();
  for (uint32_t i = 0; i < parts; ++i) {
    if (!take_part(cursor, command.plan.parts.emplace_back())) return broken();
  }
  if (!take_placement(cursor, command.placement) || !cursor.at_end()) return broken();
  return command;
}

Status tell(World& world, const RankCommand& command) {
  TRY(broadcast_text(world, 0, encode(command), {"orders to arrive"}));
  return {};
}

Result<RankCommand> hear(World& world) {
  return decode_command(TRY(broadcast_text(world, 0, {}, {.what = "orders", .patient = true})));
}

}  // namespace switchyard
