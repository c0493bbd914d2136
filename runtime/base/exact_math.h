#pragma once

// Transcendentals in double that give the same bits on every machine: no libm. Accurate to a few
// units in the last place of double, far below the fp32 rounding that follows. Arguments outside
// the stated ranges are the caller's bug.

namespace switchyard {

double exact_exp(double x);                      // any x; 0 below −745, +inf above 709.8
double exact_log(double x);                      // x > 0, finite
double exact_pow(double base, double exponent);  // base > 0
double exact_cos(double x);                      // |x| ≤ 2^20
double exact_sin(double x);                      // |x| ≤ 2^20

}  // namespace switchyard
