#pragma once

// The options of one command: a thin cover over CLI11, so that only one unit includes it. Values
// are parsed by launch/parse.h; what is wrong with one is reported with the option's name.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "runtime/base/result.h"

namespace CLI {
class App;
}

namespace switchyard {

// Every value given here must live until parse() is over. Names are spelled as on the command line:
// "-s,--seed".
class OptionList {
 public:
  // `command` and `help` head the help page, `examples` close it.
  OptionList(const std::string& command, const std::string& help, const std::string& examples);
  ~OptionList();

  void positional(const std::string& name, std::string& value, const std::string& help);
  void optional_positional(const std::string& name, std::string& value, const std::string& help);
  void flag(const std::string& names, bool& value, const std::string& help);
  void text(const std::string& names, const std::string& type, std::optional<std::string>& value,
            const std::string& help);
  // A file to write, or "-". Two of one name are refused.
  void output(const std::string& names, const std::string& type, std::optional<std::string>& value,
              const std::string& help);
  // May be given more than once.
  void texts(const std::string& names, const std::string& type, std::vector<std::string>& values,
             const std::string& help);
  void integer(const std::string& names, std::optional<int64_t>& value, int64_t min, int64_t max,
               const std::string& help);
  void count(const std::string& names, std::optional<uint32_t>& value, uint32_t min, uint32_t max,
             const std::string& help);
  void seed(const std::string& names, std::optional<uint64_t>& value, const std::string& help);
  void number(const std::string& names, std::optional<float>& value, double min, double max,
              const std::string& help);
  void size(const std::string& names, std::optional<uint64_t>& value, const std::string& help);

  // The help page when it was asked for, else nothing and all values are set. kUsage.
  Result<std::optional<std::string>> parse(const std::vector<std::string>& arguments);

 private:
  template <class Parse>
  void converted(const std::string& names, const std::string& type, const std::string& help,
                 Parse parse);

  Status check_outputs() const;

  struct Output {
    std::string name;
    const std::optional<std::string>& value;
  };
  std::string command_;
  std::unique_ptr<CLI::App> app_;
  std::vector<Output> outputs_;
};

}  // namespace switchyard
