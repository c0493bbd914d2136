#pragma once

#include <cstdint>

namespace switchyard {

// What a slot holds: nothing, an expert on its way from the drive, one that may be leased, one
// chosen to go, or something that is no expert.
enum class Residency : uint8_t { kAbsent, kLoading, kResident, kDraining, kLent };

constexpr bool may_become(Residency from, Residency to) {
  switch (from) {
    case Residency::kAbsent:
      return to == Residency::kLoading || to == Residency::kLent;
    case Residency::kLoading:
      return to == Residency::kResident || to == Residency::kAbsent;  // absent: the load failed
    case Residency::kResident:
      return to == Residency::kDraining;
    case Residency::kDraining:
      return to == Residency::kAbsent || to == Residency::kResident;  // resident: wanted again
    case Residency::kLent:
      return to == Residency::kAbsent;
  }
  return false;
}

static_assert(!may_become(Residency::kAbsent, Residency::kResident));   // never without a load
static_assert(!may_become(Residency::kLoading, Residency::kDraining));  // the drive still writes
static_assert(!may_become(Residency::kResident, Residency::kAbsent));   // a lease may be alive
static_assert(!may_become(Residency::kResident, Residency::kLoading));
static_assert(!may_become(Residency::kLent, Residency::kResident));

}  // namespace switchyard
