#include "launch/options.h"

#include <fmt/format.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <algorithm>

#include "launch/parse.h"
#include "runtime/base/units.h"

namespace switchyard {

OptionList::OptionList(const std::string& command, const std::string& help,
                       const std::string& examples)
    : command_(command), app_(std::make_unique<CLI::App>(help, "switchyard " + command)) {
  app_->footer("Examples:\n" + examples);
  app_->get_formatter()->column_width(34);
}

OptionList::~OptionList() = default;

void OptionList::positional(const std::string& name, std::string& value, const std::string& help) {
  app_->add_option(name, value, help)->required()->type_name("");
}

void OptionList::optional_positional(const std::string& name, std::string& value,
                                     const std::string& help) {
  app_->add_option(name, value, help)->type_name("");
}

void OptionList::flag(const std::string& names, bool& value, const std::string& help) {
  app_->add_flag(names, value, help)->disable_flag_override();
}

void OptionList::text(const std::string& names, const std::string& type,
                      std::optional<std::string>& value, const std::string& help) {
  app_->add_option_function<std::string>(
          names, [&value](const std::string& text) { value = text; }, help)
      ->type_name(type);
}

void OptionList::output(const std::string& names, const std::string& type,
                        std::optional<std::string>& value, const std::string& help) {
  text(names, type, value, help);
  outputs_.push_back({names, value});
}

void OptionList::texts(const std::string& names, const std::string& type,
                       std::vector<std::string>& values, const std::string& help) {
  app_->add_option(names, values, help)->type_name(type)->allow_extra_args(false);
}

template <class Parse>
void OptionList::converted(const std::string& names, const std::string& type,
                           const std::string& help, Parse parse) {
  const std::string name = names.substr(names.rfind(',') + 1);
  app_->add_option_function<std::string>(
          names,
          [name, parse](const std::string& text) {
            if (const Status parsed = parse(text); !parsed) {
              throw CLI::ValidationError(name, to_line(parsed.error()));
            }
          },
          help)
      ->type_name(type);
}

void OptionList::integer(const std::string& names, std::optional<int64_t>& value, int64_t min,
                         int64_t max, const std::string& help) {
  converted(names, "N", help, [&value, min, max](const std::string& text) -> Status {
    value = TRY(parse_integer(text, min, max));
    return {};
  });
}

void OptionList::count(const std::string& names, std::optional<uint32_t>& value, uint32_t min,
                       uint32_t max, const std::string& help) {
  converted(names, "N", help, [&value, min, max](const std::string& text) -> Status {
    value = static_cast<uint32_t>(TRY(parse_integer(text, min, max)));
    return {};
  });
}

void OptionList::seed(const std::string& names, std::optional<uint64_t>& value,
                      const std::string& help) {
  converted(names, "N", help, [&value](const std::string& text) -> Status {
    value = TRY(parse_seed(text));
    return {};
  });
}

void OptionList::number(const std::string& names, std::optional<float>& value, double min,
                        double max, const std::string& help) {
  converted(names, "X", help, [&value, min, max](const std::string& text) -> Status {
    value = static_cast<float>(TRY(parse_number(text, min, max)));
    return {};
  });
}

void OptionList::size(const std::string& names, std::optional<uint64_t>& value,
                      const std::string& help) {
  converted(names, "SIZE", help, [&value](const std::string& text) -> Status {
    value = TRY(parse_size(text));
    return {};
  });
}

Status OptionList::check_outputs() const {
  for (size_t i = 0; i < outputs_.size(); ++i) {
    const auto& [name, value] = outputs_[i];
    if (!value || *value == "-") continue;
    for (size_t other = 0; other < i; ++other) {
      if (outputs_[other].value != value) continue;
      return fail(Code::kUsage,
                  fmt::format("{} and {} name the same file", outputs_[other].name, name), *value);
    }
  }
  return {};
}

Result<std::optional<std::string>> OptionList::parse(const std::vector<std::string>& arguments) {
  // CLI11 takes its arguments from the back.
  std::vector<std::string> reversed(arguments.rbegin(), arguments.rend());
  try {
    app_->parse(std::move(reversed));
  } catch (const CLI::CallForHelp&) {
    return app_->help();
  } catch (const CLI::ParseError& error) {
    return fail(Code::kUsage, error.what(), {}, fmt::format("see switchyard {} --help", command_));
  }
  TRY_STATUS(check_outputs());
  return std::nullopt;
}

}  // namespace switchyard
