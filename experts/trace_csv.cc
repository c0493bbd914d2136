#include "experts/trace_csv.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <tuple>
#include <vector>

#include "experts/trace_format.h"

namespace switchyard {
namespace {

constexpr std::array<std::string_view, 7> kColumns = {"turn", "phase",  "step",  "layer",
                                                      "slot", "expert", "weight"};
constexpr size_t kColumnsMax = 64;

struct CsvRow {
  uint32_t turn = 0;
  uint32_t step = 0;
  uint16_t layer = 0;
  uint16_t slot = 0;
  uint8_t phase = 0;
  RoutedExpert chosen;
  uint64_t line = 0;

  auto step_key() const { return std::tuple(turn, phase, step); }
  auto key() const { return std::tuple(turn, phase, step, layer, slot); }
};

// The part of `text` before the first `separator`, which is cut off with it.
std::string_view take_until(std::string_view& text, char separator) {
  const size_t length = std::min(text.find(separator), text.size());
  const std::string_view taken = text.substr(0, length);
  text.remove_prefix(std::min(length + 1, text.size()));
  return taken;
}

template <class T>
std::optional<T> number(std::string_view text) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

class CsvReader {
 public:
  CsvReader(std::string_view text, const std::string& where) : text_(text), where_(where) {}

  Status read() {
    std::string_view rest = text_;
    while (!rest.empty()) {
      std::string_view line = take_until(rest, '\n');
      line_ += 1;
      if (line.ends_with('\r')) line.remove_suffix(1);
      if (line.empty()) continue;
      if (line.starts_with('#')) {
        TRY_STATUS(read_comment(line.substr(1)));
      } else if (!named_) {
        TRY_STATUS(read_names(line));
      } else {
        rows_.push_back(TRY(read_row(line)));
      }
    }
    if (rows_.empty()) return fail_line("no rows");
    return {};
  }

  Result<RoutingTrace> trace() {
    std::stable_sort(rows_.begin(), rows_.end(),
                     [](const CsvRow& a, const CsvRow& b) { return a.key() < b.key(); });
    RoutingTrace trace;
    trace.model = model_;
    TRY_STATUS(find_shape(trace.shape));
    for (size_t begin = 0; begin < rows_.size();) {
      size_t end = begin + 1;
      while (end < rows_.size() && rows_[end].step_key() == rows_[begin].step_key()) ++end;
      trace.steps.push_back(
          TRY(step_of(trace.shape, std::span(rows_).subspan(begin, end - begin))));
      begin = end;
    }
    return trace;
  }

 private:
  tl::unexpected<Error> fail_line(const std::string& what, uint64_t line) const {
    return fail(Code::kBadData, what, fmt::format("{} line {}", where_, line));
  }
  tl::unexpected<Error> fail_line(const std::string& what) const { return fail_line(what, line_); }

  Status read_comment(std::string_view comment) {
    while (!comment.empty()) {
      const std::string_view word = take_until(comment, ' ');
      std::string_view value = word;
      const std::string_view name = take_until(value, '=');
      if (name == "model") model_ = value;
      if (name != "n_expert" && name != "expert_bytes") continue;
      const auto count = number<uint64_t>(value);
      const bool layers = name == "n_expert";
      if (!count || *count == 0 || *count > (layers ? 65536 : uint64_t{1} << 40)) {
        return fail_line(fmt::format("impossible {}", name));
      }
      if (layers) {
        experts_ = static_cast<uint32_t>(*count);
      } else {
        bytes_sum_ += *count;
        bytes_count_ += 1;
      }
    }
    return {};
  }

  Status read_names(std::string_view line) {
    if (experts_ == 0) return fail_line("no comment before this says n_expert=");
    std::vector<std::string_view> names;
    while (!line.empty() && names.size() < kColumnsMax) names.push_back(take_until(line, ','));
    for (size_t i = 0; i < kColumns.size(); ++i) {
      const auto found = std::find(names.begin(), names.end(), kColumns[i]);
      if (found == names.end()) return fail_line(fmt::format("no column '{}'", kColumns[i]));
      place_[i] = static_cast<size_t>(found - names.begin());
    }
    columns_ = names.size();
    named_ = true;
    return {};
  }

  Result<CsvRow> read_row(std::string_view line) const {
    std::array<std::string_view, kColumnsMax> fields;
    size_t count = 0;
    while (!line.empty() && count < columns_) fields[count++] = take_until(line, ',');
    if (count < columns_) return fail_line(fmt::format("{} fields, not {}", count, columns_));
    std::array<uint32_t, 6> values{};
    const std::array<uint32_t, 6> maxima = {
        UINT32_MAX, 1, UINT32_MAX, UINT16_MAX - 1, kTraceTopKMax - 1, experts_ - 1};
    for (size_t i = 0; i < values.size(); ++i) {
      const auto value = number<uint32_t>(fields[place_[i]]);
      if (!value || *value > maxima[i]) return fail_line(fmt::format("impossible {}", kColumns[i]));
      values[i] = *value;
    }
    const auto weight = number<float>(fields[place_[6]]);
    if (!weight || !(*weight >= 0 && *weight <= 1)) return fail_line("impossible weight");
    return CsvRow{values[0],
                  values[2],
                  static_cast<uint16_t>(values[3]),
                  static_cast<uint16_t>(values[4]),
                  static_cast<uint8_t>(values[1]),
                  {static_cast<uint16_t>(values[5]), *weight},
                  line_};
  }

  // Few rows over many steps and layers would fill the memory with what is not there.
  Status find_shape(TraceShape& shape) const {
    std::vector<bool> seen(UINT16_MAX);
    uint64_t steps = 0;
    for (size_t i = 0; i < rows_.size(); ++i) {
      seen[rows_[i].layer] = true;
      shape.top_k = std::max(shape.top_k, rows_[i].slot + 1U);
      steps += i == 0 || rows_[i].step_key() != rows_[i - 1].step_key() ? 1 : 0;
    }
    for (uint32_t layer = 0; layer < seen.size(); ++layer) {
      if (seen[layer]) shape.layers.push_back(static_cast<uint16_t>(layer));
    }
    shape.experts = experts_;
    if (bytes_count_ > 0) shape.expert_bytes = bytes_sum_ / bytes_count_;
    TRY_STATUS(check_trace_shape(shape, Code::kBadData, where_));
    if (steps * shape.layers.size() * shape.top_k > text_.size() * kTraceExpertsPerByteMax) {
      return fail(Code::kBadData, "most layers of most steps are missing", where_);
    }
    return {};
  }

  Result<RoutingStep> step_of(const TraceShape& shape, std::span<const CsvRow> rows) const {
    RoutingStep step;
    step.request = rows.front().turn;
    step.phase = static_cast<TracePhase>(rows.front().phase);
    step.tokens = {-1};
    step.routed.assign(shape.layers.size() * shape.top_k, kNotRecorded);
    for (size_t i = 0; i < rows.size(); i += shape.top_k) {
      const auto layer = rows.subspan(i, std::min<size_t>(shape.top_k, rows.size() - i));
      const auto at = std::lower_bound(shape.layers.begin(), shape.layers.end(), layer[0].layer);
      const auto base = static_cast<size_t>(at - shape.layers.begin()) * shape.top_k;
      for (size_t slot = 0; slot < shape.top_k; ++slot) {
        if (slot >= layer.size() || layer[slot].layer != *at || layer[slot].slot != slot) {
          const CsvRow& near = layer[std::min(slot, layer.size() - 1)];
          return fail_line(fmt::format("slots of layer {} are missing or twice", *at), near.line);
        }
        for (size_t other = 0; other < slot; ++other) {
          if (layer[other].chosen.expert != layer[slot].chosen.expert) continue;
          return fail_line("the same expert in two slots", layer[slot].line);
        }
        step.routed[base + slot] = layer[slot].chosen;
      }
    }
    return step;
  }

  const std::string_view text_;
  const std::string& where_;
  uint64_t line_ = 0;
  std::string model_;
  uint32_t experts_ = 0;
  uint64_t bytes_sum_ = 0, bytes_count_ = 0;
  bool named_ = false;
  size_t columns_ = 0;
  std::array<size_t, kColumns.size()> place_{};  // of each of kColumns in a line
  std::vector<CsvRow> rows_;
};

}  // namespace

bool is_trace_csv(std::string_view text) {
  return text.starts_with('#') || text.starts_with("turn,");
}

Result<RoutingTrace> parse_trace_csv(std::string_view text, const std::string& where) {
  CsvReader reader(text, where);
  TRY_STATUS(reader.read());
  return reader.trace();
}

}  // namespace switchyard
