#pragma once

// What group says about the way from all-gather to guessed owners and replicas.

#include <string>
#include <vector>

#include "experts/dispatch_ladder.h"
#include "runtime/base/json.h"

namespace switchyard {

// A table with a line for each rung, under `title`.
std::string ladder_text(const std::string& title, const std::vector<LadderRung>& rungs);

// [{rung, copies, copies_random_owner, …}]
Json ladder_json(const std::vector<LadderRung>& rungs);

}  // namespace switchyard
