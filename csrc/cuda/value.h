#pragma once
#include <bit>
#include <type_traits>

#include "core/types.h"

// Elements as they lie in memory, and as kernels compute with them: float for the two short types.
namespace dd2424::cuda {

// A float32 of which tensor cores may leave off all but the first 10 bits of its mantissa.
struct tfloat32 {
  float value;
};
}  // namespace dd2424::cuda
namespace dd2424 {
template <>
struct AccumulatorOf<cuda::tfloat32> {
  using Type = float;
};
}  // namespace dd2424
namespace dd2424::cuda {

template <class T>
constexpr bool kIsShort = std::is_same_v<T, bfloat16> || std::is_same_v<T, float16>;
template <class T>
constexpr bool kIsForTensorCores = kIsShort<T> || std::is_same_v<T, tfloat32>;

constexpr float widened(bfloat16 x) { return std::bit_cast<float>(static_cast<std::uint32_t>(x.bits) << 16); }
constexpr bfloat16 narrowed_bfloat16(float x) {  // to the nearest, ties to even; NaN stays one
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  if (!std::is_constant_evaluated()) {
    std::uint16_t y;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(y) : "f"(x));
    return {y};
  }
#endif
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(x);
  if ((bits & 0x7fffffff) > 0x7f800000) return {static_cast<std::uint16_t>((bits >> 16) | 0x40)};
  return {static_cast<std::uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16)};
}

constexpr float widened(float16 x) {
#if defined(__CUDA_ARCH__)
  if (!std::is_constant_evaluated()) {
    float y;
    asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x.bits));
    return y;
  }
#endif
  const std::uint32_t sign = static_cast<std::uint32_t>(x.bits & 0x8000) << 16, rest = x.bits & 0x7fff;
  if (rest >= 0x7c00) return std::bit_cast<float>(sign | 0x7f800000 | (rest & 0x3ff) << 13);
  if (rest >= 0x400) return std::bit_cast<float>(sign | (rest + 0x1c000) << 13);
  const float magnitude = static_cast<float>(rest) * 0x1p-24f;
  return sign ? -magnitude : magnitude;
}
constexpr float16 narrowed_float16(float x) {
#if defined(__CUDA_ARCH__)
  if (!std::is_constant_evaluated()) {
    std::uint16_t y;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(y) : "f"(x));
    return {y};
  }
#endif
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(x), rest = bits & 0x7fffffff;
  const std::uint16_t sign = static_cast<std::uint16_t>(bits >> 16 & 0x8000);
  const auto with_sign = [sign](std::uint32_t y) { return float16{static_cast<std::uint16_t>(sign | y)}; };
  if (rest > 0x7f800000) return with_sign(0x7e00 | (rest >> 13 & 0x3ff));
  if (rest >= 0x477ff000) return with_sign(0x7c00);  // 65520 and more round to infinity
  if (rest >= 0x38800000) return with_sign((rest - 0x38000000 + 0xfff + (rest >> 13 & 1)) >> 13);
  const float magnitude = std::bit_cast<float>(rest) + 0.5f;  // its last bits are now worth 2^-24, and rounded
  return with_sign(std::bit_cast<std::uint32_t>(magnitude) - 0x3f000000);
}

constexpr float widened(tfloat32 x) { return x.value; }

// The bits of a short type: its exponent's, and those of a power of two.
template <class T>
constexpr std::uint32_t kExponentBits = std::is_same_v<T, float16> ? 0x7c00 : 0x7f80;
template <class T>
constexpr std::uint32_t bits_of_power(int exponent) {
  return std::is_same_v<T, float16> ? static_cast<std::uint32_t>(exponent + 15) << 10
                                    : static_cast<std::uint32_t>(exponent + 127) << 7;
}

template <class T>
struct ComputedAs {
  using Type = T;
};
template <>
struct ComputedAs<bfloat16> {
  using Type = float;
};
template <>
struct ComputedAs<float16> {
  using Type = float;
};
template <>
struct ComputedAs<tfloat32> {
  using Type = float;
};
template <class T>
using Computed = typename ComputedAs<T>::Type;

template <class T>
constexpr Computed<T> value(T x) {
  if constexpr (std::is_same_v<T, Computed<T>>) return x;
  else return widened(x);
}
template <class T>
constexpr T element(Computed<T> x) {
  if constexpr (std::is_same_v<T, bfloat16>) return narrowed_bfloat16(x);
  else if constexpr (std::is_same_v<T, float16>) return narrowed_float16(x);
  else if constexpr (std::is_same_v<T, tfloat32>) return {x};
  else return x;
}
// Two numbers of a short type, to the nearest and ties to even, in a word: the first in its lower half.
template <class T>
constexpr std::uint32_t two_of(float first, float second) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  if (!std::is_constant_evaluated()) {
    std::uint32_t two;
    if constexpr (std::is_same_v<T, bfloat16>)
      asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(two) : "f"(second), "f"(first));
    else asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(two) : "f"(second), "f"(first));
    return two;
  }
#endif
  return element<T>(first).bits | static_cast<std::uint32_t>(element<T>(second).bits) << 16;
}

// A number of one type as one of another: to integers towards zero and by their low bits, to bool by x != 0.
template <class Y, class X>
constexpr Y converted(X x) {
  const auto v = value(x);
  if constexpr (std::is_same_v<Y, bool>) return v != 0;
  else if constexpr (std::is_floating_point_v<decltype(v)> && std::is_integral_v<Y> && sizeof(Y) < 8)
    return static_cast<Y>(static_cast<std::int64_t>(v));
  else return element<Y>(static_cast<Computed<Y>>(v));
}

}  // namespace dd2424::cuda
