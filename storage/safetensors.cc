#include "storage/safetensors.h"

#include <fmt/format.h>
#include <simdjson.h>

#include <algorithm>
#include <optional>

namespace switchyard {
namespace {

namespace dom = simdjson::dom;

constexpr size_t kDepthMax = 16;
constexpr size_t kDimensionsMax = 16;
constexpr size_t kEntryBytesMin = 46;  // "":{"dtype":"F4","shape":[],"data_offsets":[0,0]}
constexpr uint64_t kIndexBytesMax = kSafetensorsHeaderBytesMax;

struct Dtype {
  std::string_view name;
  uint32_t bits;
};
constexpr Dtype kDtypes[] = {{"F32", 32}, {"BF16", 16},   {"F16", 16},    {"F64", 64},
                             {"I64", 64}, {"I32", 32},    {"I16", 16},    {"I8", 8},
                             {"U64", 64}, {"U32", 32},    {"U16", 16},    {"U8", 8},
                             {"BOOL", 8}, {"F8_E4M3", 8}, {"F8_E5M2", 8}, {"F8_E8M0", 8},
                             {"C64", 64}, {"F4", 4},      {"F6_E2M3", 6}, {"F6_E3M2", 6}};

std::optional<uint32_t> dtype_bits(std::string_view name) {
  for (const Dtype& dtype : kDtypes) {
    if (dtype.name == name) return dtype.bits;
  }
  return std::nullopt;
}

constexpr const char* kRefetch = "fetch the file again";

tl::unexpected<Error> fail_tensor(std::string_view tensor, const std::string& what,
                                  const std::string& where) {
  return fail(Code::kBadData, fmt::format("tensor {}: {}", tensor, what), where, kRefetch);
}

// The root object of `json`, living in `parser`. kBadData, with simdjson's reason when that is no
// JSON.
Result<dom::object> parse_object(dom::parser& parser, std::string_view json,
                                 const std::string& where) {
  if (parser.allocate(json.size(), kDepthMax) != simdjson::SUCCESS) {
    return fail(Code::kNoMemory, fmt::format("no memory for {} bytes of JSON", json.size()), where);
  }
  dom::element root;
  const simdjson::error_code error = parser.parse(json.data(), json.size()).get(root);
  if (error != simdjson::SUCCESS) {
    return fail(Code::kBadData, fmt::format("not valid JSON: {}", simdjson::error_message(error)),
                where, kRefetch);
  }
  dom::object object;
  if (root.get_object().get(object) != simdjson::SUCCESS) {
    return fail(Code::kBadData, "must be a JSON object", where, kRefetch);
  }
  return object;
}

// The size in bytes of a tensor, or nothing when that passes 2^63 bits or is no whole number.
std::optional<uint64_t> tensor_bytes(const std::vector<uint64_t>& shape, uint32_t bits) {
  uint64_t product = bits;
  for (const uint64_t dimension : shape) {
    if (__builtin_mul_overflow(product, dimension, &product)) return std::nullopt;
  }
  if (product % 8 != 0) return std::nullopt;
  return product / 8;
}

Status parse_shape(dom::array array, TensorInfo& tensor, const std::string& where) {
  if (array.size() > kDimensionsMax) {
    return fail_tensor(tensor.name, fmt::format("more than {} dimensions", kDimensionsMax), where);
  }
  for (const dom::element element : array) {
    uint64_t dimension = 0;
    if (element.get_uint64().get(dimension) != simdjson::SUCCESS) {
      return fail_tensor(tensor.name,
                         fmt::format("impossible dimension {}", simdjson::minify(element)), where);
    }
    tensor.shape.push_back(dimension);
  }
  return {};
}

// Reads data_offsets [begin, end), relative to the data, into offset and bytes.
Status parse_offsets(dom::array array, TensorInfo& tensor, uint64_t data_begin, uint64_t data_bytes,
                     const std::string& where) {
  uint64_t begin = 0;
  uint64_t end = 0;
  if (array.size() != 2 || array.at(0).get_uint64().get(begin) != simdjson::SUCCESS ||
      array.at(1).get_uint64().get(end) != simdjson::SUCCESS || begin > end) {
    return fail_tensor(tensor.name, fmt::format("bad data_offsets {}", simdjson::minify(array)),
                       where);
  }
  if (end > data_bytes) {
    return fail_tensor(tensor.name,
                       fmt::format("ends {} bytes past the end of the file", end - data_bytes),
                       where);
  }
  tensor.offset = data_begin + begin;
  tensor.bytes = end - begin;
  return {};
}

// The member `key` of a tensor's entry, which must be `kind`.
template <class Value>
Status read_field(dom::object fields, std::string_view key, const char* kind,
                  std::string_view tensor, const std::string& where, Value& value) {
  const simdjson::error_code error = fields[key].get(value);
  if (error == simdjson::SUCCESS) return {};
  if (error == simdjson::NO_SUCH_FIELD) {
    return fail_tensor(tensor, fmt::format("{} is missing", key), where);
  }
  return fail_tensor(tensor, fmt::format("{} must be {}", key, kind), where);
}

Result<TensorInfo> parse_tensor(std::string_view name, dom::element value, uint64_t data_begin,
                                uint64_t data_bytes, const std::string& where) {
  TensorInfo tensor;
  tensor.name = name;
  dom::object fields;
  if (value.get_object().get(fields) != simdjson::SUCCESS) {
    return fail_tensor(name, "must be an object", where);
  }
  std::string_view dtype;
  dom::array shape;
  dom::array offsets;
  TRY_STATUS(read_field(fields, "dtype", "a string", name, where, dtype));
  TRY_STATUS(read_field(fields, "shape", "a list", name, where, shape));
  TRY_STATUS(read_field(fields, "data_offsets", "a list", name, where, offsets));
  if (fields.size() != 3) {
    return fail_tensor(name, "has more than dtype, shape and data_offsets", where);
  }
  const std::optional<uint32_t> bits = dtype_bits(dtype);
  if (!bits) return fail_tensor(name, fmt::format("unknown dtype {}", dtype), where);
  tensor.dtype = dtype;
  TRY_STATUS(parse_shape(shape, tensor, where));
  TRY_STATUS(parse_offsets(offsets, tensor, data_begin, data_bytes, where));
  const std::optional<uint64_t> bytes = tensor_bytes(tensor.shape, *bits);
  if (!bytes || *bytes != tensor.bytes) {
    return fail_tensor(name,
                       fmt::format("{} bytes, but {} {} needs {}", tensor.bytes, tensor.dtype,
                                   simdjson::minify(shape),
                                   bytes ? fmt::to_string(*bytes) : "more than any file has"),
                       where);
  }
  return tensor;
}

// `tensors` by offset must tile the data.
Status check_tiling(std::span<const TensorInfo> tensors, uint64_t data_begin, uint64_t file_bytes,
                    const std::string& where) {
  uint64_t end = data_begin;
  const TensorInfo* previous = nullptr;
  for (const TensorInfo& tensor : tensors) {
    if (tensor.offset < end) {
      return fail_tensor(tensor.name, fmt::format("overlaps tensor {}", previous->name), where);
    }
    if (tensor.offset > end) {
      return fail_tensor(tensor.name,
                         fmt::format("a hole of {} bytes before it", tensor.offset - end), where);
    }
    end += tensor.bytes;
    previous = &tensor;
  }
  if (end != file_bytes) {
    return fail(Code::kBadData, fmt::format("{} bytes after the last tensor", file_bytes - end),
                where, kRefetch);
  }
  return {};
}

Status check_metadata(dom::element value, const std::string& where) {
  dom::object entries;
  bool strings = value.get_object().get(entries) == simdjson::SUCCESS;
  if (strings) {
    for (const auto [key, text] : entries) strings = strings && text.is_string();
  }
  if (strings) return {};
  return fail(Code::kBadData, "__metadata__ is no map of strings", where, kRefetch);
}

// Fails when two of `names` are equal.
Status check_unique(std::vector<std::string_view> names, const std::string& where) {
  std::sort(names.begin(), names.end());
  const auto twice = std::adjacent_find(names.begin(), names.end());
  if (twice == names.end()) return {};
  return fail_tensor(*twice, "listed twice", where);
}

bool is_plain_name(std::string_view name) {
  return !name.empty() && name != "." && name != ".." && name.find('/') == std::string_view::npos &&
         name.find('\0') == std::string_view::npos;
}

}  // namespace

Result<std::vector<TensorInfo>> parse_safetensors_header(std::string_view header_json,
                                                         uint64_t data_begin, uint64_t file_bytes,
                                                         const std::string& where) {
  if (header_json.size() > kSafetensorsHeaderBytesMax) {
    return fail(Code::kBadData, fmt::format("header of {} bytes", header_json.size()), where,
                fmt::format("the format allows {}", kSafetensorsHeaderBytesMax));
  }
  if (data_begin > file_bytes) {
    return fail(Code::kBadData, "the header ends past the end of the file", where, kRefetch);
  }
  if (!header_json.starts_with('{')) {
    return fail(Code::kBadData, "the header does not begin with {", where, kRefetch);
  }
  dom::parser parser;
  const dom::object root = TRY(parse_object(parser, header_json, where));
  std::vector<TensorInfo> tensors;
  tensors.reserve(std::min(root.size(), header_json.size() / kEntryBytesMin));
  std::vector<std::string_view> names;
  names.reserve(tensors.capacity());
  bool metadata_seen = false;
  for (const auto [key, value] : root) {
    if (key == "__metadata__" && !metadata_seen) {
      TRY_STATUS(check_metadata(value, where));
      metadata_seen = true;
      continue;
    }
    names.push_back(key);
    tensors.push_back(TRY(parse_tensor(key, value, data_begin, file_bytes - data_begin, where)));
  }
  TRY_STATUS(check_unique(std::move(names), where));
  // Most files list their tensors in this order.
  const auto earlier = [](const TensorInfo& a, const TensorInfo& b) {
    return std::pair(a.offset, a.bytes) < std::pair(b.offset, b.bytes);
  };
  if (!std::is_sorted(tensors.begin(), tensors.end(), earlier)) {
    std::stable_sort(tensors.begin(), tensors.end(), earlier);
  }
  TRY_STATUS(check_tiling(tensors, data_begin, file_bytes, where));
  return tensors;
}

Result<std::vector<TensorInfo>> read_safetensors_header(const InputFile& file) {
  const std::string& where = file.path();
  const uint64_t file_bytes = file.size_bytes();
  unsigned char length_bytes[8] = {};
  if (file_bytes < sizeof length_bytes) {
    return fail(Code::kBadData, fmt::format("only {} bytes long", file_bytes), where, kRefetch);
  }
  TRY_STATUS(file.read(0, std::as_writable_bytes(std::span(length_bytes))));
  uint64_t length = 0;
  for (int i = 8; i-- > 0;) length = length << 8 | length_bytes[i];
  if (length > kSafetensorsHeaderBytesMax) {
    return fail(Code::kBadData, fmt::format("not a safetensors file: header of {} bytes", length),
                where, fmt::format("the format allows {}", kSafetensorsHeaderBytesMax));
  }
  if (length > file_bytes - sizeof length_bytes) {
    return fail(Code::kBadData,
                fmt::format("header of {} bytes, but the file has {}", length, file_bytes), where,
                kRefetch);
  }
  std::string header(length, '\0');
  TRY_STATUS(file.read(sizeof length_bytes, std::as_writable_bytes(std::span(header))));
  return parse_safetensors_header(header, sizeof length_bytes + length, file_bytes, where);
}

Result<std::vector<ShardEntry>> parse_safetensors_index(std::string_view json,
                                                        const std::string& where) {
  if (json.size() > kIndexBytesMax) {
    return fail(Code::kBadData, fmt::format("index of {} bytes", json.size()), where);
  }
  dom::parser parser;
  const dom::object root = TRY(parse_object(parser, json, where));
  dom::object weight_map;
  const simdjson::error_code error = root["weight_map"].get_object().get(weight_map);
  if (error == simdjson::NO_SUCH_FIELD) {
    return fail(Code::kBadData, "no weight_map", where, kRefetch);
  }
  if (error != simdjson::SUCCESS) {
    return fail(Code::kBadData, "weight_map must be an object", where, kRefetch);
  }
  std::vector<ShardEntry> entries;
  entries.reserve(weight_map.size());
  for (const auto [tensor, value] : weight_map) {
    std::string_view file;
    if (value.get_string().get(file) != simdjson::SUCCESS) {
      return fail_tensor(
          tensor, fmt::format("its file {} must be a string", simdjson::minify(value)), where);
    }
    if (!is_plain_name(file)) {
      return fail_tensor(
          tensor,
          fmt::format("its file {} is no plain name in the folder", simdjson::minify(value)),
          where);
    }
    entries.push_back({std::string(tensor), std::string(file)});
  }
  if (entries.empty()) return fail(Code::kBadData, "weight_map is empty", where, kRefetch);
  std::sort(entries.begin(), entries.end(),
            [](const ShardEntry& a, const ShardEntry& b) { return a.tensor < b.tensor; });
  const auto twice = std::adjacent_find(
      entries.begin(), entries.end(),
      [](const ShardEntry& a, const ShardEntry& b) { return a.tensor == b.tensor; });
  if (twice != entries.end()) return fail_tensor(twice->tensor, "listed twice", where);
  return entries;
}

}  // namespace switchyard
