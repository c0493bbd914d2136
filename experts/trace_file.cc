#include "experts/trace_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <limits>
#include <span>

#include "experts/trace_csv.h"
#include "experts/trace_format.h"
#include "storage/output_file.h"

namespace switchyard {
namespace {

constexpr uint64_t kFileBytesMax = uint64_t{1} << 32;

std::string describe(const TraceShape& shape) {
  return fmt::format("{} layers, {} experts, top-{}, {} bytes an expert", shape.layers.size(),
                     shape.experts, shape.top_k, shape.expert_bytes);
}

Result<uint32_t> requests_in(const TraceBlocks& blocks, const TraceShape& shape,
                             const std::string& path) {
  uint32_t requests = 0;
  for (const std::string_view body : blocks.bodies) {
    const uint32_t request = TRY(parse_trace_step(body, shape, path)).request;
    if (request == std::numeric_limits<uint32_t>::max()) {
      return fail(Code::kUsage, "the routing trace has no numbers left for requests", path);
    }
    requests = std::max(requests, request + 1);
  }
  return requests;
}

}  // namespace

Result<TraceWriter> TraceWriter::append(const std::string& path, const TraceShape& shape,
                                        const std::string& model) {
  TRY_STATUS(check_trace_shape(shape, Code::kUsage, path));
  TraceWriter writer;
  writer.path_ = path;
  writer.shape_ = shape;
  const bool there = ::access(path.c_str(), F_OK) == 0;
  writer.fd_ = TRY(open_output(path, false));
  if (::flock(writer.fd_.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK) {
      return fail(Code::kUnavailable, "another run is recording into it", path,
                  "name another file");
    }
    return fail_output(errno, "cannot lock", path);
  }
  writer.created_ = !there;
  TRY_STATUS(writer.begin(model));
  return writer;
}

TraceWriter::~TraceWriter() {
  if (fd_.get() >= 0 && created_ && steps_added_ == 0) ::unlink(path_.c_str());
}

// Finds the end of what is there, or writes the header.
Status TraceWriter::begin(const std::string& model) {
  const std::string file = TRY(read_text_file(path_, kFileBytesMax));
  if (file.empty()) {
    const std::string header = encode_trace_header(shape_, model);
    TRY_STATUS(write_output(fd_.get(), std::as_bytes(std::span(header)), path_));
    end_ = header.size();
    return {};
  }
  const TraceHeader header = TRY(parse_trace_header(file, path_));
  if (header.shape != shape_) {
    return fail(Code::kUsage,
                fmt::format("holds a routing trace of another shape ({}), not of this model ({})",
                            describe(header.shape), describe(shape_)),
                path_, "name another file");
  }
  const TraceBlocks blocks = TRY(find_trace_blocks(file, header.bytes, path_));
  first_request_ = TRY(requests_in(blocks, shape_, path_));
  end_ = blocks.end;
  if (::ftruncate(fd_.get(), static_cast<off_t>(end_)) != 0 ||
      ::lseek(fd_.get(), static_cast<off_t>(end_), SEEK_SET) < 0) {
    return fail_output(errno, "cannot cut off a torn step", path_);
  }
  return {};
}

Status TraceWriter::add(const RoutingStep& step) {
  RoutingStep numbered = step;
  numbered.request += first_request_;
  const std::string block = TRY(encode_trace_step(shape_, numbered));
  Status written = write_output(fd_.get(), std::as_bytes(std::span(block)), path_);
  if (!written) {
    // What of the block is there would lie between whole ones when the drive has room again.
    if (::ftruncate(fd_.get(), static_cast<off_t>(end_)) != 0 ||
        ::lseek(fd_.get(), static_cast<off_t>(end_), SEEK_SET) < 0) {
      return fail_output(errno, "cannot cut off a torn step", path_);
    }
    return written;
  }
  end_ += block.size();
  steps_added_ += 1;
  return {};
}

Result<RoutingTrace> read_trace(const std::string& path, std::string& warning) {
  const std::string file = TRY(read_text_file(path, kFileBytesMax));
  if (file.starts_with(kTraceMagic)) return parse_trace(file, path, warning);
  if (is_trace_csv(file)) return parse_trace_csv(file, path);
  return fail(Code::kBadData, "is no routing trace", path,
              "record one with run --record-routing, or give the CSV form");
}

}  // namespace switchyard
