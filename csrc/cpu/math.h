#pragma once
// Functions of vectors. Those of float are written here; those of double call the C library lane by lane. Errors are
// at most four roundings against float64, at every level: with fused multiply-add and without. See
// tests/test_elementwise_unary.py and tests/test_elementwise_accuracy.py.
#include <math.h>

#include "cpu/vec.h"

namespace dd2424::cpu::DD2424_ISA {
namespace {

template <class V>
using Element = std::remove_cvref_t<decltype((*static_cast<V*>(nullptr))[0])>;

using Floats = Vec<float>;
using Doubles = Vec<double>;
using Ints = Vec<std::int32_t>;
constexpr float kInf = __builtin_inff(), kNan = __builtin_nanf("");

template <class V>
struct BitsOf;
template <>
struct BitsOf<Floats> {
  using Type = Ints;
};
template <>
struct BitsOf<Doubles> {
  using Type = Vec<std::int64_t>;
};
template <class V>
inline auto bits_of(V x) {
  return __builtin_bit_cast(typename BitsOf<V>::Type, x);
}
inline Floats from_bits(Ints x) { return __builtin_bit_cast(Floats, x); }
inline Doubles from_bits(Vec<std::int64_t> x) { return __builtin_bit_cast(Doubles, x); }

template <class V>
constexpr auto sign_bit() {
  using Bits = Element<typename BitsOf<V>::Type>;
  return Bits(Bits(1) << (sizeof(Bits) * 8 - 2)) * 2;  // wraps to the lowest
}
template <>
constexpr auto sign_bit<Floats>() {
  return std::int32_t(-0x7fffffff - 1);
}
template <>
constexpr auto sign_bit<Doubles>() {
  return std::int64_t(-0x7fffffffffffffff - 1);
}

template <class V>
inline V absolute(V x) {
  return from_bits(bits_of(x) & ~sign_bit<V>());
}
template <class V>
inline V copysign(V magnitude, V sign) {
  return from_bits((bits_of(magnitude) & ~sign_bit<V>()) | (bits_of(sign) & sign_bit<V>()));
}
template <class V>
inline V smaller(V a, V b) {
  return b < a ? b : a;
}  // a where either is NaN
template <class V>
inline V larger(V a, V b) {
  return b > a ? b : a;
}  // likewise
// The same in one instruction, which GCC 12 does not find: of two numbers that do not compare it takes the second.
#if defined(__AVX512F__)
inline Floats smaller(Floats a, Floats b) { return (Floats)_mm512_maskz_min_ps(0xffff, (__m512)b, (__m512)a); }
inline Floats larger(Floats a, Floats b) { return (Floats)_mm512_maskz_max_ps(0xffff, (__m512)b, (__m512)a); }
#elif defined(__AVX2__)
inline Floats smaller(Floats a, Floats b) { return (Floats)_mm256_min_ps((__m256)b, (__m256)a); }
inline Floats larger(Floats a, Floats b) { return (Floats)_mm256_max_ps((__m256)b, (__m256)a); }
#elif defined(__SSE2__)
inline Floats smaller(Floats a, Floats b) { return (Floats)_mm_min_ps((__m128)b, (__m128)a); }
inline Floats larger(Floats a, Floats b) { return (Floats)_mm_max_ps((__m128)b, (__m128)a); }
#endif

// c0 + c1 x + c2 x^2 + ...
template <class V>
inline V polynomial(V, Element<V> c) {
  return broadcast(c);
}
template <class V, class... C>
inline V polynomial(V x, Element<V> c, C... rest) {
  return fma(polynomial(x, rest...), x, broadcast(c));
}

constexpr float kWhole = 0x1.8p23f;                                    // what is added to it loses its fraction
inline Floats round_small(Floats x) { return (x + kWhole) - kWhole; }  // to the nearest; |x| < 2^22
// x / log(2), rounded to a whole number
inline Floats whole_powers(Floats x) { return fma(x, broadcast(1.44269504f), broadcast(kWhole)) - kWhole; }

// x * 2^n for a whole n, -250 <= n <= 250, rounded once.
inline Floats times_power(Floats x, Floats n) {
#if defined(__AVX512F__)
  return (Floats)_mm512_maskz_scalef_ps(0xffff, (__m512)x, (__m512)n);
#else
  const Ints k = __builtin_convertvector(n, Ints), half = k >> 1;
  return x * from_bits((half + 127) << 23) * from_bits((k - half + 127) << 23);
#endif
}

constexpr float kLog2High = 0x1.63p-1f,
                kLog2Low = -2.12194440e-4f;  // the product of the first with an exponent is exact

inline Floats subtract_logs(Floats x, Floats n) {
  return fma(-n, broadcast(kLog2Low), fma(-n, broadcast(kLog2High), x));
}
// exp(r) - 1 for |r| <= log(2) / 2
inline Floats expm1_reduced(Floats r) {
  return fma(r * r, polynomial(r, 0.5f, 0.166665182f, 0.041666206f, 0.00836895406f, 0.00139505998f), r);
}
inline Floats exp_below(Floats x) {  // exp(x) for x <= 0
  x = larger(x, broadcast(-105.0f));
  const Floats n = whole_powers(x);
  return times_power(1.0f + expm1_reduced(subtract_logs(x, n)), n);
}
inline Doubles exp_below(Doubles x);
// exp(x + low) * 2^32 for -150 <= x <= 0 and a small `low` that x has no bits for: what it multiplies next may lift it
// out of the denormal numbers, where it would have lost its bits.
constexpr float kRaise = 32, kLower = 0x1p-32f;
inline Floats exp_raised(Floats x, Floats low) {
  const Floats n = whole_powers(x);
  return times_power(1.0f + (expm1_reduced(subtract_logs(x, n) + low)), n + kRaise);
}
inline Floats exp(Floats x) {
  x = larger(smaller(x, broadcast(89.0f)), broadcast(-105.0f));
  const Floats n = whole_powers(x);
  return times_power(1.0f + expm1_reduced(subtract_logs(x, n)), n);
}
inline Floats exp2(Floats x) {
  x = larger(smaller(x, broadcast(130.0f)), broadcast(-152.0f));
  const Floats n = round_small(x);
  return times_power(1.0f + expm1_reduced((x - n) * 0.693147182f), n);
}
inline Floats expm1(Floats x) {
  x = larger(smaller(x, broadcast(89.0f)), broadcast(-25.0f));
  const Floats n = whole_powers(x), p = expm1_reduced(subtract_logs(x, n));
  const Floats half = times_power(broadcast(0.5f), n);  // 2^n itself may overflow where the result does not
  const Floats result = 2.0f * fma(half, p, half - 0.5f);
  return x == 0.0f ? x : result;  // -0 stays
}

// x = 2^k * (1 + f), sqrt(1/2) <= 1 + f < sqrt(2), for positive finite x
struct Reduced {
  Floats k, f;
};
inline Reduced reduce_log(Floats x) {
  const Ints small = x < 0x1p-126f;
  const Ints bits = bits_of(small ? x * 0x1p25f : x), e = (bits - 0x3f3504f3) >> 23;
  return {__builtin_convertvector(e, Floats) - (small ? broadcast(25.0f) : Floats{}),
          from_bits(bits - (e << 23)) - 1.0f};
}
inline Floats log1p_reduced_rest(Floats f) {  // log(1 + f) - f + f^2 / 2
  return f * f * f *
         polynomial(f, 0.333333135f, -0.250000089f, 0.200021207f, -0.166679963f, 0.14219518f, -0.12405546f,
                    0.118883908f, -0.11676041f, 0.0674659684f);
}
inline Floats log_reduced(Reduced x) {
  const Floats rest = fma(x.k, broadcast(kLog2Low), log1p_reduced_rest(x.f));
  return fma(x.k, broadcast(kLog2High), x.f + fma(x.f * x.f, broadcast(-0.5f), rest));
}
inline Floats log_limits(Floats x, Floats result) {  // x: what the logarithm is taken of
  result = x < kInf ? result : x;                    // inf, NaN
  return x > 0.0f ? result : (x == 0.0f ? broadcast(-kInf) : broadcast(kNan));
}
inline Floats log(Floats x) { return log_limits(x, log_reduced(reduce_log(x))); }
// log(x) / log(base), from log2 = log(2) / log(base) and scale = 1 / log(base), each in two parts
inline Floats log_scaled(Floats x, float log2_high, float log2_low, float scale_high, float scale_low) {
  const Reduced r = reduce_log(x);
  const Floats rest = fma(r.f * r.f, broadcast(-0.5f), log1p_reduced_rest(r.f));
  const Floats tail = fma(rest, broadcast(scale_high + scale_low), fma(r.f, broadcast(scale_low), r.k * log2_low));
  return log_limits(x, fma(r.k, broadcast(log2_high), fma(r.f, broadcast(scale_high), tail)));
}
inline Floats log2(Floats x) { return log_scaled(x, 1.0f, 0.0f, 1.4453125f, -0.00261745911f); }
inline Floats log10(Floats x) { return log_scaled(x, 0.301025391f, 4.60503900e-6f, 0.433593750f, 0.000700731878f); }
inline Floats log1p(Floats x) {
  const Floats u = 1.0f + x;
  Reduced r = reduce_log(u);
  const Floats lost = x < 1.0f ? x - (u - 1.0f) : 1.0f - (u - x);  // what rounding u left out
  r.f += times_power(lost, -r.k);
  const Floats result = log_limits(u, log_reduced(r));
  return x == 0.0f ? x : result;
}

// The normal distribution at x: its cumulative probability below -|x|, and exp(-x^2 / 2).
struct Normal {
  Doubles tail, bell;
};
// double: the C library, lane by lane
[[gnu::noinline, maybe_unused]] Doubles each(Doubles x, double (*f)(double)) {
  double lanes[kLanes<double>];
  store(lanes, x);
  for (double& lane : lanes) lane = f(lane);
  return load(lanes);
}
inline Doubles exp(Doubles x) {
  return each(x, [](double v) { return ::exp(v); });
}
inline Doubles exp_below(Doubles x) { return exp(x); }
inline Doubles exp2(Doubles x) {
  return each(x, [](double v) { return ::exp2(v); });
}
inline Doubles expm1(Doubles x) {
  return each(x, [](double v) { return ::expm1(v); });
}
inline Doubles log(Doubles x) {
  return each(x, [](double v) { return ::log(v); });
}
inline Doubles log2(Doubles x) {
  return each(x, [](double v) { return ::log2(v); });
}
inline Doubles log10(Doubles x) {
  return each(x, [](double v) { return ::log10(v); });
}
inline Doubles log1p(Doubles x) {
  return each(x, [](double v) { return ::log1p(v); });
}
inline Doubles tanh(Doubles x) {
  return each(x, [](double v) { return ::tanh(v); });
}
inline Doubles erf(Doubles x) {
  return each(x, [](double v) { return ::erf(v); });
}
inline Normal normal(Doubles x) {
  // erfc and exp are given the rounding errors of their arguments, which for large x are many ULPs of the result.
  double lanes[kLanes<double>], root[kLanes<double>], root_low[kLanes<double>], power[kLanes<double>],
      power_low[kLanes<double>];
  store(lanes, smaller(absolute(x), broadcast(40.0)));
  for (int i = 0; i < kLanes<double>; ++i) {
    const long double v = lanes[i], r = v * 0.707106781186547524400844362104849039L, s = -v * v / 2;
    root[i] = static_cast<double>(r);
    root_low[i] = static_cast<double>(r - root[i]);
    power[i] = static_cast<double>(s);
    power_low[i] = static_cast<double>(s - power[i]);
  }
  const Doubles bell = exp(load(power)) * (1.0 + load(power_low));
  const Doubles tail = 0.5 * each(load(root), [](double v) { return ::erfc(v); });
  return {tail - load(root_low) * 0.5641895835477563 * bell, bell};
}

template <class V>
inline V sigmoid(V x) {
  const V e = exp_below(-absolute(x));
  return (x < Element<V>(0) ? e : broadcast(Element<V>(1))) / (Element<V>(1) + e);
}
constexpr float kTanhIsOne = 9.0109f, kErfIsOne = 3.9192059f;  // from there on, rounded
// tanh(2 u) from tanh(u) = p / q, whose roundings hardly reach a result close to 1.
inline Floats tanh_of_twice(Floats p, Floats q) { return smaller((p + p) * q / fma(q, q, p * p), broadcast(1.0f)); }
// p / q is the best of its degrees up to where the result rounds to 1; small x are left to a polynomial.
inline Floats tanh(Floats x) {
  const Floats a = smaller(absolute(x), broadcast(kTanhIsOne)), z = a * a;
  const Floats p = a * polynomial(z, 0.5f, 0.0148886889f, 5.71661658e-05f);
  const Floats q = polynomial(z, 1.0f, 0.11311068f, 0.00120692502f, 1.23068958e-06f);
  const Floats r = z * polynomial(z, -0.333328903f, 0.133194059f, -0.0525861532f, 0.0162728149f);
  return copysign(a < 0.56f ? fma(a, r, a) : a == kTanhIsOne ? broadcast(1.0f) : tanh_of_twice(p, q), x);
}
// p / q is tanh(artanh(erf(x)) / 2).
inline Floats erf(Floats x) {
  const Floats a = smaller(absolute(x), broadcast(kErfIsOne)), z = a * a;
  const Floats p = a * polynomial(z, 0.564189613f, 0.170143336f, 0.0179122332f, 0.00155310775f);
  const Floats q = polynomial(z, 1.0f, 0.316596359f, 0.0521639846f, 0.00720468769f, 0.000122316866f);
  const Floats r = polynomial(z, 0.128379166f, -0.376125872f, 0.112822428f, -0.026714934f, 0.00462721661f);
  return copysign(a < 0.55f ? fma(a, r, a) : a == kErfIsOne ? broadcast(1.0f) : tanh_of_twice(p, q), x);
}

// a * b - n log(2), where the product's own rounding would be too much
inline Floats product_less_logs(Floats a, Floats b, Floats n) {
#if defined(__FMA__) || defined(__ARM_FEATURE_FMA)
  return fma(-n, broadcast(kLog2Low), fma(a, b, -n * kLog2High));
#else
  const Floats a_high = from_bits(bits_of(a) & ~0xfff), b_high = from_bits(bits_of(b) & ~0xfff);
  return subtract_logs(a_high * b_high, n) + ((a - a_high) * b + a_high * (b - b_high));
#endif
}
// exp(-a^2 / 2) = (1 + rest) * 2^n
struct Bell {
  Floats rest, n;
};
inline Bell normal_bell(Floats a) {
  const Floats half = -0.5f * a, n = whole_powers(half * a);
  return {expm1_reduced(product_less_logs(half, a, n)), n};
}
// The normal distribution's tail beyond `a` over its bell there: above / below. Also a * above.
struct TailRatio {
  Floats above, times_a, below;
};
inline TailRatio tail_to_bell(Floats a) {
  // P / (sqrt(2 pi) a P + T), where P's roundings leave a ratio of large a as it is
  const Floats p = polynomial(a, 0.875f, 0.826291144f, 0.365812629f, 0.0866364464f, 0.00957362261f), w = a * p;
  const Floats t = polynomial(a, 1.75f, 0.85558182f, 0.218056008f, 0.0239728708f);
  return {p, w, fma(w, broadcast(2.50662827f), t)};
}

constexpr double kSeluAlpha = 1.6732632423543773, kSeluScale = 1.0507009873554805;  // arXiv:1706.02515

// Minus infinity as the lowest number: what decays below 0 is then 0, not inf * 0.
inline Floats finite_below(Floats x) { return larger(x, broadcast(-0x1.fffffep127f)); }
inline Doubles finite_below(Doubles x) { return larger(x, broadcast(-0x1.fffffffffffffp1023)); }

inline Doubles normal_cdf(Doubles x, Normal n) { return x < 0.0 ? n.tail : 1.0 - n.tail; }
inline Doubles gelu(Doubles x) {
  x = finite_below(x);
  return x * normal_cdf(x, normal(x));
}
constexpr float kTailIsZero = 17.0f, kExpIsZero = 150.0f, kGeluTanhIsZero = 12.0f;  // from these |x| on
inline Floats gelu(Floats x) {  // max(x, 0) - a Phi(-a), where a = |x|
  const Floats a = smaller(absolute(x), broadcast(kTailIsZero));
  const Bell bell = normal_bell(a);
  const TailRatio ratio = tail_to_bell(a);
  const Floats tail = ratio.times_a / ratio.below;
  return larger(x, Floats{}) - times_power(fma(tail, bell.rest, tail), bell.n);
}

// x * sigmoid(u) for x < 0, from exp(u / 2): half the exponent stays clear of the denormal numbers.
inline Doubles gated_below(Doubles x, Doubles root) { return x * root / (1.0 + root * root) * root; }
// x * sigmoid(u), where u has the sign of x, as max(x, 0) - a e / (1 + e): a = |x|, e = exp(-|u|) * 2^32
inline Floats gated(Floats x, Floats a, Floats e) {
  const Floats d = fma(e, broadcast(kLower), broadcast(1.0f));
  return fma(a * e / d, broadcast(-kLower), larger(x, Floats{}));
}
inline Doubles silu(Doubles x) {
  x = finite_below(x);
  const Doubles root = exp(-0.5 * absolute(x));
  return x < 0.0 ? gated_below(x, root) : x / (1.0 + root * root);
}
inline Floats silu(Floats x) {
  const Floats a = smaller(absolute(x), broadcast(kExpIsZero));
  return gated(x, a, exp_raised(-a, Floats{}));
}

// x * sigmoid(u) with u = 2 sqrt(2 / pi) (x + 0.044715 x^3); exp is given the rounding error of u too.
constexpr double kGeluLinear = 1.5957691216057307, kGeluCubic = 0.07135481627260025;
inline Doubles gelu_tanh(Doubles x) {
  constexpr long double linear = 1.595769121605730711759784239737527474L,
                        cubic = 0.07135481627260024877633875227986354L;
  x = finite_below(x);
  double lanes[kLanes<double>], high[kLanes<double>], low[kLanes<double>];
  store(lanes, smaller(absolute(x), broadcast(40.0)));
  for (int i = 0; i < kLanes<double>; ++i) {
    const long double v = lanes[i], half = -v * (linear + cubic * v * v) / 2;
    high[i] = static_cast<double>(half);
    low[i] = static_cast<double>(half - high[i]);
  }
  const Doubles root = exp(load(high)) * (1.0 + load(low));
  return x < 0.0 ? gated_below(x, root) : x / (1.0 + root * root);
}
inline Floats gelu_tanh_exp(Floats a) {  // 0 <= a <= 12
  float lanes[kLanes<float>], high[kLanes<float>], low[kLanes<float>];
  store(lanes, a);
  for (int i = 0; i < kLanes<float>; ++i) {
    const double v = lanes[i], u = -v * (kGeluLinear + kGeluCubic * v * v);
    high[i] = static_cast<float>(u);
    low[i] = static_cast<float>(u - high[i]);
  }
  return exp_raised(load(high), load(low));
}
inline Floats gelu_tanh(Floats x) {
  const Floats a = smaller(absolute(x), broadcast(kGeluTanhIsZero));
  return gated(x, a, gelu_tanh_exp(a));
}
// log(1 + exp(x)); log(1 + e) = 2 artanh(t / 2) with t = 2 e / (2 + e)
inline Doubles log1p_exp(Doubles x) { return larger(x, Doubles{}) + log1p(exp(-absolute(x))); }
inline Floats log1p_exp(Floats x) {
  const Floats e = exp_below(-absolute(x)), t = (e + e) / (2.0f + e);
  const Floats ratio = polynomial(t * t, 1.0f, 0.0833330204f, 0.0125067271f, 0.00218764147f, 0.000547108615f);
  return fma(t, ratio, larger(x, Floats{}));
}
template <class V>
inline V logsigmoid(V x) {
  return -log1p_exp(-x);
}
// x * tanh(log(1 + exp(x)))
inline Doubles mish(Doubles x) {  // below 0 with e = exp(x): e (e + 2) / (e (e + 2) + 2)
  x = finite_below(x);
  const Doubles root = exp(-0.5 * absolute(x)), e = root * root, n = fma(e, e, 2.0 * e);
  const Doubles above = (1.0 + 2.0 * e) / fma(e, 2.0 * e, 1.0 + 2.0 * e);
  return x > 0.0 ? x * above : x * root * ((2.0 + e) / (n + 2.0)) * root;
}
inline Floats mish(Floats x) {  // the fraction as 1 - share, which is small far from 0
  x = finite_below(x);
  const Floats a = smaller(absolute(x), broadcast(kExpIsZero));
  const Floats raised = exp_raised(-a, Floats{}), e = raised * kLower, e2 = 2.0f * e;
  const Floats share = (x > 0.0f ? e2 * e : fma(e, e, e)) / (x > 0.0f ? fma(e2, e, 1.0f + e2) : fma(e, e, e2) + 2.0f);
  return x * ((x > 0.0f ? broadcast(1.0f) : raised) * (1.0f - share)) *
         (x > 0.0f ? broadcast(1.0f) : broadcast(kLower));
}

}  // namespace
}  // namespace dd2424::cpu::DD2424_ISA
