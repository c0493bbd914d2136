#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/base/ids.h"
#include "runtime/base/result.h"

namespace switchyard {

// Token contents by id and ids by content: one arena of bytes, one open-addressed table. Filled by
// one thread, then immutable.
class Vocab {
 public:
  // Ids run up to `id_limit` − 1.
  explicit Vocab(size_t id_limit) : id_limit_(id_limit) {}

  // kBadData for an id outside the limit and for an id or a content that is already there.
  Status insert(std::string_view content, int64_t id, const std::string& where);
  void shrink_to_fit();

  std::optional<TokenId> find(std::string_view content) const;
  // Null for an id without token. The view lives as long as the vocabulary stays as it is.
  std::optional<std::string_view> content(TokenId id) const;
  size_t id_end() const { return entries_.size(); }  // largest id + 1
  size_t size() const { return size_; }              // tokens

 private:
  struct Entry {
    uint32_t offset = kAbsent;
    uint32_t length = 0;
  };
  struct Slot {
    uint32_t tag = 0;  // low bits of the content's hash
    TokenId id = -1;
  };
  static constexpr uint32_t kAbsent = UINT32_MAX;

  const Slot* find_slot(std::string_view content, uint32_t tag) const;
  void grow();

  size_t id_limit_;
  size_t size_ = 0;
  std::string arena_;
  std::vector<Entry> entries_;
  std::vector<Slot> slots_;  // a power of two, at most half full
};

}  // namespace switchyard
