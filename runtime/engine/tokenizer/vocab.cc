#include "runtime/engine/tokenizer/vocab.h"

#include <fmt/core.h>

#include "runtime/base/hash.h"

namespace switchyard {
namespace {

uint32_t tag_of(std::string_view content) {
  return static_cast<uint32_t>(hash_bytes(std::as_bytes(std::span(content))));
}

}  // namespace

Status Vocab::insert(std::string_view content, int64_t id, const std::string& where) {
  if (id < 0 || static_cast<size_t>(id) >= id_limit_) {
    return fail(Code::kBadData, fmt::format("token \"{}\" has id {}, out of range", content, id),
                where);
  }
  const auto index = static_cast<size_t>(id);
  if (index < entries_.size() && entries_[index].offset != kAbsent) {
    return fail(Code::kBadData,
                fmt::format("tokens \"{}\" and \"{}\" both have id {}",
                            *this->content(static_cast<TokenId>(id)), content, id),
                where);
  }
  if (arena_.size() + content.size() >= kAbsent) {
    return fail(Code::kBadData, "the vocabulary is larger than 4 GiB", where);
  }
  if (2 * (size_ + 1) > slots_.size()) grow();
  const uint32_t tag = tag_of(content);
  const Slot* slot = find_slot(content, tag);
  if (slot->id >= 0) {
    return fail(Code::kBadData, fmt::format("token \"{}\" is there twice", content), where);
  }
  slots_[static_cast<size_t>(slot - slots_.data())] = {tag, static_cast<TokenId>(id)};
  if (index >= entries_.size()) entries_.resize(index + 1);
  entries_[index] = {static_cast<uint32_t>(arena_.size()), static_cast<uint32_t>(content.size())};
  arena_ += content;
  ++size_;
  return {};
}

void Vocab::shrink_to_fit() {
  arena_.shrink_to_fit();
  entries_.shrink_to_fit();
}

// The slot that holds `content`, or the free one where it would go.
const Vocab::Slot* Vocab::find_slot(std::string_view content, uint32_t tag) const {
  const size_t mask = slots_.size() - 1;
  for (size_t at = tag & mask;; at = (at + 1) & mask) {
    const Slot& slot = slots_[at];
    if (slot.id < 0 || (slot.tag == tag && *this->content(slot.id) == content)) return &slot;
  }
}

void Vocab::grow() {
  std::vector<Slot> old(std::max<size_t>(64, 2 * slots_.size()));
  old.swap(slots_);
  const size_t mask = slots_.size() - 1;
  for (const Slot& slot : old) {
    if (slot.id < 0) continue;
    size_t at = slot.tag & mask;
    while (slots_[at].id >= 0) at = (at + 1) & mask;
    slots_[at] = slot;
  }
}

std::optional<TokenId> Vocab::find(std::string_view content) const {
  if (slots_.empty()) return std::nullopt;
  const Slot* slot = find_slot(content, tag_of(content));
  if (slot->id < 0) return std::nullopt;
  return slot->id;
}

std::optional<std::string_view> Vocab::content(TokenId id) const {
  const auto index = static_cast<size_t>(id);
  if (id < 0 || index >= entries_.size() || entries_[index].offset == kAbsent) return std::nullopt;
  return std::string_view(arena_).substr(entries_[index].offset, entries_[index].length);
}

}  // namespace switchyard
