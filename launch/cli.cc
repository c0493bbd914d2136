#include "launch/cli.h"

#include <fmt/format.h>

#include <array>
#include <exception>
#include <new>
#include <ostream>
#include <span>

#include "comm/collectives.h"
#include "comm/world.h"
#include "launch/commands/commands.h"
#include "launch/options.h"
#include "launch/version.h"

namespace switchyard {
namespace {

std::string help_page() {
  std::string page =
      "Mixture-of-experts inference for the memory you have.\n\n"
      "Usage: switchyard COMMAND [OPTIONS]\n\n"
      "MODEL is a Hugging Face folder, ORG/NAME[@REV] in the local HF cache, or a pack.\n\n"
      "Commands:\n";
  for (const Command& command : all_commands()) {
    page += fmt::format("  {:<15}{}\n", command.name, command.help);
  }
  page +=
      "\nswitchyard COMMAND --help tells more; switchyard --version what was built in.\n\n"
      "Examples:\n";
  for (const Command& command : all_commands()) {
    page += command.examples.substr(0, command.examples.find('\n') + 1);
  }
  return page;
}

// Rank 0 speaks for all, unless it is lost itself, as this rank or another one noticed.
bool speaks(const Error& error, const Console& console) {
  if (console.world == nullptr || console.world->rank() == 0) return true;
  return console.world->rank() == 1 && error.code == Code::kUnavailable &&
         error.where.ends_with("rank 0");
}

Result<int> run_command_line(const Command& command, const std::vector<std::string>& arguments,
                             Console& console) {
  OptionList options(command.name, command.help, command.examples);
  const Command::Body body = command.prepare(options);
  if (const auto help = TRY(options.parse(arguments))) {
    console.out << *help;
    return 0;
  }
  const bool leads = console.world == nullptr || console.world->rank() == 0;
  if (!leads && !body.serve) return 0;
  int code = TRY(leads ? body.run(console) : body.serve(console));
  // Rank 0 may still fail when the others' part is done, and all ranks end alike.
  if (console.world != nullptr && body.serve) {
    const std::span bytes = std::as_writable_bytes(std::span(&code, 1));
    TRY_STATUS(broadcast(*console.world, 0, bytes, {.what = "the end", .patient = true}));
  }
  return code;
}

Result<int> run_arguments(const std::vector<std::string>& arguments, Console& console) {
  const std::string seek_help = "see switchyard --help";
  if (arguments.empty()) return fail(Code::kUsage, "no command", {}, seek_help);
  const std::string& first = arguments.front();
  if (first == "--help" || first == "-h") {
    console.out << help_page();
    return 0;
  }
  if (first == "--version") {
    console.out << version_text();
    return 0;
  }
  for (const Command& command : all_commands()) {
    if (command.name == first) {
      return run_command_line(command, {arguments.begin() + 1, arguments.end()}, console);
    }
  }
  return fail(Code::kUsage, fmt::format("no command is named '{}'", first), {}, seek_help);
}

}  // namespace

std::span<const Command> all_commands() {
  static const std::array kCommands = {
      run_command(),     eval_command(),  tokenize_command(), detokenize_command(),
      inspect_command(), plan_command(),  pack_command(),     doctor_command(),
      bench_command(),   trace_command(), simulate_command(), fit_predictor_command(),
      group_command(),
  };
  return kCommands;
}

int report_error(const Error& error, Console& console) {
  if (console.world != nullptr) console.world->leave(error);
  if (speaks(error, console)) console.err << "switchyard: " << to_line(error) << std::endl;
  return static_cast<int>(error.code);
}

int run_cli(const std::vector<std::string>& arguments, Console& console) {
  int code = 0;
  try {
    const Result<int> done = run_arguments(arguments, console);
    code = done ? *done : report_error(done.error(), console);
  } catch (const std::bad_alloc&) {
    code = report_error({Code::kNoMemory, "the system gives no more memory", {}, {}}, console);
  } catch (const std::exception& error) {
    code = report_error({Code::kInternal, error.what(), {}, {}}, console);
  }
  console.out.flush();
  if (code == 0 && !console.out) {
    code = report_error({Code::kIo, "cannot write", "standard output", {}}, console);
  }
  return code;
}

}  // namespace switchyard
