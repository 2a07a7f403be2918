#pragma once
// Functions that have no vector code: one element at a time, by the C library or by what it lacks.
#include <math.h>

#include <type_traits>

#include "cpu/vec.h"

namespace dd2424::cpu::DD2424_ISA {
namespace {

#include "core/scalar_functions.h"

template <class T>
inline T log_gamma(T x) {  // lgamma without its global sign
  int sign;
  if constexpr (std::is_same_v<T, float>) return ::lgammaf_r(x, &sign);
  else return ::lgamma_r(x, &sign);
}

}  // namespace
}  // namespace dd2424::cpu::DD2424_ISA
