#include "tests/e2e/child.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdlib>
#include <sstream>
#include <stdexcept>

#include "runtime/base/file.h"

namespace switchyard {
namespace {

constexpr auto kPatience = std::chrono::seconds(100);
constexpr uid_t kNobody = 65534;
constexpr std::string_view kErrorPrefix = "switchyard: ";

struct Pipe {
  UniqueFd read, write;
  Pipe() {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) throw std::runtime_error("pipe2");
    read = UniqueFd(ends[0]);
    write = UniqueFd(ends[1]);
  }
};

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> list;
  for (std::string& text : texts) list.push_back(text.data());
  list.push_back(nullptr);
  return list;
}

std::vector<std::string> environment_of(const ChildOptions& options) {
  std::map<std::string, std::string> variables = options.environment;
  for (const char* name : {"PATH", "HOME", "ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS"}) {
    if (const char* value = std::getenv(name)) variables.emplace(name, value);
  }
  std::vector<std::string> texts;
  for (const auto& [name, value] : variables) texts.push_back(name + "=" + value);
  return texts;
}

// After fork: nothing but system calls.
[[noreturn]] void become_switchyard(const ChildOptions& options, int program, char* const* argv,
                                    char* const* envp, const Pipe& in, const Pipe& out,
                                    const Pipe& err) {
  ::dup2(in.read.get(), STDIN_FILENO);
  ::dup2(out.write.get(), STDOUT_FILENO);
  ::dup2(err.write.get(), STDERR_FILENO);
  if (options.file_bytes_max > 0) {
    const struct rlimit limit { options.file_bytes_max, options.file_bytes_max };
    ::setrlimit(RLIMIT_FSIZE, &limit);
    ::signal(SIGXFSZ, SIG_IGN);
  }
  if (options.as_nobody && ::geteuid() == 0 && ::setuid(kNobody) != 0) ::_exit(126);
  ::fexecve(program, argv, envp);
  ::_exit(127);
}

struct Stream {
  int fd;
  std::string* text;
  bool open = true;
};

// One read; the stream is closed at its end.
void take(Stream& stream) {
  std::array<char, 65536> buffer{};
  const ssize_t got = ::read(stream.fd, buffer.data(), buffer.size());
  if (got > 0) {
    stream.text->append(buffer.data(), static_cast<size_t>(got));
  } else {
    stream.open = false;
  }
}

void converse(int process, const ChildOptions& options, Pipe& in, Stream out, Stream err) {
  const auto end = std::chrono::steady_clock::now() + kPatience;
  size_t written = 0;
  bool told = false;
  bool warned = false;
  ::fcntl(in.write.get(), F_SETFL, O_NONBLOCK);
  while (out.open || err.open) {
    if (written == options.input.size()) in.write = UniqueFd();
    std::array<pollfd, 3> polled = {{{out.open ? out.fd : -1, POLLIN, 0},
                                     {err.open ? err.fd : -1, POLLIN, 0},
                                     {in.write.get(), POLLOUT, 0}}};
    ::poll(polled.data(), polled.size(), 200);
    if (polled[0].revents != 0) take(out);
    if (polled[1].revents != 0) take(err);
    if (polled[2].revents != 0) {
      const ssize_t put =
          ::write(in.write.get(), options.input.data() + written, options.input.size() - written);
      written = put >= 0 ? written + static_cast<size_t>(put) : options.input.size();
    }
    if (!told && !out.text->empty() && options.on_first_output) {
      told = true;
      options.on_first_output(process);
    }
    if (!warned && !err.text->empty() && options.on_first_message) {
      warned = true;
      options.on_first_message(process);
    }
    if (std::chrono::steady_clock::now() > end) {
      ::kill(process, SIGKILL);
      return;
    }
  }
}

}  // namespace

std::vector<std::string> ChildResult::error_lines() const {
  std::vector<std::string> lines;
  std::istringstream stream(err);
  for (std::string line; std::getline(stream, line);) {
    if (line.starts_with(kErrorPrefix)) lines.push_back(line);
  }
  return lines;
}

ChildResult run_switchyard(const std::vector<std::string>& arguments, const ChildOptions& options) {
  ::signal(SIGPIPE, SIG_IGN);
  std::vector<std::string> argument_texts = {"switchyard"};
  argument_texts.insert(argument_texts.end(), arguments.begin(), arguments.end());
  std::vector<std::string> environment_texts = environment_of(options);
  const std::vector<char*> argv = pointers(argument_texts), envp = pointers(environment_texts);
  const UniqueFd program(::open(SWITCHYARD_BINARY, O_RDONLY | O_CLOEXEC));
  if (!program) throw std::runtime_error("no " SWITCHYARD_BINARY);

  ChildResult result;
  Pipe in, out, err;
  const pid_t process = ::fork();
  if (process < 0) throw std::runtime_error("fork");
  if (process == 0) {
    become_switchyard(options, program.get(), argv.data(), envp.data(), in, out, err);
  }
  for (UniqueFd* end : {&in.read, &out.write, &err.write}) *end = UniqueFd();
  converse(process, options, in, {out.read.get(), &result.out}, {err.read.get(), &result.err});

  int status = 0;
  struct rusage usage {};
  if (::wait4(process, &status, 0, &usage) != process) throw std::runtime_error("wait4");
  result.killed = WIFSIGNALED(status);
  result.exit_code = result.killed ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  result.peak_rss_bytes = static_cast<uint64_t>(usage.ru_maxrss) * 1024;
  return result;
}

void expect_refused(const ChildResult& child, int code, const std::vector<std::string>& needles) {
  EXPECT_FALSE(child.killed) << child.err;
  EXPECT_EQ(child.exit_code, code) << child.err;
  const std::vector<std::string> lines = child.error_lines();
  ASSERT_EQ(lines.size(), 1U) << child.err;
  EXPECT_TRUE(child.err.ends_with(lines[0] + "\n")) << child.err;
  for (const std::string& needle : needles) EXPECT_THAT(lines[0], testing::HasSubstr(needle));
}

void expect_done(const ChildResult& child) {
  EXPECT_EQ(child.exit_code, 0) << child.err;
  EXPECT_THAT(child.error_lines(), testing::IsEmpty());
}

}  // namespace switchyard
