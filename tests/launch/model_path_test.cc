#include "launch/model_path.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/launch/fake_tree.h"

namespace switchyard {
namespace {

using testing::AllOf;
using testing::HasSubstr;

constexpr const char* kFirst = "aaaa1111aaaa1111aaaa1111aaaa1111aaaa1111";
constexpr const char* kSecond = "aaaa2222aaaa2222aaaa2222aaaa2222aaaa2222";

class HubTest : public testing::Test {
 protected:
  HubTest() {
    put("refs/main", std::string(kFirst) + "\n");
    put("refs/refs/pr/3", kSecond);
    put(std::string("snapshots/") + kFirst + "/config.json", "{}");
    put(std::string("snapshots/") + kSecond + "/config.json", "{}");
    environment_.hf_hub_cache = tree_.path("hub");
  }
  void put(const std::string& name, const std::string& text) {
    tree_.file("hub/models--org--Model.1/" + name, text);
  }
  std::string snapshot(const char* hash) {
    return tree_.path(std::string("hub/models--org--Model.1/snapshots/") + hash);
  }
  Error error_of(const std::string& model) {
    const auto path = resolve_model(model, environment_);
    if (!path) return path.error();
    ADD_FAILURE() << model << " was found: " << *path;
    return {};
  }

  FakeTree tree_;
  HubEnvironment environment_;
};

TEST_F(HubTest, FindsMainRefsAndCommits) {
  EXPECT_EQ(*resolve_model("org/Model.1", environment_), snapshot(kFirst));
  EXPECT_EQ(*resolve_model("org/Model.1@main", environment_), snapshot(kFirst));
  EXPECT_EQ(*resolve_model("org/Model.1@refs/pr/3", environment_), snapshot(kSecond));
  EXPECT_EQ(*resolve_model(std::string("org/Model.1@") + kSecond, environment_), snapshot(kSecond));
  EXPECT_EQ(*resolve_model("org/Model.1@aaaa2", environment_), snapshot(kSecond));
}

TEST_F(HubTest, RefusesAnAmbiguousCommit) {
  const Error error = error_of("org/Model.1@aaaa");
  EXPECT_EQ(error.code, Code::kUsage);
  EXPECT_THAT(error.hint, AllOf(HasSubstr(kFirst), HasSubstr(kSecond)));
}

TEST_F(HubTest, ListsRevisionsWhenOneIsMissing) {
  const Error error = error_of("org/Model.1@v2");
  EXPECT_EQ(error.code, Code::kNoInput);
  EXPECT_THAT(error.what, HasSubstr("'v2'"));
  EXPECT_THAT(error.hint, AllOf(HasSubstr("main"), HasSubstr("refs/pr/3"), HasSubstr("aaaa1111")));
}

TEST_F(HubTest, SaysWhereItLooked) {
  const Error error = error_of("org/Other");
  EXPECT_EQ(error.code, Code::kNoInput);
  EXPECT_THAT(error.hint, HasSubstr(tree_.path("hub")));
}

TEST_F(HubTest, RefusesARefThatLeavesTheCache) {
  put("refs/evil", "../../../..");
  EXPECT_EQ(error_of("org/Model.1@evil").code, Code::kBadData);
}

TEST_F(HubTest, RefOfAMissingSnapshotIsNoInput) {
  put("refs/gone", "cccc3333");
  const Error error = error_of("org/Model.1@gone");
  EXPECT_EQ(error.code, Code::kNoInput);
  EXPECT_THAT(to_line(error), AllOf(HasSubstr("'gone'"), HasSubstr("snapshots/cccc3333")));
}

TEST_F(HubTest, RefusesASnapshotWithNothingButGguf) {
  tree_.file("hub/models--org--G/refs/main", "dddd4444");
  tree_.file("hub/models--org--G/snapshots/dddd4444/model-q4.gguf", "GGUF");
  const Error error = error_of("org/G");
  EXPECT_EQ(error.code, Code::kConfig);
  EXPECT_THAT(to_line(error), AllOf(HasSubstr("GGUF"), HasSubstr("model-q4.gguf")));
}

TEST_F(HubTest, AnExistingPathComesFirst) {
  tree_.file("here/config.json", "{}");
  EXPECT_EQ(*resolve_model(tree_.path("here"), environment_), tree_.path("here"));
  tree_.file("weights.bin", "GGUF then more");
  EXPECT_EQ(error_of(tree_.path("weights.bin")).code, Code::kConfig);
}

TEST_F(HubTest, AFileIsAPackOrNoModel) {
  tree_.file("notes.txt", "no model");
  EXPECT_EQ(error_of(tree_.path("notes.txt")).code, Code::kBadData);
  tree_.file("empty.pack", "");
  EXPECT_EQ(error_of(tree_.path("empty.pack")).code, Code::kBadData);
  tree_.file("cut.pack", "SWYDPACK");
  EXPECT_EQ(*resolve_model(tree_.path("cut.pack"), environment_), tree_.path("cut.pack"));
}

TEST_F(HubTest, WhatIsNeitherPathNorNameIsNoInput) {
  for (const char* model : {"nothing", "a/b/c/d", "/no/such", "../org/Model.1x", "org/", ""}) {
    EXPECT_EQ(error_of(model).code, Code::kNoInput) << model;
  }
}

TEST(HubName, IsOrganisationNameAndRevision) {
  const auto name = parse_hub_name("Qwen/Qwen3-30B-A3B");
  ASSERT_TRUE(name);
  EXPECT_EQ(name->organisation, "Qwen");
  EXPECT_EQ(name->name, "Qwen3-30B-A3B");
  EXPECT_EQ(name->revision, "main");
}

TEST(HubName, HasNoPartThatClimbsOut) {
  for (const char* bad : {"../x", "x/..", "./x", "a/b@..", "a/b@../c", "a/b@c//d", "a/b@", "a@b/c",
                          "/a/b", "a/b@/etc", "a--b/c", "a/b c", "a/b\n"}) {
    EXPECT_FALSE(parse_hub_name(bad)) << bad;
  }
}

TEST(HubFolder, FollowsTheVariablesInTheirOrder) {
  HubEnvironment environment;
  EXPECT_FALSE(environment.hub_folder());
  environment.home = "/h";
  EXPECT_EQ(*environment.hub_folder(), "/h/.cache/huggingface/hub");
  environment.xdg_cache_home = "/x";
  EXPECT_EQ(*environment.hub_folder(), "/x/huggingface/hub");
  environment.hf_home = "~/hf";
  EXPECT_EQ(*environment.hub_folder(), "/h/hf/hub");
  environment.hf_hub_cache = "/c";
  EXPECT_EQ(*environment.hub_folder(), "/c");
}

}  // namespace
}  // namespace switchyard
