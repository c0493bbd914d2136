#pragma once

#include <array>
#include <string>
#include <string_view>

namespace switchyard {

// What a model's pack holds: these text files where the model has them, the expert order (a JSON
// list of lists), every dense tensor kernel-ready ("dense/NAME" with dtype, rows, cols; rows 0: a
// vector in fp32), and the experts (experts/pack_source.h), by layer, then in expert order. A pack
// of several volumes names the others ({"id", "paths"} in JSON) and shares the experts with them;
// each of those holds nothing but experts and the pack's id with its own number behind it.
inline constexpr std::array<std::string_view, 6> kPackTextFiles = {
    "config.json",           "generation_config.json",  "tokenizer.json",
    "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja"};
inline constexpr std::string_view kPackOrderName = "order";
inline constexpr std::string_view kPackVolumesName = "volumes";
inline constexpr std::string_view kPackVolumeName = "volume of";

inline std::string pack_dense_name(std::string_view tensor) {
  return "dense/" + std::string(tensor);
}

}  // namespace switchyard
