#include "storage/safetensors_writer.h"

#include <fmt/format.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "runtime/base/align.h"
#include "runtime/base/check.h"
#include "storage/output_file.h"

namespace switchyard {
namespace {

uint64_t dtype_bytes_of(const std::string& dtype) {
  if (dtype == "F32" || dtype == "I32") return 4;
  if (dtype == "F16" || dtype == "BF16") return 2;
  if (dtype == "I64") return 8;
  CHECK_THAT(false, "dtype {}", dtype);
}

struct TensorHead {
  const std::string& name;
  const std::string& dtype;
  const std::vector<uint64_t>& shape;
  uint64_t bytes() const {
    uint64_t product = dtype_bytes_of(dtype);
    for (const uint64_t dimension : shape) product *= dimension;
    return product;
  }
};

// Header length and header, padded so that the data begins at a multiple of 8.
std::string encode_header(std::span<const TensorHead> tensors) {
  nlohmann::json header = nlohmann::json::object();
  uint64_t at = 0;
  for (const TensorHead& tensor : tensors) {
    const uint64_t end = at + tensor.bytes();
    header[tensor.name] = {
        {"dtype", tensor.dtype}, {"shape", tensor.shape}, {"data_offsets", {at, end}}};
    at = end;
  }
  std::string json = header.dump();
  json.resize(round_up(json.size(), 8), ' ');
  std::string out;
  for (int i = 0; i < 8; ++i) out += static_cast<char>(json.size() >> (8 * i) & 0xff);
  return out + json;
}

std::string partial_name(const std::string& path) {
  return fmt::format("{}.{}.partial", path, ::getpid());
}

}  // namespace

Status write_safetensors(const std::string& path, std::span<const TensorOut> tensors) {
  std::vector<TensorHead> heads;
  for (const TensorOut& tensor : tensors) {
    heads.push_back({tensor.name, tensor.dtype, tensor.shape});
    CHECK_THAT(heads.back().bytes() == tensor.data.size(), "{}: {} bytes", tensor.name,
               tensor.data.size());
  }
  std::string file = encode_header(heads);
  for (const TensorOut& tensor : tensors) {
    file.append(reinterpret_cast<const char*>(tensor.data.data()), tensor.data.size());
  }
  return write_file_atomically(path, file);
}

Result<SafetensorsStream> SafetensorsStream::create(const std::string& path,
                                                    const std::string& name,
                                                    const std::string& dtype,
                                                    const std::vector<uint64_t>& shape) {
  const TensorHead head{name, dtype, shape};
  SafetensorsStream stream;
  stream.fd_ = TRY(open_output(partial_name(path), true));
  stream.path_ = path;
  stream.bytes_left_ = head.bytes();
  const std::string header = encode_header({&head, 1});
  TRY_STATUS(write_output(stream.fd_.get(), std::as_bytes(std::span(header)), path));
  return stream;
}

SafetensorsStream::~SafetensorsStream() {
  if (fd_) ::unlink(partial_name(path_).c_str());
}

std::string SafetensorsStream::partial_path() const { return partial_name(path_); }

Status SafetensorsStream::append(std::span<const std::byte> bytes) {
  CHECK_THAT(bytes.size() <= bytes_left_, "{} bytes of {}", bytes.size(), bytes_left_);
  bytes_left_ -= bytes.size();
  return write_output(fd_.get(), bytes, path_);
}

Status SafetensorsStream::finish() {
  CHECK_THAT(bytes_left_ == 0, "{} bytes missing", bytes_left_);
  TRY_STATUS(publish_output(fd_.get(), partial_name(path_), path_));
  fd_ = UniqueFd();
  return {};
}

}  // namespace switchyard
