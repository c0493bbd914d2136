#include "storage/pack_writer.h"

#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <optional>
#include <set>
#include <vector>

#include "runtime/base/byte_fields.h"
#include "runtime/base/check.h"
#include "runtime/base/hash.h"
#include "storage/input_file.h"
#include "storage/output_file.h"
#include "storage/pack_check.h"

namespace switchyard {
namespace {

constexpr uint64_t kJournalBytesMax = 3 * kPackIndexBytesMax;

std::string partial_of(const std::string& path) { return path + ".partial"; }
std::string journal_of(const std::string& path) { return partial_of(path) + ".journal"; }

std::string journal_head(const std::string& fingerprint) {
  return fmt::format("switchyard pack journal {}: {}\n", kPackVersion, fingerprint);
}

// A line of the journal: the section's index entry in hexadecimal, and a hash by which a line that
// was cut or overwritten is known.
std::string journal_line(const PackSection& section) {
  const std::string entry = encode_pack_section(section);
  std::string line;
  for (const char c : entry) line += fmt::format("{:02x}", static_cast<unsigned char>(c));
  return line + " " + hash_hex(hash_text(entry)) + "\n";
}

std::optional<PackSection> parse_journal_line(std::string_view line) {
  const size_t space = line.find(' ');
  if (space == std::string_view::npos || space % 2 != 0) return std::nullopt;
  std::string entry;
  for (size_t i = 0; i < space; i += 2) {
    unsigned byte = 0;
    const char* end = line.data() + i + 2;
    const auto parsed = std::from_chars(line.data() + i, end, byte, 16);
    if (parsed.ec != std::errc() || parsed.ptr != end) return std::nullopt;
    entry += static_cast<char>(byte);
  }
  if (line.substr(space + 1) != hash_hex(hash_text(entry))) return std::nullopt;
  auto section = parse_pack_section(entry, "journal");
  if (!section) return std::nullopt;
  return *std::move(section);
}

}  // namespace

struct PackWriter::State {
  std::string path;
  std::string partial;
  std::string journal;
  UniqueFd fd;
  UniqueFd journal_fd;
  std::vector<PackSection> sections;
  std::set<std::string, std::less<>> names;
  uint64_t end = kPageBytes;  // where the next byte goes
  uint64_t resumed_bytes = 0;
  std::optional<PackSection> open_section;
  Hasher hasher;

  Status start(const std::string& fingerprint);
  Result<std::vector<PackSection>> intact_sections(const std::string& fingerprint) const;
  Status rewind();
  Status restart_journal(const std::string& fingerprint);
  Status pad();
  void keep(PackSection section);
};

Status PackWriter::State::start(const std::string& fingerprint) {
  fd = TRY(open_output(partial, false));
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    return fail(Code::kFailed, "another process is writing it", partial, "wait for it to end");
  }
  struct stat ours {
  }, named{};
  if (::fstat(fd.get(), &ours) != 0 || ::stat(partial.c_str(), &named) != 0 ||
      ours.st_ino != named.st_ino || ours.st_dev != named.st_dev) {
    return fail(Code::kFailed, "another process has just finished it", partial, "run again");
  }
  std::vector<PackSection> intact = TRY(intact_sections(fingerprint));
  for (PackSection& section : intact) {
    resumed_bytes += section.bytes;
    keep(std::move(section));
  }
  TRY_STATUS(rewind());
  return restart_journal(fingerprint);
}

// The sections of an interrupted run of the same source, up to the first that is not whole.
Result<std::vector<PackSection>> PackWriter::State::intact_sections(
    const std::string& fingerprint) const {
  std::vector<PackSection> intact;
  const auto text = read_text_file(journal, kJournalBytesMax);
  const std::string head = journal_head(fingerprint);
  if (!text || !text->starts_with(head)) return intact;
  const std::shared_ptr<InputFile> file = TRY(InputFile::open(partial));
  std::string_view rest = std::string_view(*text).substr(head.size());
  uint64_t expected_offset = kPageBytes;
  for (size_t line_end; (line_end = rest.find('\n')) != std::string_view::npos;) {
    auto section = parse_journal_line(rest.substr(0, line_end));
    rest.remove_prefix(line_end + 1);
    const uint64_t room = file->size_bytes() - std::min(file->size_bytes(), expected_offset);
    if (!section || section->offset != expected_offset || section->bytes > room ||
        !check_pack_section(*file, *section)) {
      break;
    }
    expected_offset = round_up(expected_offset + section->bytes, kPageBytes);
    intact.push_back(*std::move(section));
  }
  return intact;
}

// Cuts the file behind the last section kept and goes there.
Status PackWriter::State::rewind() {
  if (!sections.empty()) end = round_up(sections.back().offset + sections.back().bytes, kPageBytes);
  if (::ftruncate(fd.get(), static_cast<off_t>(end)) != 0) {
    return fail_output(errno, "cannot resize", partial);
  }
  if (::lseek(fd.get(), static_cast<off_t>(end), SEEK_SET) < 0) {
    return fail_output(errno, "cannot seek", partial);
  }
  return {};
}

// Written whole under another name: an interruption here must not lose what is kept.
Status PackWriter::State::restart_journal(const std::string& fingerprint) {
  std::string text = journal_head(fingerprint);
  for (const PackSection& section : sections) text += journal_line(section);
  const std::string fresh = journal + ".new";
  journal_fd = TRY(open_output(fresh, true));
  Status written = write_output(journal_fd.get(), std::as_bytes(std::span(text)), fresh);
  if (written && ::rename(fresh.c_str(), journal.c_str()) != 0) {
    written = fail_output(errno, "cannot name", journal);
  }
  if (!written) ::unlink(fresh.c_str());
  return written;
}

Status PackWriter::State::pad() {
  static constexpr std::byte kZeros[kPageBytes] = {};
  const uint64_t next = round_up(end, kPageBytes);
  TRY_STATUS(write_output(fd.get(), std::span(kZeros).first(next - end), partial));
  end = next;
  return {};
}

void PackWriter::State::keep(PackSection section) {
  names.insert(section.name);
  sections.push_back(std::move(section));
}

Result<PackWriter> PackWriter::create(const std::string& path, const std::string& fingerprint) {
  CHECK(fingerprint.find('\n') == std::string::npos);
  auto state = std::make_unique<State>();
  state->path = path;
  state->partial = partial_of(path);
  state->journal = journal_of(path);
  TRY_STATUS(state->start(fingerprint));
  return PackWriter(std::move(state));
}

PackWriter::PackWriter(std::unique_ptr<State> state) : state_(std::move(state)) {}
PackWriter::PackWriter(PackWriter&&) noexcept = default;
PackWriter& PackWriter::operator=(PackWriter&&) noexcept = default;
PackWriter::~PackWriter() = default;

bool PackWriter::has(std::string_view name) const { return state_->names.contains(name); }
uint64_t PackWriter::resumed_bytes() const { return state_->resumed_bytes; }

Status PackWriter::add(std::string_view name, std::span<const std::byte> bytes,
                       PackAttributes attributes) {
  TRY_STATUS(begin(name, std::move(attributes)));
  TRY_STATUS(append(bytes));
  return end();
}

Status PackWriter::begin(std::string_view name, PackAttributes attributes) {
  CHECK(!state_->open_section && !name.empty());
  CHECK_THAT(!has(name), "section {} again", name);
  state_->open_section = PackSection{std::string(name), state_->end, 0, 0, std::move(attributes)};
  state_->hasher = Hasher();
  return {};
}

Status PackWriter::append(std::span<const std::byte> bytes) {
  CHECK(state_->open_section.has_value());
  TRY_STATUS(write_output(state_->fd.get(), bytes, state_->partial));
  state_->hasher.update(bytes);
  state_->open_section->bytes += bytes.size();
  state_->end += bytes.size();
  return {};
}

Status PackWriter::end() {
  CHECK(state_->open_section.has_value());
  TRY_STATUS(state_->pad());
  PackSection section = *std::move(state_->open_section);
  state_->open_section.reset();
  section.hash = state_->hasher.digest();
  const std::string line = journal_line(section);
  TRY_STATUS(
      write_output(state_->journal_fd.get(), std::as_bytes(std::span(line)), state_->journal));
  state_->keep(std::move(section));
  return {};
}

Status PackWriter::finish() {
  CHECK(!state_->open_section);
  const int fd = state_->fd.get();
  const std::string index = encode_pack_index(state_->sections);
  if (index.size() > kPackIndexBytesMax) {
    return fail(Code::kFailed, fmt::format("index of {} bytes is too large", index.size()),
                state_->path);
  }
  TRY_STATUS(write_output(fd, std::as_bytes(std::span(index)), state_->partial));
  // What the header vouches for must be on the drive before the header is.
  if (::fsync(fd) != 0) return fail_output(errno, "cannot flush", state_->partial);
  const std::string page =
      encode_pack_header({state_->end, index.size(), hash_text(index), state_->end + index.size()});
  if (::lseek(fd, 0, SEEK_SET) < 0) return fail_output(errno, "cannot seek", state_->partial);
  TRY_STATUS(write_output(fd, std::as_bytes(std::span(page)), state_->partial));
  TRY_STATUS(name_output(fd, state_->partial, state_->path));
  // Not before: what is interrupted here leaves a journal that the next writer replaces, but a
  // partial file without its journal would be begun anew.
  ::unlink(state_->journal.c_str());
  flush_folder(state_->path);
  return {};
}

void remove_journal_of_finished(const std::string& path) {
  if (::access(path.c_str(), F_OK) != 0 || ::access(partial_of(path).c_str(), F_OK) == 0) return;
  ::unlink(journal_of(path).c_str());
}

}  // namespace switchyard
