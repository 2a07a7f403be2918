#pragma once
// Lanes picked from a row, each by an offset of its own.
#include "cpu/vec.h"

namespace dd2424::cpu::DD2424_ISA {
namespace {

template <class T>
using Offsets = Vec<typename SignedOf<sizeof(T)>::Type>;

// Lane l is row[offset[l]], from two vectors that stand side by side: 0 <= offset < 2 * kLanes.
template <class T>
inline Vec<T> pick_near(const T* row, Offsets<T> offset) {
#if defined(__AVX512F__)
  if constexpr (sizeof(T) == 4)
    return (Vec<T>)_mm512_permutex2var_ps((__m512)load(row), (__m512i)offset, (__m512)load(row + kLanes<T>));
  if constexpr (sizeof(T) == 8)
    return (Vec<T>)_mm512_permutex2var_pd((__m512d)load(row), (__m512i)offset, (__m512d)load(row + kLanes<T>));
#elif defined(__AVX2__)
  if constexpr (sizeof(T) == 4) {
    const __m256 low = _mm256_permutevar8x32_ps((__m256)load(row), (__m256i)offset);
    const __m256 high = _mm256_permutevar8x32_ps((__m256)load(row + kLanes<T>), (__m256i)offset);
    return (Vec<T>)_mm256_blendv_ps(low, high, (__m256)(offset << 28));  // the sign bit tells: offset >= 8
  }
#endif
  Vec<T> v{};
  for (int l = 0; l < kLanes<T>; ++l) v[l] = row[offset[l]];
  return v;
}

// Likewise from anywhere in the row.
template <class T>
inline Vec<T> pick(const T* row, Offsets<T> offset) {
#if defined(__AVX512F__)
  if constexpr (sizeof(T) == 4)
    return (Vec<T>)_mm512_mask_i32gather_ps((__m512)Vec<T>{}, __mmask16(0xffff), (__m512i)offset, row, 4);
  if constexpr (sizeof(T) == 8)
    return (Vec<T>)_mm512_mask_i64gather_pd((__m512d)Vec<T>{}, __mmask8(0xff), (__m512i)offset, row, 8);
#elif defined(__AVX2__)
  const __m256i all = _mm256_set1_epi32(-1);
  if constexpr (sizeof(T) == 4)
    return (Vec<T>)_mm256_mask_i32gather_ps((__m256)Vec<T>{}, row, (__m256i)offset, (__m256)all, 4);
  if constexpr (sizeof(T) == 8)
    return (Vec<T>)_mm256_mask_i64gather_pd((__m256d)Vec<T>{}, row, (__m256i)offset, (__m256d)all, 8);
#endif
  Vec<T> v{};
  for (int l = 0; l < kLanes<T>; ++l) v[l] = row[offset[l]];
  return v;
}

}  // namespace
}  // namespace dd2424::cpu::DD2424_ISA
