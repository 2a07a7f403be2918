#pragma once
// Which elements have passed a ReLU, a bit each, as batch norm with a residual keeps them for its way back: y itself
// would tell as well, and is 32 times as much to read. Rows of bits start at a whole byte (keeps_passed in
// core/norm.h).
#include <string.h>

#include "cpu/vec.h"

namespace dd2424::cpu::DD2424_ISA {
namespace {

// Bit i: whether lane i is above 0, or NaN.
template <class L>
inline std::uint32_t passed_lanes(Vec<L> v) {
#if defined(__AVX512F__)
  if constexpr (sizeof(L) == 4) return _mm512_cmp_ps_mask((__m512)v, __m512{}, _CMP_NLE_UQ);
  else return _mm512_cmp_pd_mask((__m512d)v, __m512d{}, _CMP_NLE_UQ);
#else
  const auto stopped = v <= Vec<L>{};
  std::uint32_t bits = 0;
#if defined(__AVX2__)
  if constexpr (sizeof(L) == 4) bits = static_cast<std::uint32_t>(_mm256_movemask_ps((__m256)stopped));
  else bits = static_cast<std::uint32_t>(_mm256_movemask_pd((__m256d)stopped));
#elif defined(__SSE2__)
  if constexpr (sizeof(L) == 4) bits = static_cast<std::uint32_t>(_mm_movemask_ps((__m128)stopped));
  else bits = static_cast<std::uint32_t>(_mm_movemask_pd((__m128d)stopped));
#else
  for (int i = 0; i < kLanes<L>; ++i) bits |= std::uint32_t(stopped[i] != 0) << i;
#endif
  return ~bits & ((1u << kLanes<L>)-1);
#endif
}

// v in the lanes whose bit is set, else 0
template <class L>
inline Vec<L> keep_passed(Vec<L> v, std::uint32_t bits) {
#if defined(__AVX512F__)
  if constexpr (sizeof(L) == 4) return (Vec<L>)_mm512_maskz_mov_ps(static_cast<__mmask16>(bits), (__m512)v);
  else return (Vec<L>)_mm512_maskz_mov_pd(static_cast<__mmask8>(bits), (__m512d)v);
#else
  decltype(v <= v) of_lane{};
  for (int i = 0; i < kLanes<L>; ++i) of_lane[i] = 1 << i;
  return (of_lane & static_cast<int>(bits)) != 0 ? v : Vec<L>{};
#endif
}

// The bits of the lanes at element `place`, a multiple of kLanes. Where several vectors share a byte, they are put in
// their order, and the first clears it.
template <class L>
inline void put_passed(std::uint8_t* to, Index place, std::uint32_t bits) {
  to += place / 8;
  if constexpr (kLanes<L> == 16) {
    const auto both = static_cast<std::uint16_t>(bits);
    memcpy(to, &both, 2);
  } else {
    const Index shift = place % 8;
    *to = static_cast<std::uint8_t>((shift == 0 ? 0u : *to) | bits << shift);
  }
}
template <class L>
inline std::uint32_t passed_at(const std::uint8_t* from, Index place) {
  from += place / 8;
  if constexpr (kLanes<L> == 16) {
    std::uint16_t both;
    memcpy(&both, from, 2);
    return both;
  }
  return static_cast<std::uint32_t>(*from >> place % 8);
}

}  // namespace
}  // namespace dd2424::cpu::DD2424_ISA
