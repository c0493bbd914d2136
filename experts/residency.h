#pragma once

#include <cstdint>

namespace switchyard {

// What a slot holds: nothing, an expert on its way from the drive, one that may be leased, or one
// chosen to go.
enum class Residency : uint8_t { kAbsent, kLoading, kResident, kDraining };

constexpr bool may_become(Residency from, Residency to) {
  switch (from) {
    case Residency::kAbsent:
      return to == Residency::kLoading;
    case Residency::kLoading:
      return to == Residency::kResident || to == Residency::kAbsent;  // absent: the load failed
    case Residency::kResident:
      return to == Residency::kDraining;
    case Residency::kDraining:
      return to == Residency::kAbsent || to == Residency::kResident;  // resident: wanted again
  }
  return false;
}

static_assert(!may_become(Residency::kAbsent, Residency::kResident));   // never without a load
static_assert(!may_become(Residency::kLoading, Residency::kDraining));  // the drive still writes
static_assert(!may_become(Residency::kResident, Residency::kAbsent));   // a lease may be alive
static_assert(!may_become(Residency::kResident, Residency::kLoading));

}  // namespace switchyard
