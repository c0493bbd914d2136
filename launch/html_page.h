#pragma once

// One self-contained HTML page: no script, nothing from outside, light and dark.

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace switchyard {

// `text` as it may stand between tags and in attributes; what is not UTF-8 becomes '?'.
std::string html_text(std::string_view text);

struct ChartLine {
  std::string name;
  std::vector<std::pair<double, double>> points;  // x, y; finite, x ascending
};

// Lines over numbers. The y axis begins at 0. One line needs no name.
struct LineChart {
  std::string title, description;  // the description says in words what is to be seen
  std::string x_label, y_label;
  std::vector<ChartLine> lines;
};

// Bars from 0 up, each with its label below and its value in the tooltip.
struct BarChart {
  std::string title, description;
  std::string x_label, y_label;
  std::vector<std::pair<std::string, double>> bars;
};

// A cell for each row and column, the darker the larger its value. Rows from the top, all equally
// long; values are finite and not negative.
struct HeatMap {
  std::string title, description;
  std::string x_label, y_label;
  std::vector<std::vector<double>> rows;
};

class HtmlPage {
 public:
  explicit HtmlPage(std::string_view title);
  void paragraph(std::string_view text);
  // The first row names the columns.
  void table(std::string_view title, const std::vector<std::vector<std::string>>& rows);
  void chart(const LineChart& chart);
  void chart(const BarChart& chart);
  void chart(const HeatMap& chart);
  std::string text() const;

 private:
  void figure(std::string_view title, std::string_view description, const std::string& body);

  std::string title_;
  std::string body_;
  uint32_t figures_ = 0;
};

}  // namespace switchyard
