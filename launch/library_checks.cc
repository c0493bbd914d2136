#include <dlfcn.h>
#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <sstream>

#include "launch/checks.h"

namespace switchyard {
namespace {

// A shared library for as long as this lives.
class Library {
 public:
  explicit Library(const char* name) : handle_(::dlopen(name, RTLD_LAZY | RTLD_LOCAL)) {}
  ~Library() {
    if (handle_ != nullptr) ::dlclose(handle_);
  }
  Library(const Library&) = delete;
  explicit operator bool() const { return handle_ != nullptr; }

  template <class Function>
  Function* find(const char* symbol) const {
    return reinterpret_cast<Function*>(::dlsym(handle_, symbol));
  }

 private:
  void* handle_;
};

std::string find_program(const char* name) {
  const char* path = std::getenv("PATH");
  std::istringstream folders(path != nullptr ? path : "");
  for (std::string folder; std::getline(folders, folder, ':');) {
    std::string candidate = folder + "/" + name;
    if (!folder.empty() && ::access(candidate.c_str(), X_OK) == 0) return candidate;
  }
  return {};
}

std::string find_mpi_library() {
  // Open MPI 4 and 5; MPICH; whatever a development package links.
  for (const char* name : std::array{"libmpi.so.40", "libmpi.so.80", "libmpi.so.12", "libmpi.so"}) {
    if (Library(name)) return name;
  }
  return {};
}

}  // namespace

Check check_mpi() {
  const std::string program = find_program("mpirun");
  const std::string library = find_mpi_library();
  Check check{"MPI", CheckState::kOk, "", ""};
  check.value = fmt::format("{}, {}", program.empty() ? "no mpirun" : program,
                            library.empty() ? "no libmpi" : library);
  if (program.empty() || library.empty()) {
    check.state = CheckState::kMissing;
    check.mend = "only jobs of several ranks need it: apt-get install openmpi-bin libopenmpi-dev";
  }
  return check;
}

Check check_cuda() {
  Check check{"CUDA", CheckState::kMissing, "no libcuda.so.1",
              "only GPUs need it: install NVIDIA's driver"};
  const Library library("libcuda.so.1");
  if (!library) return check;
  const auto initialise = library.find<int(unsigned)>("cuInit");
  const auto count_devices = library.find<int(int*)>("cuDeviceGetCount");
  if (initialise == nullptr || count_devices == nullptr) {
    check.value = "libcuda.so.1 lacks cuInit";
    return check;
  }
  int devices = 0;
  int error = initialise(0);
  if (error == 0) error = count_devices(&devices);
  check.value = fmt::format("{} device{}", devices, devices == 1 ? "" : "s");
  if (error != 0 || devices == 0) {
    check.value += error != 0 ? fmt::format(" (error {})", error) : "";
    check.mend = "look at nvidia-smi; in a container the devices must be passed in";
    return check;
  }
#ifdef SWITCHYARD_CUDA
  check.state = CheckState::kOk;
  check.mend = "--device cuda: its memory and copies work, experts are not computed there yet";
#else
  check.state = CheckState::kLimited;
  check.value += "; this build has no CUDA";
  check.mend = "build it where the CUDA toolkit is installed";
#endif
  return check;
}

}  // namespace switchyard
