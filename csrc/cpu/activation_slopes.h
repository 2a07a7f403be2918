#pragma once
// Derivatives of activations that are made from what they are applied to.
#include "cpu/math.h"

namespace dd2424::cpu::DD2424_ISA {
namespace {

// Phi(x) + x phi(x), from what it is at -|x|: 1 less that is what it is at |x|.
inline Floats gelu_slope(Floats x) {
  const Floats a = smaller(absolute(x), broadcast(kTailIsZero));
  const Bell bell = normal_bell(a);
  const TailRatio ratio = tail_to_bell(a);
  const Floats rest = fma(a, broadcast(-0.39894228f), ratio.above / ratio.below);
  const Floats below = times_power(fma(rest, bell.rest, rest), bell.n);
  return x < 0.0f ? below : 1.0f - below;
}
inline Doubles gelu_slope(Doubles x) {
  const Normal n = normal(x);
  return normal_cdf(x, n) + (n.bell == 0.0 ? Doubles{} : x * n.bell * 0.3989422804014327);
}

// d x sigmoid(u) / dx, where u has the sign of x, likewise: e (1 + e - a u') / (1 + e)^2 at -a, where a = |x|, and
// e = exp(-|u|), here divided by `lower`.
template <class V>
inline V gate_slope(V x, V a, V e, V du, Element<V> lower) {
  using T = Element<V>;
  const V low = e * lower,
          square = fma(low, low + T(2), broadcast(T(1)));  // (1 + e)^2, with a rounding of its own alone
  const V below = e * fma(-a, du, low + T(1)) / square * lower;
  return x < T(0) ? below : T(1) - below;
}
inline Floats silu_slope(Floats x) {
  const Floats a = smaller(absolute(x), broadcast(kExpIsZero));
  return gate_slope(x, a, exp_raised(-a, Floats{}), broadcast(1.0f), kLower);
}
inline Doubles silu_slope(Doubles x) {
  const Doubles a = smaller(absolute(x), broadcast(800.0));
  return gate_slope(x, a, exp(-a), broadcast(1.0), 1.0);
}
inline Floats gelu_tanh_slope(Floats x) {
  const Floats a = smaller(absolute(x), broadcast(kGeluTanhIsZero));
  const Floats du = fma(a * a, broadcast(float(3 * kGeluCubic)), broadcast(float(kGeluLinear)));
  return gate_slope(x, a, gelu_tanh_exp(a), du, kLower);
}
inline Doubles gelu_tanh_slope(Doubles x) {
  const Doubles a = smaller(absolute(x), broadcast(25.0)), a2 = a * a;
  const Doubles du = fma(a2, broadcast(3 * kGeluCubic), broadcast(kGeluLinear));
  return gate_slope(x, a, exp(-a * fma(a2, broadcast(kGeluCubic), broadcast(kGeluLinear))), du, 1.0);
}

}  // namespace
}  // namespace dd2424::cpu::DD2424_ISA
