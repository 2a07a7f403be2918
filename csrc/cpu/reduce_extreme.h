#pragma once
// The largest and the smallest of terms, a NaN counting for more than any.
#include "cpu/math.h"

namespace dd2424::cpu::DD2424_ISA {

// The larger (smaller) lane; b where one is a NaN.
template <bool largest, class V>
inline V extreme_or_second(V a, V b) {
#if defined(__AVX512F__)
  if constexpr (std::is_same_v<V, Vec<float>>)
    return (V)(largest ? _mm512_maskz_max_ps(0xffff, (__m512)a, (__m512)b)
                       : _mm512_maskz_min_ps(0xffff, (__m512)a, (__m512)b));
  if constexpr (std::is_same_v<V, Vec<double>>)
    return (V)(largest ? _mm512_maskz_max_pd(0xff, (__m512d)a, (__m512d)b)
                       : _mm512_maskz_min_pd(0xff, (__m512d)a, (__m512d)b));
#elif defined(__AVX2__)
  if constexpr (std::is_same_v<V, Vec<float>>)
    return (V)(largest ? _mm256_max_ps((__m256)a, (__m256)b) : _mm256_min_ps((__m256)a, (__m256)b));
  if constexpr (std::is_same_v<V, Vec<double>>)
    return (V)(largest ? _mm256_max_pd((__m256d)a, (__m256d)b) : _mm256_min_pd((__m256d)a, (__m256d)b));
#elif defined(__SSE2__)
  if constexpr (std::is_same_v<V, Vec<float>>)
    return (V)(largest ? _mm_max_ps((__m128)a, (__m128)b) : _mm_min_ps((__m128)a, (__m128)b));
  if constexpr (std::is_same_v<V, Vec<double>>)
    return (V)(largest ? _mm_max_pd((__m128d)a, (__m128d)b) : _mm_min_pd((__m128d)a, (__m128d)b));
#endif
  return (largest ? a > b : a < b) ? a : b;
}

// The larger (smaller), or the NaN of either.
template <bool largest, class V>
inline V extreme_of(V a, V b) {
  if constexpr (std::is_arithmetic_v<V>) {
    const V extreme = (largest ? b <= a : b >= a) ? a : b;
    return a != a ? a : extreme;
  } else {
    const V extreme = extreme_or_second<largest>(b, a);
    if constexpr (std::is_floating_point_v<Element<V>>) return b != b ? b : extreme;
    else return extreme;
  }
}

// Whether a lane of the result of a comparison is set.
template <class V>
inline bool any_lane(V hits) {
#if defined(__AVX512F__)
  return _mm512_test_epi32_mask((__m512i)hits, (__m512i)hits) != 0;
#elif defined(__AVX2__)
  return !_mm256_testz_si256((__m256i)hits, (__m256i)hits);
#elif defined(__SSE2__)
  return _mm_movemask_epi8((__m128i)hits) != 0;
#else
  const auto words = __builtin_bit_cast(Vec<std::int64_t>, hits);
  return (words[0] | words[1]) != 0;
#endif
}

}  // namespace dd2424::cpu::DD2424_ISA
