#pragma once
#include <cuda_runtime.h>
#include <math.h>

#include "core/elementwise.h"
#include "cuda/value.h"

// The operations on one element, in the type that it is computed in.
namespace dd2424::cuda {
namespace {

#include "core/scalar_functions.h"

// Whether there is an operation on elements that are computed in T.
template <class T>
constexpr bool has(UnaryOp op) {
  const bool any = op == UnaryOp::neg || op == UnaryOp::abs || op == UnaryOp::sign || op == UnaryOp::square ||
                   op == UnaryOp::relu || op == UnaryOp::clamp;
  if constexpr (std::is_same_v<T, bool>) return op == UnaryOp::bit_not;
  else if constexpr (std::is_floating_point_v<T>) return op != UnaryOp::bit_not;
  else return any || op == UnaryOp::bit_not;
}

// A parameter as a T; integers take the nearest they have, so that an infinite bound is none.
template <class T>
T parameter(double p) {
  if constexpr (std::is_integral_v<T> && !std::is_same_v<T, bool>) {
    constexpr T lowest = std::is_signed_v<T> ? T(T(1) << (sizeof(T) * 8 - 2)) * -2 : 0;
    constexpr T highest = T(~lowest);
    if (p >= static_cast<double>(highest)) return highest;
    if (p <= static_cast<double>(lowest)) return lowest;
  }
  return static_cast<T>(p);
}

constexpr double kSeluAlpha = 1.6732632423543773, kSeluScale = 1.0507009873554805;  // arXiv:1706.02515
constexpr double kGeluLinear = 1.5957691216057307, kGeluCubic = 0.07135481627260025;
constexpr double kRootHalf = 0.7071067811865476, kBell = 0.3989422804014327;  // sqrt(1/2), 1 / sqrt(2 pi)

template <class T>
__device__ inline T finite_below(T x) {  // what decays below 0 is then 0, not inf * 0
  constexpr T lowest = sizeof(T) == 4 ? T(-0x1.fffffep127) : T(-0x1.fffffffffffffp1023);
  return x < lowest ? lowest : x;
}
template <class T>
__device__ inline T sigmoid(T x) {
  const T e = exp(-fabs(x));
  return (x < 0 ? e : T(1)) / (T(1) + e);
}
template <class T>
__device__ inline T sigmoid_slope(T x) {  // s (1 - s), also where s rounds to 1
  const T e = exp(-fabs(x));
  return e / ((T(1) + e) * (T(1) + e));
}
template <class T>
__device__ inline T log1p_exp(T x) {
  return (x > 0 ? x : x != x ? x : T(0)) + log1p(exp(-fabs(x)));
}
template <class T>
__device__ inline T normal_cdf(T x) {
  return erfc(x * T(-kRootHalf)) * T(0.5);
}
template <class T>
__device__ inline T gelu_tanh_gate(T x) {
  return sigmoid(x * fma(x * x, T(kGeluCubic), T(kGeluLinear)));
}
template <class T>
__device__ inline T mish_gate(T x) {  // tanh(log(1 + exp(x))) = n / (n + 2), n = e (e + 2), e = exp(x); by e^-2 above 0
  const T e = exp(-fabs(x)), e2 = e * e;
  return x > 0 ? (1 + 2 * e) / (1 + 2 * e + 2 * e2) : fma(e, T(2), e2) / (fma(e, T(2), e2) + 2);
}
template <class T>
__device__ inline T product_or_zero(T x, T factor) {  // 0 where the factor is, be x infinite
  return factor == 0 ? T(0) : x * factor;
}

template <class T>
__device__ inline T gelu(T x) {
  return finite_below(x) * normal_cdf(finite_below(x));
}
template <class T>
__device__ inline T gelu_tanh(T x) {
  return finite_below(x) * gelu_tanh_gate(finite_below(x));
}
template <class T>
__device__ inline T silu(T x) {
  return finite_below(x) * sigmoid(finite_below(x));
}
template <class T>
__device__ inline T hard_gate(T x) {
  return (x + 3 < 0 ? T(0) : x + 3 > 6 ? T(6) : x + 3) / 6;
}
template <class T>
__device__ inline T power(T x, T exponent) {  // squares and cubes are what networks ask for
  return exponent == 2 ? x * x : exponent == 3 ? x * x * x : pow(x, exponent);
}

// dx from dy and y (tanh, sigmoid), or dy and x.
template <class T>
__device__ inline T tanh_backward(T dy, T y) {
  return dy * fma(-y, y, T(1));
}
template <class T>
__device__ inline T sigmoid_backward(T dy, T y) {
  return dy * (y * (1 - y));
}
template <class T>
__device__ inline T gelu_backward(T dy, T x) {
  return dy * (normal_cdf(x) + product_or_zero(x, exp(x * x * T(-0.5)) * T(kBell)));
}
template <class T>
__device__ inline T gelu_tanh_backward(T dy, T x) {
  const T u = x * fma(x * x, T(kGeluCubic), T(kGeluLinear)), s = sigmoid(u), t = sigmoid_slope(u);
  return dy * (s + product_or_zero(x * fma(x * x, T(3 * kGeluCubic), T(kGeluLinear)), t));
}
template <class T>
__device__ inline T silu_backward(T dy, T x) {
  return dy * (sigmoid(x) + product_or_zero(x, sigmoid_slope(x)));
}

// The rare ones take so many registers that they have a kernel of their own.
constexpr bool is_rare(UnaryOp op) { return op >= UnaryOp::erfinv && op <= UnaryOp::polygamma; }
template <class T>
__device__ inline T rare_unary(UnaryOp op, T x, double order) {
  switch (op) {
    case UnaryOp::erfinv: return static_cast<T>(erfinv(static_cast<double>(x)));
    case UnaryOp::lgamma: return lgamma(x);
    case UnaryOp::digamma: return static_cast<T>(digamma(static_cast<double>(x)));
    default: return static_cast<T>(polygamma(order, static_cast<double>(x)));
  }
}

// Each of the following hands `each` the operation on one element: which it is, is asked once for many elements.

// Those that take many registers or instructions.
constexpr bool is_heavy(UnaryOp op) {
  return (op >= UnaryOp::expm1 && op <= UnaryOp::erfc && op != UnaryOp::log && op != UnaryOp::log2 &&
          op != UnaryOp::tanh) ||
         op == UnaryOp::logsigmoid || op == UnaryOp::celu || op == UnaryOp::softplus;
}
template <class T, class Each>
__device__ inline void heavy_unary(UnaryOp op, T p, T q, const Each& each) {
  switch (op) {
    case UnaryOp::expm1: return each([](T x) { return expm1(x); });
    case UnaryOp::log10: return each([](T x) { return log10(x); });
    case UnaryOp::log1p: return each([](T x) { return log1p(x); });
    case UnaryOp::sin: return each([](T x) { return sin(x); });
    case UnaryOp::cos: return each([](T x) { return cos(x); });
    case UnaryOp::tan: return each([](T x) { return tan(x); });
    case UnaryOp::asin: return each([](T x) { return asin(x); });
    case UnaryOp::acos: return each([](T x) { return acos(x); });
    case UnaryOp::atan: return each([](T x) { return atan(x); });
    case UnaryOp::sinh: return each([](T x) { return sinh(x); });
    case UnaryOp::cosh: return each([](T x) { return cosh(x); });
    case UnaryOp::asinh: return each([](T x) { return asinh(x); });
    case UnaryOp::acosh: return each([](T x) { return acosh(x); });
    case UnaryOp::atanh: return each([](T x) { return atanh(x); });
    case UnaryOp::erf: return each([](T x) { return erf(x); });
    case UnaryOp::erfc: return each([](T x) { return erfc(x); });
    case UnaryOp::logsigmoid: return each([](T x) { return -log1p_exp(-x); });
    case UnaryOp::celu: return each([=](T x) { return x > 0 ? x : expm1(x / p) * p; });
    case UnaryOp::softplus: return each([=](T x) { return x * p > q ? x : log1p_exp(x * p) / p; });
    default: return;
  }
}
template <class T, class Each>
__device__ inline void floating_unary(UnaryOp op, T p, T q, const Each& each) {
  switch (op) {
    case UnaryOp::reciprocal: return each([](T x) { return T(1) / x; });
    case UnaryOp::sqrt: return each([](T x) { return sqrt(x); });
    case UnaryOp::rsqrt: return each([](T x) { return T(1) / sqrt(x); });
    case UnaryOp::exp: return each([](T x) { return exp(x); });
    case UnaryOp::exp2: return each([](T x) { return exp2(x); });
    case UnaryOp::log: return each([](T x) { return log(x); });
    case UnaryOp::log2: return each([](T x) { return log2(x); });
    case UnaryOp::tanh: return each([](T x) { return tanh(x); });
    case UnaryOp::sigmoid: return each([](T x) { return sigmoid(x); });
    case UnaryOp::floor: return each([](T x) { return floor(x); });
    case UnaryOp::ceil: return each([](T x) { return ceil(x); });
    case UnaryOp::round: return each([](T x) { return rint(x); });
    case UnaryOp::trunc: return each([](T x) { return trunc(x); });
    case UnaryOp::frac: return each([](T x) { return x - trunc(x); });
    case UnaryOp::leaky_relu: return each([=](T x) { return x > 0 ? x : x * p; });
    case UnaryOp::elu: return each([=](T x) { return x > 0 ? x : expm1(x) * p; });
    case UnaryOp::selu:
      return each([](T x) { return x > 0 ? x * T(kSeluScale) : expm1(x) * T(kSeluScale * kSeluAlpha); });
    case UnaryOp::gelu: return each([](T x) { return gelu(x); });
    case UnaryOp::gelu_tanh: return each([](T x) { return gelu_tanh(x); });
    case UnaryOp::silu: return each([](T x) { return silu(x); });
    case UnaryOp::hardtanh: return each([=](T x) { return x < p ? p : x > q ? q : x; });
    case UnaryOp::hardsigmoid: return each([](T x) { return hard_gate(x); });
    case UnaryOp::hardswish: return each([](T x) { return finite_below(x) * hard_gate(finite_below(x)); });
    case UnaryOp::mish: return each([](T x) { return finite_below(x) * mish_gate(finite_below(x)); });
    case UnaryOp::softsign: return each([](T x) { return x / (1 + fabs(x)); });
    default: return;
  }
}
template <class T, class Each>
__device__ inline void light_unary(UnaryOp op, T p, T q, const Each& each) {
  if constexpr (std::is_same_v<T, bool>) {
    return each([](T x) { return !x; });
  } else {
    switch (op) {
      case UnaryOp::neg: return each([](T x) { return T(-x); });
      case UnaryOp::abs:
        if constexpr (std::is_floating_point_v<T>) return each([](T x) { return fabs(x); });
        else return each([](T x) { return x < T(0) ? T(-x) : x; });
      case UnaryOp::sign:  // 0 for NaN, as PyTorch has it
        return each([](T x) { return x > T(0) ? T(1) : x < T(0) ? T(-1) : T(0); });
      case UnaryOp::square: return each([](T x) { return T(x * x); });
      case UnaryOp::relu: return each([](T x) { return x < T(0) ? T(0) : x; });
      case UnaryOp::clamp:
        return each([=](T x) {
          const T above = x < p ? p : x;
          return above > q ? q : above;
        });
      default: break;
    }
    if constexpr (std::is_floating_point_v<T>) return floating_unary(op, p, q, each);
    else return each([](T x) { return T(~x); });
  }
}

template <class T>
__device__ inline T apply(UnaryOp op, T x, T p, T q) {  // a light one, to one element
  T y = x;
  light_unary(op, p, q, [&](const auto& f) { y = f(x); });
  return y;
}

template <class T>
constexpr bool has(BinaryOp op) {
  const bool any = op == BinaryOp::add || op == BinaryOp::add_scaled || op == BinaryOp::sub || op == BinaryOp::mul ||
                   (op >= BinaryOp::maximum && op <= BinaryOp::fmin) || op == BinaryOp::relu_backward;
  const bool divides =
      op == BinaryOp::floor_div || op == BinaryOp::remainder || op == BinaryOp::fmod || op == BinaryOp::pow;
  const bool bits = op >= BinaryOp::bit_and && op <= BinaryOp::shift_right;
  if constexpr (std::is_same_v<T, bool>)
    return op == BinaryOp::add || op == BinaryOp::mul || (op >= BinaryOp::maximum && op <= BinaryOp::fmin) ||
           (op >= BinaryOp::bit_and && op <= BinaryOp::bit_xor);
  else if constexpr (std::is_floating_point_v<T>) return !bits;
  else return any || divides || bits;
}

constexpr bool is_heavy(BinaryOp op) {
  return (op >= BinaryOp::floor_div && op <= BinaryOp::pow) || op == BinaryOp::atan2 || op == BinaryOp::hypot ||
         op == BinaryOp::xlogy;
}
template <class T, class Each>
__device__ inline void heavy_floating(BinaryOp op, const Each& each) {
  switch (op) {
    case BinaryOp::floor_div: return each([](T a, T b) { return floor_divide(a, b); });
    case BinaryOp::remainder: return each([](T a, T b) { return floor_remainder(a, b); });
    case BinaryOp::fmod: return each([](T a, T b) { return fmod(a, b); });
    case BinaryOp::pow: return each([](T a, T b) { return power(a, b); });
    case BinaryOp::atan2: return each([](T a, T b) { return atan2(a, b); });
    case BinaryOp::hypot: return each([](T a, T b) { return hypot(a, b); });
    case BinaryOp::xlogy: return each([](T a, T b) { return a == 0 && b == b ? T(0) : a * log(b); });
    default: return;
  }
}
template <class T, class Each>
__device__ inline void heavy_integer(BinaryOp op, const Each& each) {
  switch (op) {
    case BinaryOp::floor_div: return each([](T a, T b) { return integer_divide(a, b); });
    case BinaryOp::remainder: return each([](T a, T b) { return integer_remainder(a, b); });
    case BinaryOp::fmod: return each([](T a, T b) { return truncated_remainder(a, b); });
    case BinaryOp::pow: return each([](T a, T b) { return integer_power(a, b); });
    default: return;
  }
}
template <class T, class Each>
__device__ inline void heavy_binary(BinaryOp op, const Each& each) {
  if constexpr (std::is_floating_point_v<T>) heavy_floating<T>(op, each);
  else if constexpr (!std::is_same_v<T, bool>) heavy_integer<T>(op, each);
}

template <class T, class Each>
__device__ inline void slopes(BinaryOp op, T scale, T bound, const Each& each) {
  switch (op) {
    case BinaryOp::leaky_relu_backward: return each([=](T a, T b) { return b > 0 ? a : a * scale; });
    case BinaryOp::tanh_backward: return each([](T a, T b) { return tanh_backward(a, b); });
    case BinaryOp::sigmoid_backward: return each([](T a, T b) { return sigmoid_backward(a, b); });
    case BinaryOp::gelu_backward: return each([](T a, T b) { return gelu_backward(a, b); });
    case BinaryOp::gelu_tanh_backward: return each([](T a, T b) { return gelu_tanh_backward(a, b); });
    case BinaryOp::silu_backward: return each([](T a, T b) { return silu_backward(a, b); });
    case BinaryOp::elu_backward: return each([=](T a, T b) { return b > 0 ? a : a * scale * exp(b); });
    case BinaryOp::celu_backward: return each([=](T a, T b) { return b > 0 ? a : a * exp(b / scale); });
    case BinaryOp::softsign_backward:
      return each([](T a, T b) {
        const T r = 1 / (1 + fabs(b));
        return a * (r * r);
      });
    case BinaryOp::hardtanh_backward: return each([=](T a, T b) { return b <= scale || b >= bound ? T(0) : a; });
    case BinaryOp::selu_backward:
      return each([](T a, T b) { return a * (b > 0 ? T(kSeluScale) : exp(b) * T(kSeluScale * kSeluAlpha)); });
    case BinaryOp::softplus_backward: return each([=](T a, T b) { return a * sigmoid(b * scale); });
    case BinaryOp::logsigmoid_backward: return each([](T a, T b) { return a * sigmoid(-b); });
    case BinaryOp::hardsigmoid_backward: return each([](T a, T b) { return a * (fabs(b) < 3 ? T(1.0 / 6) : T(0)); });
    case BinaryOp::hardswish_backward:
      return each([](T a, T b) { return a * (b >= 3 ? T(1) : b <= -3 ? T(0) : b * T(1.0 / 3) + T(0.5)); });
    case BinaryOp::mish_backward:
      return each([](T a, T b) {  // t + x t', where t' = (1 - t^2) sigmoid(x) for t = tanh(log(1 + exp(x)))
        const T x = finite_below(b), t = mish_gate(x);
        return a * (t + product_or_zero(x, (1 - t * t) * sigmoid(x)));
      });
    default: return;
  }
}

__device__ inline bool is_and(BinaryOp op) {  // of truths
  return op == BinaryOp::mul || op == BinaryOp::minimum || op == BinaryOp::fmin || op == BinaryOp::bit_and;
}
template <class T, class Each>
__device__ inline void bits_binary(BinaryOp op, const Each& each) {
  switch (op) {
    case BinaryOp::bit_and: return each([](T a, T b) { return T(a & b); });
    case BinaryOp::bit_or: return each([](T a, T b) { return T(a | b); });
    case BinaryOp::bit_xor: return each([](T a, T b) { return T(a ^ b); });
    case BinaryOp::shift_left: return each([](T a, T b) { return shifted_left(a, b); });
    case BinaryOp::shift_right: return each([](T a, T b) { return shifted_right(a, b); });
    default: return;
  }
}
template <class T, class Each>
__device__ inline void light_binary(BinaryOp op, T scale, T bound, const Each& each) {
  if constexpr (std::is_same_v<T, bool>) {
    if (op == BinaryOp::bit_xor) return each([](T a, T b) { return a != b; });
    if (is_and(op)) return each([](T a, T b) { return a && b; });
    return each([](T a, T b) { return a || b; });
  } else {
    switch (op) {
      case BinaryOp::add: return each([](T a, T b) { return T(a + b); });
      case BinaryOp::add_scaled:
        if constexpr (std::is_floating_point_v<T>) return each([=](T a, T b) { return fma(b, scale, a); });
        else return each([=](T a, T b) { return T(a + T(b * scale)); });
      case BinaryOp::sub: return each([](T a, T b) { return T(a - b); });
      case BinaryOp::mul: return each([](T a, T b) { return T(a * b); });
      case BinaryOp::div:
        if constexpr (std::is_floating_point_v<T>) return each([](T a, T b) { return a / b; });
        else return;
      case BinaryOp::copysign:
        if constexpr (std::is_floating_point_v<T>) return each([](T a, T b) { return copysign(a, b); });
        else return;
      case BinaryOp::maximum: return each([](T a, T b) { return a > b || a != a ? a : b; });
      case BinaryOp::minimum: return each([](T a, T b) { return a < b || a != a ? a : b; });
      case BinaryOp::fmax: return each([](T a, T b) { return a > b || b != b ? a : b; });
      case BinaryOp::fmin: return each([](T a, T b) { return a < b || b != b ? a : b; });
      case BinaryOp::relu_backward: return each([](T a, T b) { return b <= T(0) ? T(0) : a; });
      default: break;
    }
    if constexpr (std::is_floating_point_v<T>) return slopes(op, scale, bound, each);
    else return bits_binary<T>(op, each);
  }
}

template <class T, class Each>
__device__ inline void comparison(CompareOp op, const Each& each) {
  switch (op) {
    case CompareOp::eq: return each([](T a, T b) { return a == b; });
    case CompareOp::ne: return each([](T a, T b) { return a != b; });
    case CompareOp::lt: return each([](T a, T b) { return a < b; });
    case CompareOp::le: return each([](T a, T b) { return a <= b; });
    case CompareOp::gt: return each([](T a, T b) { return a > b; });
    case CompareOp::ge: return each([](T a, T b) { return a >= b; });
    case CompareOp::logical_and: return each([](T a, T b) { return a != T(0) && b != T(0); });
    case CompareOp::logical_or: return each([](T a, T b) { return a != T(0) || b != T(0); });
    case CompareOp::logical_xor: return each([](T a, T b) { return (a != T(0)) != (b != T(0)); });
  }
}

template <class T, class Each>
__device__ inline void property(TestOp op, const Each& each) {
  if (op == TestOp::logical_not) return each([](T x) { return x == T(0); });
  if constexpr (std::is_floating_point_v<T>) {
    if (op == TestOp::isnan) return each([](T x) { return x != x; });
    if (op == TestOp::isfinite) return each([](T x) { return x - x == 0; });
    return each([](T x) { return !(x - x == 0) && x == x; });
  } else {
    return each([is_true = op == TestOp::isfinite](T) { return is_true; });
  }
}

}  // namespace
}  // namespace dd2424::cuda
