#include "runtime/base/hash.h"

#include <fmt/format.h>
// The members of a hash's state: the library has no call that saves it.
#define XXH_STATIC_LINKING_ONLY
#include <xxhash.h>
#ifdef SWITCHYARD_XXHASH_DISPATCH
#include <xxh_x86dispatch.h>
#endif

#include <bit>
#include <cstring>
#include <new>

#include "runtime/base/byte_fields.h"
#include "runtime/base/check.h"

namespace switchyard {
namespace {

static_assert(std::endian::native == std::endian::little);

template <class T>
std::string_view memory_of(const T& array) {
  return {reinterpret_cast<const char*>(array), sizeof array};
}

// What of the buffer counts: the bytes that wait in it, and behind them the end of those that were
// taken. The others may never have been written.
std::string buffer_of(const XXH3_state_t& xxh) {
  constexpr size_t kStripe = 64;
  const std::string_view memory = memory_of(xxh.buffer);
  std::string buffer(memory.substr(0, xxh.bufferedSize));
  buffer.resize(memory.size() - (xxh.bufferedSize < kStripe ? kStripe - xxh.bufferedSize : 0));
  if (xxh.totalLen <= memory.size()) buffer.resize(memory.size());
  return buffer.append(memory.substr(buffer.size()));
}

std::string version_of(unsigned number) {
  return fmt::format("xxHash {}.{}.{}", number / 10000, number / 100 % 100, number % 100);
}

}  // namespace

uint64_t hash_bytes(std::span<const std::byte> bytes) {
  return XXH3_64bits(bytes.data(), bytes.size());
}

struct Hasher::State {
  XXH3_state_t* xxh = XXH3_createState();
  ~State() { XXH3_freeState(xxh); }
};

Hasher::Hasher() : state_(std::make_unique<State>()) {
  CHECK(state_->xxh != nullptr);
  XXH3_64bits_reset(state_->xxh);
}
Hasher::~Hasher() = default;
Hasher::Hasher(Hasher&&) noexcept = default;
Hasher& Hasher::operator=(Hasher&&) noexcept = default;

void Hasher::update(std::span<const std::byte> bytes) {
  XXH3_64bits_update(state_->xxh, bytes.data(), bytes.size());
}
uint64_t Hasher::digest() const { return XXH3_64bits_digest(state_->xxh); }

// All but what reset() sets: there is a pointer among it.
Result<std::string> Hasher::save() const {
  if (XXH_versionNumber() != XXH_VERSION_NUMBER) {
    return fail(Code::kConfig,
                fmt::format("built for {}, runs with {}", version_of(XXH_VERSION_NUMBER),
                            version_of(XXH_versionNumber())),
                {}, "build switchyard anew");
  }
  const XXH3_state_t& xxh = *state_->xxh;
  std::string out;
  put(out, uint32_t{XXH_VERSION_NUMBER});
  out += memory_of(xxh.acc);
  out += buffer_of(xxh);
  put(out, uint32_t{xxh.bufferedSize});
  put(out, uint64_t{xxh.nbStripesSoFar});
  put(out, uint64_t{xxh.totalLen});
  return out;
}

Result<Hasher> Hasher::of_saved(std::string_view bytes) {
  ByteCursor cursor(bytes);
  const auto version = cursor.number<uint32_t>();
  if (cursor.ok() && version != XXH_versionNumber()) {
    return fail(Code::kUsage,
                fmt::format("was saved with {}, this is {}", version_of(version),
                            version_of(XXH_versionNumber())),
                {}, "go on with the program that saved it");
  }
  Hasher hasher;
  XXH3_state_t& xxh = *hasher.state_->xxh;
  const std::string_view sums = cursor.take(sizeof xxh.acc);
  const std::string_view buffer = cursor.take(sizeof xxh.buffer);
  xxh.bufferedSize = cursor.number<uint32_t>();
  xxh.nbStripesSoFar = cursor.number<uint64_t>();
  xxh.totalLen = cursor.number<uint64_t>();
  // Whatever else they say, the library stays within its buffers.
  const bool all_wait = xxh.totalLen <= sizeof xxh.buffer;
  const bool fits = all_wait ? xxh.bufferedSize == xxh.totalLen
                             : xxh.bufferedSize > 0 && xxh.bufferedSize <= sizeof xxh.buffer;
  if (!cursor.at_end() || !fits || xxh.nbStripesSoFar >= xxh.nbStripesPerBlock) {
    return fail(Code::kBadData, "damaged state of a hash");
  }
  std::memcpy(xxh.acc, sums.data(), sums.size());
  std::memcpy(xxh.buffer, buffer.data(), buffer.size());
  return hasher;
}

std::string hash_hex(uint64_t hash) { return fmt::format("{:016x}", hash); }

}  // namespace switchyard
