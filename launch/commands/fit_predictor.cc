// fit-predictor: the file that --predictor linear:FILE reads, from a routing trace.

#include <fmt/format.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <ostream>

#include "experts/predictors/linear_fit.h"
#include "experts/trace_file.h"
#include "launch/commands/commands.h"
#include "launch/json_output.h"
#include "launch/options.h"
#include "runtime/base/file.h"
#include "runtime/base/units.h"

namespace switchyard {
namespace {

struct FitOptions {
  std::optional<std::string> trace, out, json;
};

std::string text_of(const std::string& out, const RoutingTrace& trace, const LinearFit& fit) {
  return fmt::format(
      "fitted to {} tokens; of the experts of the {} held out, the best {} hold {:.1f} % one layer "
      "ahead, {:.1f} % two ahead\nwrote {}: {}; use it with --predictor linear:{}\n",
      fit.tokens_fitted, fit.tokens_held_out, trace.shape.top_k, 100 * fit.recall[0].share(),
      100 * fit.recall[1].share(), out, format_size(fit.map.bytes()), out);
}

Json json_of(const std::string& out, const RoutingTrace& trace, const LinearFit& fit) {
  return {{"path", out},
          {"layers", fit.map.layers()},
          {"experts", fit.map.experts()},
          {"top_k", trace.shape.top_k},
          {"tokens", {{"fitted", fit.tokens_fitted}, {"held_out", fit.tokens_held_out}}},
          {"recall", {{"one_ahead", fit.recall[0].share()}, {"two_ahead", fit.recall[1].share()}}}};
}

Result<int> fit_predictor(const FitOptions& options, Console& console) {
  if (!options.trace || !options.out) {
    return fail(Code::kUsage, "give --trace FILE and --out OUT", {}, "see --help");
  }
  if (options.json) TRY_STATUS(check_json_target(*options.json));
  std::string warning;
  const RoutingTrace trace = TRY(read_trace(*options.trace, warning));
  if (!warning.empty()) console.err << "warning: " << warning << std::endl;
  auto fit = fit_linear_map(trace);
  if (!fit) {
    fit.error().where = *options.trace;
    return tl::unexpected(fit.error());
  }
  TRY_STATUS(write_file_atomically(*options.out, encode_linear_map(fit->map)));
  (options.json == "-" ? console.err : console.out) << text_of(*options.out, trace, *fit);
  if (options.json) {
    TRY_STATUS(write_json(*options.json, json_of(*options.out, trace, *fit), console));
  }
  return 0;
}

Command::Body prepare_fit_predictor(OptionList& list) {
  auto options = std::make_shared<FitOptions>();
  list.text("--trace", "FILE", options->trace, "a routing trace, or its CSV form");
  list.output("--out", "OUT", options->out, "the file to write");
  list.output("--json", "FILE", options->json, "the figures as JSON; -: to standard output, alone");
  return {[options](Console& console) { return fit_predictor(*options, console); }};
}

}  // namespace

Command fit_predictor_command() {
  return {"fit-predictor", "fits the predictor 'linear' to a routing trace",
          "  switchyard fit-predictor --trace run.route --out model.linear\n"
          "  switchyard run MODEL -p Hello --predictor linear:model.linear\n",
          prepare_fit_predictor};
}

}  // namespace switchyard
