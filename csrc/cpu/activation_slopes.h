#pragma once
// Derivatives of activations that are made from what they are applied to.
#include "cpu/math.h"

namespace dd2424::cpu::DD2424_ISA {
namespace {

// d gelu_tanh(x) / dx = s + x s (1 - s) du, with s = sigmoid(u) and u = kGeluLinear x + kGeluCubic x^3
template <class V>
inline V gelu_tanh_slope(V x) {
  using T = Element<V>;
  const V x2 = x * x, s = sigmoid(x * fma(x2, broadcast(T(kGeluCubic)), broadcast(T(kGeluLinear))));
  const V du = fma(x2, broadcast(T(3 * kGeluCubic)), broadcast(T(kGeluLinear)));
  const V rest = x * du * s * (T(1) - s);
  return s + (s * (T(1) - s) == T(0) ? V{} : rest);  // far out, inf * 0
}
template <class V>
inline V gelu_slope(V x) {  // Phi(x) + x phi(x)
  const Normal<V> n = normal(x);
  const V rest = x * n.bell * Element<V>(0.3989422804014327);
  return normal_cdf(x, n) + (n.bell == Element<V>(0) ? V{} : rest);
}
template <class V>
inline V silu_slope(V x) {
  using T = Element<V>;
  const V s = sigmoid(x), t = s * (T(1) - s);
  return s + (t == T(0) ? V{} : x * t);
}

}  // namespace
}  // namespace dd2424::cpu::DD2424_ISA
