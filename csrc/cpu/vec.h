#pragma once
// The only file that knows how wide a vector is. A kernel written over Vec<T> is compiled once per ISA level.
#include <string.h>

#include <type_traits>

#include "core/types.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace dd2424::cpu::DD2424_ISA {

#if defined(DD2424_ISA_IS_avx512) || defined(DD2424_ISA_IS_avx512_bf16)
constexpr int kVectorBytes = 64;
#elif defined(DD2424_ISA_IS_avx2)
constexpr int kVectorBytes = 32;
#else
constexpr int kVectorBytes = 16;
#endif

template <class T>
concept Arithmetic = std::is_arithmetic_v<T> && !std::is_same_v<T, bool>;
template <Arithmetic T>
struct VecOf {
  typedef T Type __attribute__((vector_size(kVectorBytes)));
};
template <class T>
using Vec = typename VecOf<T>::Type;
template <class T>
constexpr int kLanes = kVectorBytes / sizeof(T);

// The type a kernel computes elements of T in: bfloat16 in float, all others in themselves.
template <class T>
using Lane = Accumulator<T>;

template <Arithmetic T>
inline Vec<T> broadcast(T value) {
  return value - Vec<T>{};
}

template <Arithmetic T>
inline Vec<T> load(const T* p) {
  Vec<T> v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}
template <Arithmetic T>
inline void store(T* p, Vec<T> v) {
  __builtin_memcpy(p, &v, sizeof v);
}
// As load and store, for long walks through memory. A read of half a cache line at a time is what the prefetchers of a
// Zen 4 follow (x + y on 16 MB: 1.3 times as fast), and costs it nothing in the caches.
template <Arithmetic T>
inline Vec<T> load_ahead(const T* p) {
#if defined(__AVX512F__)
  const __m512i low = _mm512_castsi256_si512(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  return (Vec<T>)_mm512_maskz_inserti64x4(0xff, low, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p) + 1), 1);
#else
  return load(p);
#endif
}
// A store around the caches, to an aligned p. end_stores_around() must follow before another thread may look.
template <Arithmetic T>
inline void store_around(T* p, Vec<T> v) {
#if defined(__AVX512F__)
  _mm512_stream_si512(reinterpret_cast<__m512i*>(p), (__m512i)v);
#elif defined(__AVX2__)
  _mm256_stream_si256(reinterpret_cast<__m256i*>(p), (__m256i)v);
#elif defined(__SSE2__)
  _mm_stream_si128(reinterpret_cast<__m128i*>(p), (__m128i)v);
#else
  store(p, v);
#endif
}
inline void end_stores_around() {
#if defined(__SSE2__)
  _mm_sfence();
#endif
}
inline bool is_aligned(const void* p) { return reinterpret_cast<std::uintptr_t>(p) % kVectorBytes == 0; }

#if defined(__AVX512BW__) && defined(__AVX512VL__)
// The lowest `count` lanes of a vector of T, as a mask.
template <class T>
inline std::uint64_t first_lanes(Index count) {
  return (std::uint64_t(1) << count) - 1;
}
#elif defined(__AVX2__)
template <class T>
inline __m256i first_lanes(Index count) {  // of 4 or 8 bytes
  alignas(32) static constexpr std::int32_t kOnes[16] = {-1, -1, -1, -1, -1, -1, -1, -1};
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(kOnes + 8 - count * Index(sizeof(T) / 4)));
}
#endif

template <Arithmetic T>
inline Vec<T> load(const T* p, Index count, T padding = T(0)) {  // 0 <= count < kLanes; the other lanes hold padding
  Vec<T> v = broadcast(padding);
#if defined(__AVX512BW__) && defined(__AVX512VL__)
  const auto lanes = first_lanes<T>(count);
  if constexpr (sizeof(T) == 8) return (Vec<T>)_mm512_mask_loadu_epi64((__m512i)v, __mmask8(lanes), p);
  if constexpr (sizeof(T) == 4) return (Vec<T>)_mm512_mask_loadu_epi32((__m512i)v, __mmask16(lanes), p);
  if constexpr (sizeof(T) == 2) return (Vec<T>)_mm512_mask_loadu_epi16((__m512i)v, __mmask32(lanes), p);
  if constexpr (sizeof(T) == 1) return (Vec<T>)_mm512_mask_loadu_epi8((__m512i)v, __mmask64(lanes), p);
#elif defined(__AVX2__)
  if constexpr (sizeof(T) == 4) {
    const __m256i lanes = first_lanes<T>(count), x = _mm256_maskload_epi32(reinterpret_cast<const int*>(p), lanes);
    return (Vec<T>)_mm256_blendv_epi8((__m256i)v, x, lanes);
  }
  if constexpr (sizeof(T) == 8) {
    const __m256i lanes = first_lanes<T>(count),
                  x = _mm256_maskload_epi64(reinterpret_cast<const long long*>(p), lanes);
    return (Vec<T>)_mm256_blendv_epi8((__m256i)v, x, lanes);
  }
#endif
  memcpy(&v, p, static_cast<std::size_t>(count) * sizeof(T));
  return v;
}
template <Arithmetic T>
inline void store(T* p, Vec<T> v, Index count) {
#if defined(__AVX512BW__) && defined(__AVX512VL__)
  const auto lanes = first_lanes<T>(count);
  if constexpr (sizeof(T) == 8) return _mm512_mask_storeu_epi64(p, __mmask8(lanes), (__m512i)v);
  if constexpr (sizeof(T) == 4) return _mm512_mask_storeu_epi32(p, __mmask16(lanes), (__m512i)v);
  if constexpr (sizeof(T) == 2) return _mm512_mask_storeu_epi16(p, __mmask32(lanes), (__m512i)v);
  if constexpr (sizeof(T) == 1) return _mm512_mask_storeu_epi8(p, __mmask64(lanes), (__m512i)v);
#elif defined(__AVX2__)
  if constexpr (sizeof(T) == 4)
    return _mm256_maskstore_epi32(reinterpret_cast<int*>(p), first_lanes<T>(count), (__m256i)v);
  if constexpr (sizeof(T) == 8)
    return _mm256_maskstore_epi64(reinterpret_cast<long long*>(p), first_lanes<T>(count), (__m256i)v);
#endif
  memcpy(p, &v, static_cast<std::size_t>(count) * sizeof(T));
}

// As many bytes as a vector of T has lanes, and those bytes as lanes. Each step doubles the width: GCC 12 does a longer
// one lane by lane.
template <class T>
struct LaneBytes {
  typedef std::uint8_t Type __attribute__((vector_size(kLanes<T>)));
};
template <int Bytes>
struct SignedOf {
  using Type = std::int64_t;
};
template <>
struct SignedOf<2> {
  using Type = std::int16_t;
};
template <>
struct SignedOf<4> {
  using Type = std::int32_t;
};
template <class T, class V>
inline Vec<T> widen(V v) {
  constexpr int bytes = sizeof v[0];
  if constexpr (bytes == sizeof(T)) {
    return __builtin_convertvector(v, Vec<T>);
  } else {
    typedef typename SignedOf<2 * bytes>::Type Next __attribute__((vector_size(2 * sizeof(V))));
    return widen<T>(__builtin_convertvector(v, Next));
  }
}

// bfloat16 is the upper half of a float; to it we round to nearest even, and a NaN stays one.
inline float to_float(bfloat16 x) { return __builtin_bit_cast(float, static_cast<std::uint32_t>(x.bits) << 16); }
inline bfloat16 to_bfloat16(float x) {
  const std::uint32_t bits = __builtin_bit_cast(std::uint32_t, x);
  if (x != x) return {static_cast<std::uint16_t>(bits >> 16 | 0x40)};
  return {static_cast<std::uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16)};
}
typedef std::uint16_t HalfFloats __attribute__((vector_size(kVectorBytes / 2)));
inline Vec<float> load(const bfloat16* p) {
  HalfFloats halves;
  __builtin_memcpy(&halves, p, sizeof halves);
  return __builtin_bit_cast(Vec<float>, __builtin_convertvector(halves, Vec<std::uint32_t>) << 16);
}
inline HalfFloats rounded_halves(Vec<float> v) {
  const auto bits = __builtin_bit_cast(Vec<std::uint32_t>, v);
  const auto rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16, nan = bits >> 16 | 0x40;
  return __builtin_convertvector(v == v ? rounded : nan, HalfFloats);
}
inline void store(bfloat16* p, Vec<float> v) {
  const HalfFloats halves = rounded_halves(v);
  __builtin_memcpy(p, &halves, sizeof halves);
}
#if defined(__AVX512BW__) && defined(__AVX512VL__)
inline Vec<float> load(const bfloat16* p, Index count, float padding = 0) {
  const __m256i others = _mm256_set1_epi16(static_cast<short>(to_bfloat16(padding).bits));
  const auto halves = (HalfFloats)_mm256_mask_loadu_epi16(others, __mmask16(first_lanes<float>(count)), p);
  return __builtin_bit_cast(Vec<float>, __builtin_convertvector(halves, Vec<std::uint32_t>) << 16);
}
inline void store(bfloat16* p, Vec<float> v, Index count) {
  _mm256_mask_storeu_epi16(p, __mmask16(first_lanes<float>(count)), (__m256i)rounded_halves(v));
}
#else  // never inlined, for they are long
[[gnu::noinline]] inline Vec<float> load(const bfloat16* p, Index count, float padding = 0) {
  bfloat16 lanes[kLanes<float>];
  for (bfloat16& lane : lanes) lane = to_bfloat16(padding);
  memcpy(lanes, p, static_cast<std::size_t>(count) * sizeof *p);
  return load(lanes);
}
[[gnu::noinline]] inline void store(bfloat16* p, Vec<float> v, Index count) {
  bfloat16 lanes[kLanes<float>];
  store(lanes, v);
  memcpy(p, lanes, static_cast<std::size_t>(count) * sizeof *p);
}
#endif

// a * b + c: one rounding where the level has the instruction, two where it has not.
inline float fma(float a, float b, float c) {
#if defined(__FMA__) || defined(__ARM_FEATURE_FMA)
  return __builtin_fmaf(a, b, c);
#else
  return a * b + c;
#endif
}
inline double fma(double a, double b, double c) {
#if defined(__FMA__) || defined(__ARM_FEATURE_FMA)
  return __builtin_fma(a, b, c);
#else
  return a * b + c;
#endif
}
#if defined(__AVX512F__)
inline Vec<float> fma(Vec<float> a, Vec<float> b, Vec<float> c) {
  return (Vec<float>)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
}
inline Vec<double> fma(Vec<double> a, Vec<double> b, Vec<double> c) {
  return (Vec<double>)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)c);
}
inline Vec<float> sqrt(Vec<float> x) { return (Vec<float>)_mm512_maskz_sqrt_ps(0xffff, (__m512)x); }
inline Vec<double> sqrt(Vec<double> x) { return (Vec<double>)_mm512_maskz_sqrt_pd(0xff, (__m512d)x); }
#elif defined(__AVX2__)
inline Vec<float> fma(Vec<float> a, Vec<float> b, Vec<float> c) {
  return (Vec<float>)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
}
inline Vec<double> fma(Vec<double> a, Vec<double> b, Vec<double> c) {
  return (Vec<double>)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c);
}
inline Vec<float> sqrt(Vec<float> x) { return (Vec<float>)_mm256_sqrt_ps((__m256)x); }
inline Vec<double> sqrt(Vec<double> x) { return (Vec<double>)_mm256_sqrt_pd((__m256d)x); }
#else
inline Vec<float> fma(Vec<float> a, Vec<float> b, Vec<float> c) {
#if defined(__ARM_FEATURE_FMA)
  for (int i = 0; i < kLanes<float>; ++i) c[i] = fma(float(a[i]), float(b[i]), float(c[i]));
  return c;
#else
  return a * b + c;
#endif
}
inline Vec<double> fma(Vec<double> a, Vec<double> b, Vec<double> c) {
#if defined(__ARM_FEATURE_FMA)
  for (int i = 0; i < kLanes<double>; ++i) c[i] = fma(double(a[i]), double(b[i]), double(c[i]));
  return c;
#else
  return a * b + c;
#endif
}
#if defined(__SSE2__)
inline Vec<float> sqrt(Vec<float> x) { return (Vec<float>)_mm_sqrt_ps((__m128)x); }
inline Vec<double> sqrt(Vec<double> x) { return (Vec<double>)_mm_sqrt_pd((__m128d)x); }
#else
inline Vec<float> sqrt(Vec<float> x) {
  for (int i = 0; i < kLanes<float>; ++i) x[i] = __builtin_sqrtf(x[i]);
  return x;
}
inline Vec<double> sqrt(Vec<double> x) {
  for (int i = 0; i < kLanes<double>; ++i) x[i] = __builtin_sqrt(x[i]);
  return x;
}
#endif
#endif
inline float sqrt(float x) { return __builtin_sqrtf(x); }
inline double sqrt(double x) { return __builtin_sqrt(x); }

// y[i] = f(x[i], ...) for i < n, in whole vectors; the tail runs the same code on padded vectors, so that bits do not
// depend on where an element stands. y may be one of the x.
template <class Y, class F, class... X>
inline void map(Y* y, Index n, const F& f, const X*... x) {
  constexpr int step = kLanes<Lane<Y>>;
  Index i = 0;
  for (; i + step <= n; i += step) store(y + i, f(load(x + i)...));
  if (i < n) store(y + i, f(load(x + i, n - i)...), n - i);
}

// The lanes of v, added in the order of a binary tree.
template <class T>
inline T horizontal_sum(const T (&lanes)[kLanes<T>]) {
  T part[kLanes<T>];
  memcpy(part, lanes, sizeof part);
  for (int width = kLanes<T> / 2; width > 0; width /= 2)
    for (int i = 0; i < width; ++i) part[i] += part[i + width];
  return part[0];
}
template <class T>
inline T lanes_sum(Vec<T> v) {
  T lanes[kLanes<T>];
  store(lanes, v);
  return horizontal_sum<T>(lanes);
}

}  // namespace dd2424::cpu::DD2424_ISA
