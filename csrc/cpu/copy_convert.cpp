#include "cpu/copy.h"

// Conversions of contiguous elements. Pairs that programs lean on are direct; the others go by way of float, double or
// int32, so that ten types need some thirty loops.
namespace dd2424::cpu::DD2424_ISA {
namespace {

constexpr Index kStep = 32;  // elements; the loops over them have no tails, and so the same code for every element
constexpr Index kHop = 256;

// To integers towards zero, what does not fit as the processor has it: through int32 for the smaller types.
template <class Y, class X>
inline Y convert(X x) {
  if constexpr (std::is_same_v<Y, bool>) return x != 0;
  else if constexpr (std::is_floating_point_v<X> && std::is_integral_v<Y> && sizeof(Y) < 4) return Y(std::int32_t(x));
  else return static_cast<Y>(x);
}

// IEEE half precision by integer arithmetic, rounded to nearest even; NaN stays NaN.
[[maybe_unused]] inline std::uint16_t half_bits(float x) {
  const std::uint32_t bits = __builtin_bit_cast(std::uint32_t, x), sign = bits & 0x80000000u, a = bits ^ sign;
  const std::uint32_t normal = (a + 0xc8000fffu + (a >> 13 & 1)) >> 13;
  const float lifted = __builtin_bit_cast(float, a) + 0.5f;  // aligns a denormal's bits, and rounds
  const std::uint32_t denormal = __builtin_bit_cast(std::uint32_t, lifted) - 0x3f000000u;
  const std::uint32_t special = a > 0x7f800000u ? 0x7e00u | (a >> 13 & 0x3ffu) : 0x7c00u;
  const std::uint32_t magnitude = a >= 0x47800000u ? special : a < 0x38800000u ? denormal : normal;
  return static_cast<std::uint16_t>(magnitude | sign >> 16);
}
[[maybe_unused]] inline float half_value(std::uint16_t half) {
  const std::uint32_t shifted = (half & 0x7fffu) << 13, exponent = shifted & 0x0f800000u;
  const std::uint32_t quiet = exponent == 0x0f800000u && (half & 0x3ffu) ? 0x00400000u : 0u;
  const std::uint32_t normal = shifted + (exponent == 0x0f800000u ? 224u << 23 : 112u << 23);
  const float denormal = __builtin_bit_cast(float, shifted + (113u << 23)) - 0x1p-14f;
  const float magnitude = exponent == 0 ? denormal : __builtin_bit_cast(float, normal | quiet);
  return __builtin_bit_cast(float, __builtin_bit_cast(std::uint32_t, magnitude) | std::uint32_t(half & 0x8000u) << 16);
}

// A double as a float whose last bit says that bits were lost (rounded to odd): rounding it again, to a narrower type,
// then gives what rounding once would have.
struct odd_float {
  float value;
};
inline odd_float to_odd(double x) {
  const float nearest = static_cast<float>(x);
  const std::uint32_t bits = __builtin_bit_cast(std::uint32_t, nearest);
  const double back = nearest;
  const bool too_far = (x > 0) == (back > x), inexact = back != x && x == x;  // in magnitude
  const std::uint32_t moved = bits - (too_far ? 1u : 0u) + (too_far ? 0u : 1u);
  return {inexact && !(bits & 1) ? __builtin_bit_cast(float, moved) : nearest};
}

template <class X, class Y>
inline void step(Y* y, const X* x) {
  if constexpr (std::is_same_v<Y, odd_float>) {
    for (Index i = 0; i < kStep; ++i) y[i] = to_odd(x[i]);
  } else if constexpr (std::is_same_v<Y, bfloat16>) {
    for (Index i = 0; i < kStep; i += kLanes<float>) store(y + i, load_ahead(x + i));
  } else if constexpr (std::is_same_v<X, bfloat16>) {
    for (Index i = 0; i < kStep; i += kLanes<float>) store(y + i, load(x + i));
  } else if constexpr (std::is_same_v<Y, float16>) {
#if defined(__F16C__)
    for (Index i = 0; i < kStep; i += 8)
      _mm_storeu_si128(reinterpret_cast<__m128i*>(y + i), _mm256_cvtps_ph(_mm256_loadu_ps(x + i), 0));
#else
    for (Index i = 0; i < kStep; ++i) y[i].bits = half_bits(x[i]);
#endif
  } else if constexpr (std::is_same_v<X, float16>) {
#if defined(__F16C__)
    for (Index i = 0; i < kStep; i += 8)
      _mm256_storeu_ps(y + i, _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(x + i))));
#else
    for (Index i = 0; i < kStep; ++i) y[i] = half_value(x[i].bits);
#endif
  } else {
    for (Index i = 0; i < kStep; ++i) y[i] = convert<Y>(x[i]);
  }
}

template <class X, class Y>
void direct(const Block& b) {
  const X* x = static_cast<const X*>(b.x[0]);
  Y* y = static_cast<Y*>(b.y);
  X in[kStep];
  Y out[kStep];
  if (b.step[0] == 0) {
    for (X& element : in) element = *x;
    step(out, in);
    for (Index i = 0; i < b.n; ++i) y[i] = out[0];
    return;
  }
  Index i = 0;
  for (; i + kStep <= b.n; i += kStep) step(y + i, x + i);
  if (i == b.n) return;
  memset(static_cast<void*>(in), 0, sizeof in);
  memcpy(in, x + i, static_cast<std::size_t>(b.n - i) * sizeof(X));
  step(out, in);
  memcpy(y + i, out, static_cast<std::size_t>(b.n - i) * sizeof(Y));
}

// First one conversion, then the other, over a buffer of Between.
template <class Between, BlockFunction first, BlockFunction second>
void hops(const Block& b, int x_bytes, int y_bytes) {
  Between between[kHop];
  for (Index i = 0; i < b.n; i += kHop) {
    const Index n = b.n - i < kHop ? b.n - i : kHop;
    first(
        {.y = between, .x = {static_cast<const char*>(b.x[0]) + i * b.step[0] * x_bytes}, .step = {b.step[0]}, .n = n});
    second({.y = static_cast<char*>(b.y) + i * y_bytes, .x = {between}, .step = {1}, .n = n});
  }
}
template <class X, class Between, class Y>
void by_way_of(const Block& b) {
  using In = std::conditional_t<std::is_same_v<Between, odd_float>, float, Between>;
  hops<Between, direct<X, Between>, direct<In, Y>>(b, sizeof(X), sizeof(Y));
}

template <class T>
void move(const Block& b) {
  run_block<T>(b, [](Vec<T> x) { return x; }, static_cast<const T*>(b.x[0]));
}

template <class X>
constexpr bool is_small_integer = std::is_integral_v<X> && sizeof(X) < 4;
template <class T>
constexpr bool is_half = std::is_same_v<T, bfloat16> || std::is_same_v<T, float16>;

// odd_float has the layout of float; as the middle of a double hop it is read as one.
template <class X, class Y>
constexpr BlockFunction route() {
  if constexpr (std::is_same_v<X, std::uint8_t> && std::is_same_v<Y, float>) return direct<X, Y>;  // pixels
  else if constexpr (std::is_same_v<X, float> || (is_half<X> && std::is_same_v<Y, float>)) return direct<X, Y>;
  else if constexpr (is_half<X>) return by_way_of<X, float, Y>;
  else if constexpr (std::is_same_v<X, double> && is_half<Y>) return by_way_of<X, odd_float, Y>;
  else if constexpr (is_small_integer<X> && is_half<Y>) return by_way_of<X, float, Y>;  // exact as far as float
  else if constexpr (is_half<Y>) {
    return [](const Block& b) {
      hops<double, direct<X, double>, by_way_of<double, odd_float, Y>>(b, sizeof(X), sizeof(Y));
    };
  } else if constexpr (is_small_integer<X> && !std::is_same_v<Y, std::int32_t>) return by_way_of<X, std::int32_t, Y>;
  else return direct<X, Y>;
}

template <class X>
BlockFunction from(DType to) {
  using Byte = std::conditional_t<std::is_same_v<X, std::int8_t>, std::int8_t, std::uint8_t>;
  switch (to) {
    case DType::float32: return route<X, float>();
    case DType::float64: return route<X, double>();
    case DType::bfloat16: return route<X, bfloat16>();
    case DType::float16: return route<X, float16>();
    case DType::int64: return route<X, std::int64_t>();
    case DType::int32: return route<X, std::int32_t>();
    case DType::int16: return route<X, std::int16_t>();
    case DType::int8:
    case DType::uint8: return route<X, Byte>();  // the same low bits
    case DType::bool_: return route<X, bool>();
  }
  return nullptr;
}

int bytes_of(DType dtype) {
  constexpr int bytes[kDTypes] = {4, 8, 2, 2, 8, 4, 2, 1, 1, 1};
  return bytes[static_cast<int>(dtype)];
}
BlockFunction move_of(int bytes) {
  switch (bytes) {
    case 1: return move<std::int8_t>;
    case 2: return move<std::int16_t>;
    case 4: return move<std::int32_t>;
    default: return move<std::int64_t>;
  }
}

}  // namespace

BlockFunction convert_block(DType x, DType y) {
  const bool bytes = bytes_of(x) == 1 && bytes_of(y) == 1;
  if (x == y || (bytes && y != DType::bool_)) return move_of(bytes_of(x));
  switch (x) {
    case DType::float32: return from<float>(y);
    case DType::float64: return from<double>(y);
    case DType::bfloat16: return from<bfloat16>(y);
    case DType::float16: return from<float16>(y);
    case DType::int64: return from<std::int64_t>(y);
    case DType::int32: return from<std::int32_t>(y);
    case DType::int16: return from<std::int16_t>(y);
    case DType::int8: return from<std::int8_t>(y);
    case DType::uint8:
    case DType::bool_: return from<std::uint8_t>(y);
  }
  return nullptr;
}

}  // namespace dd2424::cpu::DD2424_ISA
