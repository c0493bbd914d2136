// Writes a checkpoint of a published model's shape with random weights, for measurements that do
// not depend on what the weights say.

#include <CLI/CLI.hpp>
#include <cstdio>
#include <thread>

#include "perf/synthetic/checkpoint_writer.h"
#include "perf/synthetic/model_shape.h"
#include "runtime/base/clock.h"
#include "runtime/base/units.h"
#include "runtime/device/worker_pool.h"

namespace switchyard {
namespace {

struct Arguments {
  std::string shape;
  std::string out;
  std::string dtype = "bf16";
  uint64_t seed = 1;
  std::string shard = "5GiB";
  // 0: as the shape has it.
  uint32_t layers = 0, hidden = 0, heads = 0, kv_heads = 0, head_dim = 0, experts = 0, top_k = 0,
           intermediate = 0, shared = 0, vocab = 0;
};

void declare(CLI::App& app, Arguments& arguments) {
  std::string names;
  for (const ModelShape& shape : named_shapes()) names += " " + std::string(shape.name);
  app.add_option("SHAPE", arguments.shape, "one of" + names)->required();
  app.add_option("OUT", arguments.out, "the folder to write")->required();
  app.add_option("--dtype", arguments.dtype, "bf16, f16 or f32")
      ->check(CLI::IsMember({"bf16", "f16", "f32"}));
  app.add_option("--seed", arguments.seed, "of the weights");
  app.add_option("--shard", arguments.shard, "largest file, as 5GiB");
  app.add_option("--layers", arguments.layers, "fewer layers than the shape has");
  const char* other = "instead of the shape's";
  app.add_option("--hidden", arguments.hidden, other);
  app.add_option("--heads", arguments.heads, other);
  app.add_option("--kv-heads", arguments.kv_heads, other);
  app.add_option("--head-dim", arguments.head_dim, other);
  app.add_option("--experts", arguments.experts, other);
  app.add_option("--top-k", arguments.top_k, other);
  app.add_option("--intermediate", arguments.intermediate, other);
  app.add_option("--shared", arguments.shared, other);
  app.add_option("--vocab", arguments.vocab, other);
}

Result<ModelShape> shape_of(const Arguments& arguments) {
  ModelShape shape = TRY(find_shape(arguments.shape));
  const auto replace = [](uint32_t& value, uint32_t given) {
    if (given != 0) value = given;
  };
  replace(shape.layers, arguments.layers);
  replace(shape.hidden, arguments.hidden);
  replace(shape.heads, arguments.heads);
  replace(shape.kv_heads, arguments.kv_heads);
  replace(shape.head_dim, arguments.head_dim);
  replace(shape.experts, arguments.experts);
  replace(shape.top_k, arguments.top_k);
  replace(shape.intermediate, arguments.intermediate);
  replace(shape.shared_intermediate, arguments.shared);
  replace(shape.vocab, arguments.vocab);
  return shape;
}

DType dtype_of(const std::string& name) {
  if (name == "f32") return DType::kF32;
  return name == "f16" ? DType::kF16 : DType::kBF16;
}

Status make_model(const Arguments& arguments) {
  const ModelShape shape = TRY(shape_of(arguments));
  SyntheticOptions options;
  options.dtype = dtype_of(arguments.dtype);
  options.seed = arguments.seed;
  options.shard_bytes_max = TRY(parse_size(arguments.shard));
  WorkerPool pool(std::max(1U, std::thread::hardware_concurrency()));
  const double begin = now_seconds();
  uint64_t percent_shown = 0, bytes = 0;
  TRY_STATUS(write_synthetic_model(arguments.out, config_json(shape, options.dtype), options, pool,
                                   [&](uint64_t done, uint64_t all) {
                                     bytes = all;
                                     if (done * 10 / all == percent_shown) return;
                                     percent_shown = done * 10 / all;
                                     std::fprintf(stderr, "%d0 %%\n",
                                                  static_cast<int>(percent_shown));
                                   }));
  const double seconds = now_seconds() - begin;
  std::fprintf(stderr, "%s: %s in %s, %s\n", arguments.out.c_str(), format_size(bytes).c_str(),
               format_seconds(seconds).c_str(),
               format_rate(static_cast<double>(bytes) / seconds).c_str());
  return {};
}

}  // namespace
}  // namespace switchyard

int main(int argc, char** argv) {
  CLI::App app("Writes a checkpoint of a published model's shape with random weights.");
  switchyard::Arguments arguments;
  switchyard::declare(app, arguments);
  CLI11_PARSE(app, argc, argv);
  const switchyard::Status made = switchyard::make_model(arguments);
  if (made) return 0;
  std::fprintf(stderr, "make_model: %s\n", switchyard::to_line(made.error()).c_str());
  return static_cast<int>(made.error().code);
}
