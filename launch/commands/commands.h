#pragma once

#include "launch/cli.h"

namespace switchyard {

Command run_command();
Command eval_command();
Command tokenize_command();
Command detokenize_command();
Command inspect_command();
Command pack_command();
Command plan_command();
Command doctor_command();
Command bench_command();
Command simulate_command();
Command trace_command();
Command fit_predictor_command();
Command group_command();

}  // namespace switchyard
