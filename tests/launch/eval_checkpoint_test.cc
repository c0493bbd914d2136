#include "launch/eval_checkpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <filesystem>

#include "launch/eval_tally.h"
#include "runtime/base/byte_fields.h"
#include "runtime/base/prng.h"
#include "tests/storage/temp_folder.h"

namespace switchyard {
namespace {

using testing::HasSubstr;

constexpr uint32_t kVocab = 7;
constexpr size_t kRows = 100;

const EvalSubject kSubject{
    .build = "a build", .model = "a model", .context = 8, .stride = 4, .text = 0};

// A row of logits and the id behind it.
std::vector<float> row_logits(size_t row) {
  Prng prng(row);
  std::vector<float> logits(kVocab);
  for (float& logit : logits) logit = static_cast<float>(prng.below(1000)) / 100;
  return logits;
}
TokenId id_at(size_t position) { return static_cast<TokenId>(position * position % kVocab); }

void take_rows(EvalTally& tally, size_t end) {
  for (size_t row = tally.figures().rows; row < end; ++row) {
    tally.take(row_logits(row), id_at(row + 1));
  }
}

void pass_over(EvalTally& tally, size_t end) {
  for (size_t position = 0; position < end; ++position) {
    const TokenId id = id_at(position);
    tally.pass_over({&id, 1});
  }
}

std::string sample() {
  EvalFigures figures;
  figures.rows = figures.scored = 3;
  figures.nll_sum = 0.1 + 0.2;
  figures.logits.update(as_bytes("logits"));
  return encode_checkpoint(kSubject, figures).value();
}

std::string with_checksum(std::string bytes) {
  bytes.resize(bytes.size() - sizeof(uint64_t));
  put(bytes, hash_text(bytes));
  return bytes;
}

Error error_of(const std::string& bytes) { return parse_checkpoint(bytes, "a file").error(); }

TEST(EvalCheckpoint, ComesBackToTheBit) {
  const EvalCheckpoint read = parse_checkpoint(sample(), "a file").value();
  EXPECT_TRUE(check_subject(read.subject, kSubject, "a file"));
  EXPECT_EQ(read.figures.rows, 3U);
  EXPECT_EQ(std::bit_cast<uint64_t>(read.figures.nll_sum), std::bit_cast<uint64_t>(0.1 + 0.2));
  EXPECT_EQ(encode_checkpoint(read.subject, read.figures).value(), sample());
}

TEST(EvalCheckpoint, DamageIsFoundWhereverItIs) {
  const std::string whole = sample();
  for (size_t at = 0; at < whole.size(); ++at) {
    EXPECT_FALSE(parse_checkpoint(whole.substr(0, at), "a file")) << at;
    std::string flipped = whole;
    flipped[at] = static_cast<char>(flipped[at] ^ 4);
    EXPECT_FALSE(parse_checkpoint(flipped, "a file")) << at;
  }
  EXPECT_EQ(error_of(whole.substr(0, 40)).code, Code::kBadData);
  EXPECT_THAT(error_of(whole + "x").what, HasSubstr("damaged"));
  EXPECT_THAT(error_of("{}").what, HasSubstr("no checkpoint"));
  std::string later = whole;
  later[16] = 2;
  EXPECT_EQ(error_of(with_checksum(later)).code, Code::kUsage);
  EXPECT_THAT(error_of(with_checksum(later)).what, HasSubstr("version 2"));
}

TEST(EvalCheckpoint, ImpossibleFiguresAreRefused) {
  EvalFigures figures;
  figures.rows = 2;  // none scored
  EXPECT_EQ(error_of(encode_checkpoint(kSubject, figures).value()).code, Code::kBadData);
  figures.rows = 0;
  EvalSubject subject = kSubject;
  subject.stride = 9;
  EXPECT_EQ(error_of(encode_checkpoint(subject, figures).value()).code, Code::kBadData);
}

TEST(EvalCheckpoint, WhatDiffersIsNamed) {
  const auto told = [](EvalSubject now) {
    const auto error = check_subject(kSubject, now, "a file").error();
    EXPECT_EQ(error.code, Code::kUsage);
    EXPECT_FALSE(error.hint.empty());
    return error.what;
  };
  EvalSubject now = kSubject;
  now.model = "m";
  EXPECT_THAT(told(now), HasSubstr("another model"));
  now = kSubject;
  now.stride = 8;
  EXPECT_THAT(told(now), HasSubstr("stride 4, not 8, 8"));
  now = kSubject;
  now.build = "a later build";
  EXPECT_THAT(told(now), HasSubstr("a build, this is a later build"));
}

TEST(EvalTally, GoesOnAsIfNothingHadHappened) {
  const TempFolder folder;
  const std::string path = folder / "book.eval";
  EvalTally whole = EvalTally::open(std::nullopt, kSubject).value();
  take_rows(whole, kRows);
  for (size_t end = 0; end <= kRows; end += 9) {
    EvalTally tally = EvalTally::open(path, kSubject).value();
    pass_over(tally, tally.rows_before() + 1);
    ASSERT_TRUE(tally.check_text());
    take_rows(tally, end);
    ASSERT_TRUE(tally.save());
  }
  EvalTally last = EvalTally::open(path, kSubject).value();
  EXPECT_EQ(last.rows_before(), kRows - kRows % 9);
  take_rows(last, kRows);
  EXPECT_EQ(last.figures().logits.digest(), whole.figures().logits.digest());
  EXPECT_EQ(std::bit_cast<uint64_t>(last.figures().nll_sum),
            std::bit_cast<uint64_t>(whole.figures().nll_sum));
  EXPECT_EQ(last.figures().scored, kRows);
}

TEST(EvalTally, KnowsItsText) {
  const TempFolder folder;
  const std::string path = folder / "book.eval";
  {
    EvalTally tally = EvalTally::open(path, kSubject).value();
    pass_over(tally, 1);
    take_rows(tally, 20);
    ASSERT_TRUE(tally.save());
  }
  EvalTally shorter = EvalTally::open(path, kSubject).value();
  pass_over(shorter, 20);
  EXPECT_THAT(shorter.check_text().error().what, HasSubstr("another text"));
  EvalTally other = EvalTally::open(path, kSubject).value();
  pass_over(other, 20);
  const TokenId id = id_at(20) + 1;
  other.pass_over({&id, 1});
  EXPECT_THAT(other.check_text().error().what, HasSubstr("another text"));
}

TEST(EvalTally, IsMadeAtOnceAndTakesWhatAKilledOneLeft) {
  const TempFolder folder;
  const std::string path = folder / "book.eval";
  write_text(path + ".partial", "half of ano");
  ASSERT_TRUE(EvalTally::open(path, kSubject));
  EXPECT_TRUE(std::filesystem::exists(path));
  EXPECT_FALSE(std::filesystem::exists(path + ".partial"));
  EvalSubject other = kSubject;
  other.context = 4;
  ASSERT_TRUE(EvalTally::open(path, other));  // nothing is in it yet
  EXPECT_EQ(EvalTally::open(folder / "no/book.eval", kSubject).error().code, Code::kIo);
  EXPECT_EQ(EvalTally::open(folder.path(), kSubject).error().code, Code::kIo);
  write_text(folder / "notes.txt", "mine");
  EXPECT_EQ(EvalTally::open(folder / "notes.txt", kSubject).error().code, Code::kBadData);
  EXPECT_EQ(read_text(folder / "notes.txt"), "mine");
}

}  // namespace
}  // namespace switchyard
