#include "perf/synthetic/checkpoint_writer.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "perf/synthetic/normal_table.h"
#include "runtime/base/align.h"
#include "runtime/base/file.h"
#include "runtime/base/hash.h"
#include "runtime/device/worker_pool.h"
#include "storage/output_file.h"

namespace switchyard {
namespace {

constexpr uint64_t kBlockBytes = uint64_t{1} << 20;    // one seed
constexpr uint64_t kBufferBytes = uint64_t{32} << 20;  // one write

uint64_t bytes_of(const SyntheticTensor& tensor, DType dtype) {
  uint64_t bytes = dtype_bytes(dtype);
  for (const uint64_t side : tensor.shape) bytes *= side;
  return bytes;
}

using Shard = std::vector<const SyntheticTensor*>;

std::vector<Shard> cut_into_shards(const std::vector<SyntheticTensor>& tensors,
                                   const SyntheticOptions& options) {
  std::vector<Shard> shards;
  uint64_t bytes = 0;
  for (const SyntheticTensor& tensor : tensors) {
    const uint64_t more = bytes_of(tensor, options.dtype);
    if (shards.empty() || bytes + more > options.shard_bytes_max) {
      shards.emplace_back();
      bytes = 0;
    }
    shards.back().push_back(&tensor);
    bytes += more;
  }
  return shards;
}

std::string shard_name(size_t index, size_t count) {
  if (count == 1) return "model.safetensors";
  return fmt::format("model-{:05}-of-{:05}.safetensors", index + 1, count);
}

// The 8 bytes of length and the header.
std::string encode_header(const Shard& shard, DType dtype) {
  nlohmann::json header = {{"__metadata__", {{"format", "pt"}}}};
  uint64_t offset = 0;
  for (const SyntheticTensor* tensor : shard) {
    const uint64_t end = offset + bytes_of(*tensor, dtype);
    header[tensor->name] = {{"dtype", std::string(dtype_name(dtype))},
                            {"shape", tensor->shape},
                            {"data_offsets", {offset, end}}};
    offset = end;
  }
  std::string text = header.dump();
  text.resize(round_up(text.size(), 8), ' ');
  std::string encoded(8, '\0');
  for (int i = 0; i < 8; ++i) encoded[i] = static_cast<char>(text.size() >> (8 * i));
  return encoded + text;
}

uint64_t seed_of(const SyntheticTensor& tensor, uint64_t seed) {
  return seed * 0x9e3779b97f4a7c15 + hash_bytes(std::as_bytes(std::span(tensor.name)));
}

class Writer {
 public:
  Writer(const SyntheticOptions& options, WorkerPool& pool)
      : options_(options),
        pool_(pool),
        embedding_(options.dtype, 0, 8),
        matrix_(options.dtype, 0, 0.02),
        norm_(options.dtype, 1, 0.02),
        buffer_(kBufferBytes) {}

  Status write_shard(const std::string& path, const Shard& shard,
                     const std::function<void(uint64_t)>& wrote) {
    const std::string partial = path + ".partial";
    const UniqueFd fd = TRY(open_output(partial, true));
    const std::string header = encode_header(shard, options_.dtype);
    TRY_STATUS(write_output(fd.get(), std::as_bytes(std::span(header)), partial));
    for (const SyntheticTensor* tensor : shard) {
      const uint64_t bytes = bytes_of(*tensor, options_.dtype);
      for (uint64_t at = 0; at < bytes; at += kBufferBytes) {
        const auto piece = std::span(buffer_).first(std::min(kBufferBytes, bytes - at));
        fill(*tensor, at / kBlockBytes, piece);
        TRY_STATUS(write_output(fd.get(), piece, partial));
        wrote(piece.size());
      }
    }
    return publish_output(fd.get(), partial, path);
  }

 private:
  const NormalTable& table_of(Fill fill) const {
    if (fill == Fill::kEmbedding) return embedding_;
    return fill == Fill::kNorm ? norm_ : matrix_;
  }

  void fill(const SyntheticTensor& tensor, uint64_t first_block, std::span<std::byte> piece) {
    const NormalTable& table = table_of(tensor.fill);
    const uint64_t seed = seed_of(tensor, options_.seed);
    const auto blocks = static_cast<uint32_t>(ceil_div(piece.size(), kBlockBytes));
    pool_.split(blocks, kBlockBytes, [&](uint32_t begin, uint32_t end) {
      for (uint64_t block = begin; block < end; ++block) {
        const auto rest = piece.subspan(block * kBlockBytes);
        // Prng is a counter: seeds this far apart never meet within a block.
        table.fill(seed + ((first_block + block) << 32) * 0x9e3779b97f4a7c15,
                   rest.first(std::min<uint64_t>(kBlockBytes, rest.size())));
      }
    });
  }

  const SyntheticOptions& options_;
  WorkerPool& pool_;
  const NormalTable embedding_, matrix_, norm_;
  std::vector<std::byte> buffer_;
};

std::string encode_index(const std::vector<Shard>& shards, uint64_t bytes) {
  nlohmann::json map = nlohmann::json::object();
  for (size_t i = 0; i < shards.size(); ++i) {
    for (const SyntheticTensor* tensor : shards[i]) {
      map[tensor->name] = shard_name(i, shards.size());
    }
  }
  const nlohmann::json index = {{"metadata", {{"total_size", bytes}}}, {"weight_map", map}};
  return index.dump(2) + "\n";
}

}  // namespace

Status write_synthetic_model(const std::string& folder, const std::string& config,
                             const SyntheticOptions& options, WorkerPool& pool,
                             const std::function<void(uint64_t, uint64_t)>& progress) {
  const std::vector<SyntheticTensor> tensors = TRY(list_tensors(config));
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) return fail_output(error.value(), "cannot make the folder", folder);
  TRY_STATUS(write_file_atomically(folder + "/config.json", config));
  uint64_t all = 0, done = 0;
  for (const SyntheticTensor& tensor : tensors) all += bytes_of(tensor, options.dtype);
  const std::vector<Shard> shards = cut_into_shards(tensors, options);
  Writer writer(options, pool);
  for (size_t i = 0; i < shards.size(); ++i) {
    const std::string path = folder + "/" + shard_name(i, shards.size());
    TRY_STATUS(writer.write_shard(path, shards[i], [&](uint64_t bytes) {
      done += bytes;
      if (progress) progress(done, all);
    }));
  }
  const std::string index = folder + "/model.safetensors.index.json";
  if (shards.size() > 1) return write_file_atomically(index, encode_index(shards, all));
  std::filesystem::remove(index, error);  // an index of before would rule
  return {};
}

}  // namespace switchyard
