#include "launch/html_page.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "runtime/base/file.h"

namespace switchyard {
namespace {

constexpr double kWidth = 720, kHeight = 300;
constexpr double kLeft = 64, kRight = 16, kTop = 12, kBottom = 48;
constexpr size_t kColours = 6;
constexpr size_t kBarLabelsMax = 16;
constexpr size_t kShades = 12;

constexpr const char* kStyle =
    ":root{color-scheme:light dark;--ink:#1c2126;--dim:#5d6770;--rule:#d9dee3;--paper:#fff;"
    "--c0:#1f6fb2;--c1:#c2571a;--c2:#2f8f5b;--c3:#8d4fb0;--c4:#a3741a;--c5:#b23a55}"
    "@media(prefers-color-scheme:dark){:root{--ink:#e4e8ec;--dim:#9aa5af;--rule:#39424a;"
    "--paper:#15191d;--c0:#6db3ec;--c1:#f09a5f;--c2:#6ecb98;--c3:#c696e4;--c4:#dcb65c;"
    "--c5:#f0879c}}"
    "body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);"
    "max-width:760px;margin:2rem auto;padding:0 1rem}"
    "h1{font-size:1.5rem}h2{font-size:1.1rem;margin:2rem 0 .2rem}"
    "figure{margin:0}figcaption,.dim{color:var(--dim)}svg{width:100%;height:auto}"
    "svg text{font:12px system-ui,sans-serif;fill:var(--dim)}.rule{stroke:var(--rule)}"
    ".line{fill:none;stroke-width:2}table{border-collapse:collapse}"
    "th,td{text-align:right;padding:.15rem .8rem .15rem 0;border-bottom:1px solid var(--rule)}"
    "th:first-child,td:first-child{text-align:left}.wide{overflow-x:auto}";

// 1, 2 or 5 times a power of ten, four to ten of which reach `top`.
double tick_of(double top) {
  const double power = std::pow(10, std::floor(std::log10(top)));
  if (top / power >= 5) return power;
  return top / power >= 2 ? power / 2 : power / 5;
}

struct Scale {
  double from = 0, to = 1;    // values
  double begin = 0, end = 0;  // places
  double at(double value) const { return begin + (value - from) / (to - from) * (end - begin); }
};

// From 0 to the next tick at or over `top`.
Scale y_scale(double top) {
  const double tick = top > 0 ? tick_of(top) : 1;
  const double to = top > 0 ? std::ceil(top / tick - 1e-9) * tick : 1;
  return {0, to, kHeight - kBottom, kTop};
}

std::string label(double x, double y, const char* anchor, std::string_view text) {
  return fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\">{}</text>", x, y, anchor,
                     html_text(text));
}

std::string axis_names(const std::string& x_label, const std::string& y_label) {
  return label((kLeft + kWidth - kRight) / 2, kHeight - 8, "middle", x_label) +
         fmt::format(
             "<text transform=\"rotate(-90)\" x=\"{:.1f}\" y=\"14\" text-anchor=\"middle\">{}"
             "</text>",
             -(kTop + kHeight - kBottom) / 2, html_text(y_label));
}

std::string axes(const Scale& y, const std::string& x_label, const std::string& y_label) {
  std::string svg;
  const double tick = tick_of(y.to);
  for (double value = 0; value <= y.to * (1 + 1e-9); value += tick) {
    const double at = y.at(value);
    svg += fmt::format("<line class=\"rule\" x1=\"{}\" x2=\"{}\" y1=\"{:.1f}\" y2=\"{:.1f}\"/>",
                       kLeft, kWidth - kRight, at, at);
    svg += label(kLeft - 8, at + 4, "end", fmt::format("{:.6g}", value));
  }
  return svg + axis_names(x_label, y_label);
}

std::string legend(const std::vector<ChartLine>& lines) {
  if (lines.size() < 2) return {};
  std::string svg;
  for (size_t i = 0; i < lines.size(); ++i) {
    const double y = kTop + 16 + 16 * static_cast<double>(i);
    svg +=
        fmt::format("<rect x=\"{}\" y=\"{:.1f}\" width=\"10\" height=\"10\" fill=\"var(--c{})\"/>",
                    kLeft + 12, y - 9, i % kColours);
    svg += label(kLeft + 28, y, "start", lines[i].name);
  }
  return svg;
}

std::string line_svg(const ChartLine& line, size_t place, const Scale& x, const Scale& y) {
  std::string points;
  std::string marks;
  for (const auto& [px, py] : line.points) {
    points += fmt::format("{:.1f},{:.1f} ", x.at(px), y.at(py));
    marks += fmt::format(
        "<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"2.5\" fill=\"var(--c{})\"><title>{}{:.6g}: {:.4g}"
        "</title></circle>",
        x.at(px), y.at(py), place % kColours, line.name.empty() ? "" : html_text(line.name) + ", ",
        px, py);
  }
  return fmt::format("<polyline class=\"line\" stroke=\"var(--c{})\" points=\"{}\"/>",
                     place % kColours, points) +
         marks;
}

}  // namespace

std::string html_text(std::string_view text) {
  const bool utf8 = is_utf8(text);
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '&') {
      out += "&amp;";
    } else if (c == '<') {
      out += "&lt;";
    } else if (c == '>') {
      out += "&gt;";
    } else if (c == '"') {
      out += "&quot;";
    } else if (c == '\'') {
      out += "&#39;";
    } else if (byte < 0x20 || byte == 0x7f || (byte >= 0x80 && !utf8)) {
      out += '?';
    } else {
      out += c;
    }
  }
  return out;
}

HtmlPage::HtmlPage(std::string_view title) : title_(html_text(title)) {}

void HtmlPage::paragraph(std::string_view text) {
  body_ += fmt::format("<p>{}</p>\n", html_text(text));
}

void HtmlPage::table(std::string_view title, const std::vector<std::vector<std::string>>& rows) {
  body_ += fmt::format("<h2>{}</h2>\n<div class=\"wide\"><table>\n", html_text(title));
  for (size_t row = 0; row < rows.size(); ++row) {
    body_ += "<tr>";
    for (const std::string& cell : rows[row]) {
      body_ += fmt::format("<{0}>{1}</{2}>", row == 0 ? "th scope=\"col\"" : "td", html_text(cell),
                           row == 0 ? "th" : "td");
    }
    body_ += "</tr>\n";
  }
  body_ += "</table></div>\n";
}

void HtmlPage::figure(std::string_view title, std::string_view description,
                      const std::string& body) {
  const uint32_t id = figures_++;
  body_ += fmt::format(
      "<h2>{0}</h2>\n<figure><svg viewBox=\"0 0 {1} {2}\" role=\"img\" "
      "aria-labelledby=\"t{3} d{3}\"><title id=\"t{3}\">{0}</title><desc id=\"d{3}\">{4}</desc>"
      "{5}</svg>\n<figcaption>{4}</figcaption></figure>\n",
      html_text(title), kWidth, kHeight, id, html_text(description), body);
}

void HtmlPage::chart(const LineChart& chart) {
  double top = 0, first = INFINITY, last = -INFINITY;
  for (const ChartLine& line : chart.lines) {
    for (const auto& [x, y] : line.points) {
      top = std::max(top, y);
      first = std::min(first, x);
      last = std::max(last, x);
    }
  }
  if (!(first < last)) last = (first = std::isfinite(first) ? first : 0) + 1;
  const Scale x = {first, last, kLeft, kWidth - kRight};
  const Scale y = y_scale(top);
  std::string body = axes(y, chart.x_label, chart.y_label);
  const double tick = tick_of(last - first);
  for (double value = std::ceil(first / tick) * tick; value <= last + tick * 1e-9; value += tick) {
    body += label(x.at(value), kHeight - kBottom + 16, "middle", fmt::format("{:.6g}", value));
  }
  for (size_t i = 0; i < chart.lines.size(); ++i) body += line_svg(chart.lines[i], i, x, y);
  figure(chart.title, chart.description, body + legend(chart.lines));
}

void HtmlPage::chart(const BarChart& chart) {
  double top = 0;
  for (const auto& [name, value] : chart.bars) top = std::max(top, value);
  const Scale y = y_scale(top);
  std::string body = axes(y, chart.x_label, chart.y_label);
  const size_t count = std::max<size_t>(1, chart.bars.size());
  const double step = (kWidth - kRight - kLeft) / static_cast<double>(count);
  const size_t labelled = (count + kBarLabelsMax - 1) / kBarLabelsMax;
  for (size_t i = 0; i < chart.bars.size(); ++i) {
    const auto& [name, value] = chart.bars[i];
    const double left = kLeft + step * static_cast<double>(i);
    body += fmt::format(
        "<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\" fill=\"var(--c0)\">"
        "<title>{}: {:.4g}</title></rect>",
        left + step * 0.1, y.at(value), step * 0.8, y.begin - y.at(value), html_text(name), value);
    if (i % labelled == 0) {
      body += label(left + step / 2, kHeight - kBottom + 16, "middle", name);
    }
  }
  figure(chart.title, chart.description, body);
}

// One path a shade: a cell each would make the page ten times as large.
void HtmlPage::chart(const HeatMap& chart) {
  size_t columns = 0;
  double top = 0;
  for (const auto& row : chart.rows) {
    columns = std::max(columns, row.size());
    for (const double value : row) top = std::max(top, value);
  }
  const double width =
      (kWidth - kRight - kLeft) / static_cast<double>(std::max<size_t>(columns, 1));
  const double height =
      (kHeight - kBottom - kTop) / static_cast<double>(std::max<size_t>(chart.rows.size(), 1));
  std::array<std::string, kShades + 1> paths;
  for (size_t row = 0; row < chart.rows.size(); ++row) {
    for (size_t column = 0; column < chart.rows[row].size(); ++column) {
      const double share = top > 0 ? chart.rows[row][column] / top : 0;
      paths[static_cast<size_t>(std::ceil(share * kShades))] += fmt::format(
          "M{:.1f} {:.1f}h{:.1f}v{:.1f}h-{:.1f}z", kLeft + width * static_cast<double>(column),
          kTop + height * static_cast<double>(row), width, height, width);
    }
  }
  std::string body;
  for (size_t shade = 1; shade <= kShades; ++shade) {
    body += fmt::format("<path fill=\"var(--c0)\" fill-opacity=\"{:.2f}\" d=\"{}\"/>",
                        static_cast<double>(shade) / kShades, paths[shade]);
  }
  body += fmt::format(
      "<rect class=\"rule\" fill=\"none\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"/>", kLeft,
      kTop, kWidth - kRight - kLeft, kHeight - kBottom - kTop);
  body += label(kLeft, kHeight - kBottom + 16, "start", "0");
  body += label(kWidth - kRight, kHeight - kBottom + 16, "end",
                fmt::format("{}", columns > 0 ? columns - 1 : 0));
  body += label(kLeft - 8, kTop + 12, "end", "0");
  body += label(kLeft - 8, kHeight - kBottom, "end",
                fmt::format("{}", chart.rows.empty() ? 0 : chart.rows.size() - 1));
  body += axis_names(chart.x_label, chart.y_label);
  figure(chart.title, chart.description, body);
}

std::string HtmlPage::text() const {
  return fmt::format(
      "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta "
      "name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n<title>{0}</title>\n"
      "<style>{1}</style>\n</head>\n<body>\n<h1>{0}</h1>\n{2}</body>\n</html>\n",
      title_, kStyle, body_);
}

}  // namespace switchyard
