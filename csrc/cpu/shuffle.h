#pragma once
// Lanes changing places: pairs of vectors woven and unwoven, squares of vectors transposed.
#include "cpu/vec.h"

namespace dd2424::cpu::DD2424_ISA {
namespace {

template <class V>
constexpr int kLanesOf = sizeof(V) / sizeof((*static_cast<V*>(nullptr))[0]);

// a0 b0 a1 b1 ... from the lower halves of a and b
template <class V>
inline V weave_low(V a, V b) {
  constexpr int lanes = kLanesOf<V>;
  if constexpr (lanes == 2) return __builtin_shufflevector(a, b, 0, 2);
  if constexpr (lanes == 4) return __builtin_shufflevector(a, b, 0, 4, 1, 5);
  if constexpr (lanes == 8) return __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11);
  if constexpr (lanes == 16)
    return __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
}
// the same from the upper halves
template <class V>
inline V weave_high(V a, V b) {
  constexpr int lanes = kLanesOf<V>;
  if constexpr (lanes == 2) return __builtin_shufflevector(a, b, 1, 3);
  if constexpr (lanes == 4) return __builtin_shufflevector(a, b, 2, 6, 3, 7);
  if constexpr (lanes == 8) return __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15);
  if constexpr (lanes == 16)
    return __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
}
// lanes 0, 2, 4 ... of a and b, seen as one vector of twice the length
template <class V>
inline V even_lanes(V a, V b) {
  constexpr int lanes = kLanesOf<V>;
  if constexpr (lanes == 2) return __builtin_shufflevector(a, b, 0, 2);
  if constexpr (lanes == 4) return __builtin_shufflevector(a, b, 0, 2, 4, 6);
  if constexpr (lanes == 8) return __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14);
  if constexpr (lanes == 16)
    return __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
}
template <class V>
inline V odd_lanes(V a, V b) {
  constexpr int lanes = kLanesOf<V>;
  if constexpr (lanes == 2) return __builtin_shufflevector(a, b, 1, 3);
  if constexpr (lanes == 4) return __builtin_shufflevector(a, b, 1, 3, 5, 7);
  if constexpr (lanes == 8) return __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15);
  if constexpr (lanes == 16)
    return __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
}

template <class T>
using LaneNumbers = Vec<typename SignedOf<sizeof(T)>::Type>;
// Lane i of the result is lane numbers[i] of x.
template <class T>
inline Vec<T> pick(Vec<T> x, LaneNumbers<T> numbers) {
#if defined(__clang__)
  Vec<T> y{};
  for (int i = 0; i < kLanes<T>; ++i) y[i] = x[numbers[i]];
  return y;
#else
  return __builtin_shuffle(x, numbers);
#endif
}

// Lane j of vector i goes to lane i of vector j: each round weaves vector i with vector i + half.
template <class V, int N>
inline void transpose(V (&v)[N]) {
  static_assert(N == kLanesOf<V>);
  V w[N];
#pragma GCC unroll 4
  for (int width = 1; width < N; width *= 2) {
#pragma GCC unroll 16
    for (int i = 0; i < N; ++i)
      w[i] = i % 2 ? weave_high(v[i / 2], v[i / 2 + N / 2]) : weave_low(v[i / 2], v[i / 2 + N / 2]);
#pragma GCC unroll 16
    for (int i = 0; i < N; ++i) v[i] = w[i];
  }
}

}  // namespace
}  // namespace dd2424::cpu::DD2424_ISA
