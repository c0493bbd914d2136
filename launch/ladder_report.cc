#include "launch/ladder_report.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

namespace switchyard {

std::string ladder_text(const std::string& title, const std::vector<LadderRung>& rungs) {
  std::string text = fmt::format("\n{}\n{:>16}{:>10}{:>14}{:>14}{:>12}{:>12}\n", title, "step",
                                 "copies", "random owner", "best owner", "of a layer", "of all");
  for (const LadderRung& rung : rungs) {
    text +=
        fmt::format("{:>16}{:>10.3f}{:>14.3f}{:>14.3f}{:>12.2f}{:>12.2f}\n", rung.name, rung.copies,
                    rung.random_owner, rung.best_owner, rung.busiest_of_layer, rung.busiest_of_all);
  }
  return text;
}

Json ladder_json(const std::vector<LadderRung>& rungs) {
  Json list = Json::array();
  for (const LadderRung& rung : rungs) {
    list.push_back({{"step", rung.name},
                    {"copies", rung.copies},
                    {"copies_random_owner", rung.random_owner},
                    {"copies_best_owner", rung.best_owner},
                    {"imbalance_of_a_layer", rung.busiest_of_layer},
                    {"imbalance_of_all_layers", rung.busiest_of_all}});
  }
  return list;
}

}  // namespace switchyard
