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
template <Arithmetic T>
inline Vec<T> load(const T* p, Index count, T padding = T(0)) {  // 0 <= count < kLanes; the other lanes hold padding
  Vec<T> v = broadcast(padding);
  memcpy(&v, p, static_cast<std::size_t>(count) * sizeof(T));
  return v;
}
template <Arithmetic T>
inline void store(T* p, Vec<T> v, Index count) {
  memcpy(p, &v, static_cast<std::size_t>(count) * sizeof(T));
}

// bfloat16 is the upper half of a float; to it we round to nearest even, and a NaN stays one.
inline float to_float(bfloat16 x) { return __builtin_bit_cast(float, static_cast<std::uint32_t>(x.bits) << 16); }
inline bfloat16 to_bfloat16(float x) {
  const std::uint32_t bits = __builtin_bit_cast(std::uint32_t, x);
  if (x != x) return {static_cast<std::uint16_t>(bits >> 16 | 0x40)};
  return {static_cast<std::uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16)};
}
inline Vec<float> load(const bfloat16* p) {
  typedef std::uint16_t Half __attribute__((vector_size(kVectorBytes / 2)));
  Half half;
  __builtin_memcpy(&half, p, sizeof half);
  return __builtin_bit_cast(Vec<float>, __builtin_convertvector(half, Vec<std::uint32_t>) << 16);
}
inline Vec<float> load(const bfloat16* p, Index count, float padding = 0) {
  bfloat16 lanes[kLanes<float>];
  for (bfloat16& lane : lanes) lane = to_bfloat16(padding);
  memcpy(lanes, p, static_cast<std::size_t>(count) * sizeof *p);
  return load(lanes);
}
inline void store(bfloat16* p, Vec<float> v) {
  typedef std::uint16_t Half __attribute__((vector_size(kVectorBytes / 2)));
  const auto bits = __builtin_bit_cast(Vec<std::uint32_t>, v);
  const auto rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16, nan = bits >> 16 | 0x40;
  const Half half = __builtin_convertvector(v == v ? rounded : nan, Half);
  __builtin_memcpy(p, &half, sizeof half);
}
inline void store(bfloat16* p, Vec<float> v, Index count) {
  bfloat16 lanes[kLanes<float>];
  store(lanes, v);
  memcpy(p, lanes, static_cast<std::size_t>(count) * sizeof *p);
}

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
inline Vec<float> fma(Vec<float> a, Vec<float> b, Vec<float> c) { return (Vec<float>)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c); }
inline Vec<double> fma(Vec<double> a, Vec<double> b, Vec<double> c) { return (Vec<double>)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)c); }
inline Vec<float> sqrt(Vec<float> x) { return (Vec<float>)_mm512_sqrt_ps((__m512)x); }
inline Vec<double> sqrt(Vec<double> x) { return (Vec<double>)_mm512_sqrt_pd((__m512d)x); }
#elif defined(__AVX2__)
inline Vec<float> fma(Vec<float> a, Vec<float> b, Vec<float> c) { return (Vec<float>)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c); }
inline Vec<double> fma(Vec<double> a, Vec<double> b, Vec<double> c) { return (Vec<double>)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c); }
inline Vec<float> sqrt(Vec<float> x) { return (Vec<float>)_mm256_sqrt_ps((__m256)x); }
inline Vec<double> sqrt(Vec<double> x) { return (Vec<double>)_mm256_sqrt_pd((__m256d)x); }
#else
template <class V, class Scalar>
inline V each(V x, Scalar f) {
  for (unsigned i = 0; i < sizeof x / sizeof x[0]; ++i) x[i] = f(x[i]);
  return x;
}
inline Vec<float> fma(Vec<float> a, Vec<float> b, Vec<float> c) {
  for (int i = 0; i < kLanes<float>; ++i) c[i] = fma(float(a[i]), float(b[i]), float(c[i]));
  return c;
}
inline Vec<double> fma(Vec<double> a, Vec<double> b, Vec<double> c) {
  for (int i = 0; i < kLanes<double>; ++i) c[i] = fma(double(a[i]), double(b[i]), double(c[i]));
  return c;
}
inline Vec<float> sqrt(Vec<float> x) { return each(x, [](float v) { return __builtin_sqrtf(v); }); }
inline Vec<double> sqrt(Vec<double> x) { return each(x, [](double v) { return __builtin_sqrt(v); }); }
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
