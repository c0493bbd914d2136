#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <csignal>
#include <filesystem>
#include <vector>

#include "runtime/base/hash.h"
#include "storage/pack_reader.h"
#include "storage/pack_writer.h"
#include "tests/storage/temp_folder.h"

namespace switchyard {
namespace {

struct Content {
  std::string name;
  std::string bytes;
  PackAttributes attributes;
};

const std::vector<Content> kContents = {
    {"config.json", "{}", {}},
    {"dense/embedding", random_text(5000, 1), {{"dtype", "F32"}}},
    {"empty", "", {}},
    {"expert/0/0", random_text(4096, 2), {{"rows", "4"}}},
    {"expert/0/1", random_text(9001, 3), {{"rows", "9"}}}};

class PackTest : public testing::Test {
 protected:
  PackWriter writer(const std::string& fingerprint = "source 1") {
    auto made = PackWriter::create(path_, fingerprint);
    if (!made) throw std::runtime_error(to_line(made.error()));
    return *std::move(made);
  }

  // Adds what is missing of the first `count` contents.
  static void add_missing(PackWriter& writer, size_t count = kContents.size()) {
    for (size_t i = 0; i < count; ++i) {
      const Content& content = kContents[i];
      if (writer.has(content.name)) continue;
      ASSERT_TRUE(writer.add(content.name, as_bytes(content.bytes), content.attributes));
    }
  }

  std::string complete_pack() {
    PackWriter made = writer();
    add_missing(made);
    EXPECT_TRUE(made.finish().has_value());
    return read_text(path_);
  }

  // The error of opening and verifying the pack.
  Error damage() {
    const auto reader = PackReader::open(path_);
    if (!reader) return reader.error();
    const Status status = reader->verify();
    if (status) return {Code::kFailed, "no damage found", {}, {}};
    return status.error();
  }

  TempFolder folder_;
  const std::string path_ = folder_ / "model.pack";
  const std::string partial_ = path_ + ".partial";
  const std::string journal_ = path_ + ".partial.journal";
};

TEST_F(PackTest, RoundTrip) {
  complete_pack();
  EXPECT_FALSE(std::filesystem::exists(partial_));
  EXPECT_FALSE(std::filesystem::exists(journal_));
  EXPECT_TRUE(looks_like_pack(path_));
  const auto reader = PackReader::open(path_);
  ASSERT_TRUE(reader.has_value()) << to_line(reader.error());
  ASSERT_EQ(reader->sections().size(), kContents.size());
  for (const Content& content : kContents) {
    const PackSection* section = reader->find(content.name);
    ASSERT_NE(section, nullptr) << content.name;
    EXPECT_EQ(section->offset % kPageBytes, 0u);
    EXPECT_EQ(section->attributes, content.attributes);
    EXPECT_EQ(section->hash, hash_bytes(as_bytes(content.bytes)));
    EXPECT_EQ(reader->read(*section).value(), content.bytes);
  }
  EXPECT_EQ(reader->find("expert/0/2"), nullptr);
  uint64_t last = 0;
  const uint64_t size = reader->file().size_bytes();
  EXPECT_TRUE(reader->verify([&](uint64_t done, uint64_t all) {
    EXPECT_GE(done, last);
    EXPECT_EQ(all, size);
    last = done;
  }));
  EXPECT_EQ(last, size);
}

TEST_F(PackTest, EmptyPack) {
  PackWriter made = writer();
  ASSERT_TRUE(made.finish().has_value());
  const auto reader = PackReader::open(path_);
  ASSERT_TRUE(reader.has_value()) << to_line(reader.error());
  EXPECT_TRUE(reader->sections().empty());
  EXPECT_TRUE(reader->verify().has_value());
}

TEST_F(PackTest, PiecesGiveTheSameFile) {
  const std::string whole = complete_pack();
  std::filesystem::remove(path_);
  PackWriter made = writer();
  for (const Content& content : kContents) {
    ASSERT_TRUE(made.begin(content.name, content.attributes));
    for (size_t at = 0; at < content.bytes.size(); at += 1000) {
      ASSERT_TRUE(made.append(as_bytes(std::string_view(content.bytes).substr(at, 1000))));
    }
    ASSERT_TRUE(made.end());
  }
  ASSERT_TRUE(made.finish());
  EXPECT_TRUE(read_text(path_) == whole);
}

TEST_F(PackTest, NothingBearsTheNameBeforeTheEnd) {
  PackWriter made = writer();
  add_missing(made);
  EXPECT_FALSE(std::filesystem::exists(path_));
  EXPECT_FALSE(looks_like_pack(partial_));
}

TEST_F(PackTest, ResumesAfterEachSection) {
  const std::string whole = complete_pack();
  for (size_t count = 0; count <= kContents.size(); ++count) {
    std::filesystem::remove(path_);
    {
      PackWriter interrupted = writer();
      add_missing(interrupted, count);
      if (count < kContents.size()) {
        ASSERT_TRUE(interrupted.begin("half", {}));
        ASSERT_TRUE(interrupted.append(as_bytes("half a section")));
      }
    }
    PackWriter resumed = writer();
    EXPECT_FALSE(resumed.has("half"));
    uint64_t kept = 0;
    for (size_t i = 0; i < kContents.size(); ++i) {
      EXPECT_EQ(resumed.has(kContents[i].name), i < count);
      if (i < count) kept += kContents[i].bytes.size();
    }
    EXPECT_EQ(resumed.resumed_bytes(), kept);
    add_missing(resumed);
    ASSERT_TRUE(resumed.finish());
    EXPECT_TRUE(read_text(path_) == whole);
  }
}

// A crash may leave any prefix of the journal beside any prefix of the data.
TEST_F(PackTest, ResumesWhateverTheCrashLeft) {
  const std::string whole = complete_pack();
  std::string data;
  std::string journal;
  {
    PackWriter interrupted = writer();
    add_missing(interrupted);
    data = read_text(partial_);
    journal = read_text(journal_);
  }
  const auto resume = [&](std::string_view data_left, std::string_view journal_left) {
    write_text(partial_, data_left);
    write_text(journal_, journal_left);
    PackWriter resumed = writer();
    add_missing(resumed);
    ASSERT_TRUE(resumed.finish());
    ASSERT_TRUE(read_text(path_) == whole) << data_left.size() << " " << journal_left.size();
  };
  for (size_t size = 0; size < journal.size(); size += 11) resume(data, journal.substr(0, size));
  for (size_t size = 0; size < data.size(); size += 487) resume(data.substr(0, size), journal);
  resume(whole, journal);  // all written, not yet renamed
  for (size_t at = 0; at < data.size(); at += 487) {
    std::string damaged = data;
    damaged[at] ^= 1;
    resume(damaged, journal);
  }
  for (size_t at = 0; at < journal.size(); at += 11) {
    std::string damaged = journal;
    damaged[at] ^= 1;
    resume(data, damaged);
  }
}

// As a writer leaves it that is killed between naming the pack and removing the journal.
TEST_F(PackTest, AJournalLeftBesideTheFinishedPack) {
  std::string journal;
  {
    PackWriter made = writer();
    add_missing(made);
    journal = read_text(journal_);
    ASSERT_TRUE(made.finish());
  }
  const std::string whole = read_text(path_);
  for (const char* fingerprint : {"source 1", "source 2"}) {
    write_text(journal_, journal);
    const auto reader = PackReader::open(path_);
    ASSERT_TRUE(reader.has_value()) << to_line(reader.error());
    EXPECT_TRUE(reader->verify().has_value());
    PackWriter again = writer(fingerprint);
    EXPECT_EQ(again.resumed_bytes(), 0u);
    EXPECT_TRUE(read_text(path_) == whole);  // until the next is finished
    add_missing(again);
    ASSERT_TRUE(again.finish());
    EXPECT_TRUE(read_text(path_) == whole);
    EXPECT_FALSE(std::filesystem::exists(journal_));
    EXPECT_FALSE(std::filesystem::exists(partial_));
  }
}

TEST_F(PackTest, AJournalGoesOnceItsPackIsFinished) {
  write_text(journal_, "left");
  remove_journal_of_finished(path_);
  EXPECT_TRUE(std::filesystem::exists(journal_));  // there is no pack
  complete_pack();
  write_text(journal_, "left");
  write_text(partial_, "begun");
  remove_journal_of_finished(path_);
  EXPECT_TRUE(std::filesystem::exists(journal_));  // of the one that is being written
  std::filesystem::remove(partial_);
  remove_journal_of_finished(path_);
  EXPECT_FALSE(std::filesystem::exists(journal_));
  remove_journal_of_finished(path_);
  EXPECT_TRUE(std::filesystem::exists(path_));
}

TEST_F(PackTest, AnotherSourceStartsAnew) {
  {
    PackWriter interrupted = writer("source 1");
    add_missing(interrupted, 2);
  }
  PackWriter made = writer("source 2");
  EXPECT_FALSE(made.has(kContents[0].name));
  EXPECT_EQ(made.resumed_bytes(), 0u);
  EXPECT_EQ(std::filesystem::file_size(partial_), kPageBytes);
}

TEST_F(PackTest, TwoWritersAreOneTooMany) {
  PackWriter first = writer();
  const auto second = PackWriter::create(path_, "source 1");
  ASSERT_FALSE(second.has_value());
  EXPECT_EQ(second.error().code, Code::kFailed);
  EXPECT_EQ(second.error().where, partial_);
}

TEST_F(PackTest, AnyFlippedBitIsFound) {
  const std::string whole = complete_pack();
  for (size_t at = 0; at < whole.size(); at += at < 64 || at > whole.size() - 400 ? 1 : 41) {
    std::string flipped = whole;
    flipped[at] ^= static_cast<char>(1 << at % 8);
    write_text(path_, flipped);
    const Error error = damage();
    EXPECT_EQ(error.code, Code::kBadData) << at << ": " << to_line(error);
    EXPECT_EQ(error.where, path_) << at;
  }
}

TEST_F(PackTest, DamagedSectionIsNamed) {
  std::string whole = complete_pack();
  const auto reader = PackReader::open(path_).value();
  const PackSection& section = *reader.find("expert/0/1");
  whole[section.offset + 9000] ^= 1;
  write_text(path_, whole);
  const auto read = PackReader::open(path_).value().read(section);
  ASSERT_FALSE(read.has_value());
  EXPECT_EQ(read.error().code, Code::kBadData);
  EXPECT_EQ(read.error().where, path_);
  EXPECT_NE(read.error().what.find("section expert/0/1"), std::string::npos);
  EXPECT_TRUE(reader.read(*reader.find("expert/0/0")).has_value());
}

TEST_F(PackTest, AnyCutIsFound) {
  const std::string whole = complete_pack();
  for (size_t size = 0; size<whole.size(); size += size> whole.size() - 20 ? 1 : 199) {
    write_text(path_, std::string_view(whole).substr(0, size));
    EXPECT_EQ(damage().code, Code::kBadData) << size;
  }
  write_text(path_, whole + '\0');
  EXPECT_EQ(damage().code, Code::kBadData);
  EXPECT_EQ(PackReader::open(folder_ / "absent").error().code, Code::kNoInput);
}

TEST_F(PackTest, ReplacedWhileOpen) {
  complete_pack();
  const auto reader = PackReader::open(path_);
  ASSERT_TRUE(reader.has_value());
  complete_pack();
  const Status status = reader->verify();
  ASSERT_FALSE(status.has_value());
  EXPECT_EQ(status.error().code, Code::kBadData);
  EXPECT_NE(status.error().what.find("replaced"), std::string::npos) << to_line(status.error());
}

// Files can grow to `bytes` while it lives; a write beyond fails as on a full drive.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) : handler_(std::signal(SIGXFSZ, SIG_IGN)) {
    ::getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limited{bytes, before_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &limited);
  }
  FileSizeLimit(const FileSizeLimit&) = delete;
  FileSizeLimit& operator=(const FileSizeLimit&) = delete;
  ~FileSizeLimit() {
    ::setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, handler_);
  }

 private:
  rlimit before_{};
  void (*handler_)(int);
};

TEST_F(PackTest, FullDriveThenResume) {
  const std::string whole = complete_pack();
  std::filesystem::remove(path_);
  Status status;
  {
    const FileSizeLimit limit(5 * kPageBytes);
    PackWriter made = writer();
    for (size_t i = 0; i < kContents.size() && status; ++i) {
      status = made.add(kContents[i].name, as_bytes(kContents[i].bytes), kContents[i].attributes);
    }
  }
  ASSERT_FALSE(status.has_value());
  EXPECT_EQ(status.error().code, Code::kIo);
  EXPECT_EQ(status.error().where, partial_);
  EXPECT_NE(status.error().hint.find("free space"), std::string::npos);
  EXPECT_FALSE(std::filesystem::exists(path_));

  PackWriter resumed = writer();
  EXPECT_TRUE(resumed.has("expert/0/0"));
  EXPECT_FALSE(resumed.has("expert/0/1"));
  add_missing(resumed);
  ASSERT_TRUE(resumed.finish());
  EXPECT_TRUE(read_text(path_) == whole);
}

TEST_F(PackTest, FullDriveForTheJournal) {
  const std::string long_name(2 * kPageBytes, 'n');  // its journal outgrows the data first
  Error error;
  {
    PackWriter made = writer();
    const FileSizeLimit limit(3 * kPageBytes);
    const Status status = made.add(long_name, as_bytes("x"));
    ASSERT_FALSE(status.has_value());
    error = status.error();
  }
  EXPECT_EQ(error.code, Code::kIo);
  EXPECT_EQ(error.where, journal_);
  EXPECT_NE(error.hint.find("free space"), std::string::npos) << to_line(error);

  const std::string fingerprint(4 * kPageBytes, 'f');
  const FileSizeLimit limit(2 * kPageBytes);
  const auto begun = PackWriter::create(path_, fingerprint);
  ASSERT_FALSE(begun.has_value());
  EXPECT_EQ(begun.error().code, Code::kIo);
  EXPECT_EQ(begun.error().where, journal_ + ".new");
  EXPECT_NE(begun.error().hint.find("free space"), std::string::npos) << to_line(begun.error());
  EXPECT_FALSE(std::filesystem::exists(journal_ + ".new"));
}

TEST_F(PackTest, AnOutputThatCannotBeMade) {
  EXPECT_EQ(PackWriter::create(folder_ / "absent/model.pack", "x").error().code, Code::kIo);
  ASSERT_EQ(::chmod(folder_.path().c_str(), 0555), 0);
  Code code = Code::kFailed;
  {
    const WithoutPrivilege guard;
    code = PackWriter::create(path_, "x").error().code;
  }
  ASSERT_EQ(::chmod(folder_.path().c_str(), 0700), 0);
  EXPECT_EQ(code, Code::kPermission);
}

}  // namespace
}  // namespace switchyard
