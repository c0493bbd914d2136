#include "experts/expert_order.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <numeric>

#include "runtime/base/json.h"

namespace switchyard {
namespace {

tl::unexpected<Error> bad_order(const std::string& what, const std::string& where) {
  return fail(Code::kBadData, what, where, "make it anew with switchyard group");
}

Result<std::vector<uint16_t>> parse_layer(const Json& list, uint32_t experts,
                                          const std::string& where) {
  std::vector<uint16_t> order;
  std::vector<bool> seen(experts);
  for (const Json& item : list) {
    const bool number = item.is_number_unsigned() && item.get<uint64_t>() < experts;
    if (!number || seen[item.get<uint16_t>()]) break;
    order.push_back(item.get<uint16_t>());
    seen[order.back()] = true;
  }
  if (order.size() == experts && list.size() == experts) return order;
  return bad_order(fmt::format("its expert order is no permutation of {} experts", experts), where);
}

}  // namespace

ExpertOrder plain_order(size_t layers, uint32_t experts) {
  std::vector<uint16_t> layer(experts);
  std::iota(layer.begin(), layer.end(), uint16_t{0});
  return ExpertOrder(layers, layer);
}

std::string encode_order(const ExpertOrder& order) { return nlohmann::json(order).dump(); }

Result<ExpertOrder> parse_order(std::string_view text, size_t layers, uint32_t experts,
                                const std::string& where) {
  const Json json = TRY(parse_json(text, where));
  if (!json.is_array() || json.empty()) return bad_order("is no expert order", where);
  if (!json.front().is_array()) {
    return ExpertOrder(layers, TRY(parse_layer(json, experts, where)));
  }
  if (json.size() != layers) {
    return bad_order(fmt::format("is an expert order of {} layers, the model has {} with routers",
                                 json.size(), layers),
                     where);
  }
  ExpertOrder order;
  for (const Json& layer : json) {
    if (!layer.is_array()) return bad_order("is no expert order", where);
    order.push_back(TRY(parse_layer(layer, experts, where)));
  }
  return order;
}

}  // namespace switchyard
