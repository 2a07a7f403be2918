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

template <class T>
__device__ inline T floating_unary(UnaryOp op, T x, T p, T q) {
  switch (op) {
    case UnaryOp::reciprocal: return T(1) / x;
    case UnaryOp::sqrt: return sqrt(x);
    case UnaryOp::rsqrt: return T(1) / sqrt(x);
    case UnaryOp::exp: return exp(x);
    case UnaryOp::exp2: return exp2(x);
    case UnaryOp::expm1: return expm1(x);
    case UnaryOp::log: return log(x);
    case UnaryOp::log2: return log2(x);
    case UnaryOp::log10: return log10(x);
    case UnaryOp::log1p: return log1p(x);
    case UnaryOp::sin: return sin(x);
    case UnaryOp::cos: return cos(x);
    case UnaryOp::tan: return tan(x);
    case UnaryOp::asin: return asin(x);
    case UnaryOp::acos: return acos(x);
    case UnaryOp::atan: return atan(x);
    case UnaryOp::sinh: return sinh(x);
    case UnaryOp::cosh: return cosh(x);
    case UnaryOp::tanh: return tanh(x);
    case UnaryOp::asinh: return asinh(x);
    case UnaryOp::acosh: return acosh(x);
    case UnaryOp::atanh: return atanh(x);
    case UnaryOp::erf: return erf(x);
    case UnaryOp::erfc: return erfc(x);
    case UnaryOp::sigmoid: return sigmoid(x);
    case UnaryOp::logsigmoid: return -log1p_exp(-x);
    case UnaryOp::floor: return floor(x);
    case UnaryOp::ceil: return ceil(x);
    case UnaryOp::round: return rint(x);
    case UnaryOp::trunc: return trunc(x);
    case UnaryOp::frac: return x - trunc(x);
    case UnaryOp::leaky_relu: return x > 0 ? x : x * p;
    case UnaryOp::elu: return x > 0 ? x : expm1(x) * p;
    case UnaryOp::celu: return x > 0 ? x : expm1(x / p) * p;
    case UnaryOp::selu: return x > 0 ? x * T(kSeluScale) : expm1(x) * T(kSeluScale * kSeluAlpha);
    case UnaryOp::gelu: return finite_below(x) * normal_cdf(finite_below(x));
    case UnaryOp::gelu_tanh: return finite_below(x) * gelu_tanh_gate(finite_below(x));
    case UnaryOp::silu: return finite_below(x) * sigmoid(finite_below(x));
    case UnaryOp::softplus: return x * p > q ? x : log1p_exp(x * p) / p;
    case UnaryOp::hardtanh: return x < p ? p : x > q ? q : x;
    case UnaryOp::hardsigmoid: return (x + 3 < 0 ? T(0) : x + 3 > 6 ? T(6) : x + 3) / 6;
    case UnaryOp::hardswish: {
      const T finite = finite_below(x);
      return finite * ((finite + 3 < 0 ? T(0) : finite + 3 > 6 ? T(6) : finite + 3) / 6);
    }
    case UnaryOp::mish: return finite_below(x) * mish_gate(finite_below(x));
    case UnaryOp::softsign: return x / (1 + fabs(x));
    default: return x;
  }
}

template <class T>
__device__ inline T apply(UnaryOp op, T x, T p, T q) {
  if constexpr (std::is_same_v<T, bool>) {
    return !x;
  } else {
    switch (op) {
      case UnaryOp::neg: return T(-x);
      case UnaryOp::abs:
        if constexpr (std::is_floating_point_v<T>) return fabs(x);
        else return x < T(0) ? T(-x) : x;
      case UnaryOp::sign: return x > T(0) ? T(1) : x < T(0) ? T(-1) : T(0);  // 0 for NaN, as PyTorch has it
      case UnaryOp::square: return T(x * x);
      case UnaryOp::relu: return x < T(0) ? T(0) : x;
      case UnaryOp::clamp: {
        const T above = x < p ? p : x;
        return above > q ? q : above;
      }
      default: break;
    }
    if constexpr (std::is_floating_point_v<T>) return floating_unary(op, x, p, q);
    else return T(~x);
  }
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

template <class T>
__device__ inline T floating_binary(BinaryOp op, T a, T b, T scale, T bound) {
  switch (op) {
    case BinaryOp::div: return a / b;
    case BinaryOp::floor_div: return floor_divide(a, b);
    case BinaryOp::remainder: return floor_remainder(a, b);
    case BinaryOp::fmod: return fmod(a, b);
    case BinaryOp::pow: return pow(a, b);
    case BinaryOp::atan2: return atan2(a, b);
    case BinaryOp::hypot: return hypot(a, b);
    case BinaryOp::copysign: return copysign(a, b);
    case BinaryOp::xlogy: return a == 0 && b == b ? T(0) : a * log(b);
    case BinaryOp::leaky_relu_backward: return b > 0 ? a : a * scale;
    case BinaryOp::tanh_backward: return a * fma(-b, b, T(1));
    case BinaryOp::sigmoid_backward: return a * (b * (1 - b));
    case BinaryOp::gelu_backward: return a * (normal_cdf(b) + product_or_zero(b, exp(b * b * T(-0.5)) * T(kBell)));
    case BinaryOp::gelu_tanh_backward: {
      const T u = b * fma(b * b, T(kGeluCubic), T(kGeluLinear)), s = sigmoid(u), t = sigmoid_slope(u);
      return a * (s + product_or_zero(b * fma(b * b, T(3 * kGeluCubic), T(kGeluLinear)), t));
    }
    case BinaryOp::silu_backward: {
      const T s = sigmoid(b);
      return a * (s + product_or_zero(b, sigmoid_slope(b)));
    }
    case BinaryOp::elu_backward: return b > 0 ? a : a * scale * exp(b);
    case BinaryOp::celu_backward: return b > 0 ? a : a * exp(b / scale);
    case BinaryOp::softsign_backward: {
      const T r = 1 / (1 + fabs(b));
      return a * (r * r);
    }
    case BinaryOp::hardtanh_backward: return b <= scale || b >= bound ? T(0) : a;
    case BinaryOp::selu_backward: return a * (b > 0 ? T(kSeluScale) : exp(b) * T(kSeluScale * kSeluAlpha));
    case BinaryOp::softplus_backward: return a * sigmoid(b * scale);
    case BinaryOp::logsigmoid_backward: return a * sigmoid(-b);
    case BinaryOp::hardsigmoid_backward: return a * (fabs(b) < 3 ? T(1.0 / 6) : T(0));
    case BinaryOp::hardswish_backward: return a * (b >= 3 ? T(1) : b <= -3 ? T(0) : b * T(1.0 / 3) + T(0.5));
    case BinaryOp::mish_backward: {  // t + x t', where t' = (1 - t^2) sigmoid(x) for t = tanh(log(1 + exp(x)))
      const T x = finite_below(b), t = mish_gate(x);
      return a * (t + product_or_zero(x, (1 - t * t) * sigmoid(x)));
    }
    default: return a;
  }
}

template <class T>
__device__ inline T integer_binary(BinaryOp op, T a, T b) {
  switch (op) {
    case BinaryOp::floor_div: return integer_divide(a, b);
    case BinaryOp::remainder: return integer_remainder(a, b);
    case BinaryOp::fmod: return truncated_remainder(a, b);
    case BinaryOp::pow: return integer_power(a, b);
    case BinaryOp::bit_and: return T(a & b);
    case BinaryOp::bit_or: return T(a | b);
    case BinaryOp::bit_xor: return T(a ^ b);
    case BinaryOp::shift_left: return shifted_left(a, b);
    case BinaryOp::shift_right: return shifted_right(a, b);
    default: return a;
  }
}

__device__ inline bool logical(BinaryOp op, bool a, bool b) {
  if (op == BinaryOp::bit_xor) return a != b;
  const bool is_and = op == BinaryOp::mul || op == BinaryOp::minimum || op == BinaryOp::fmin || op == BinaryOp::bit_and;
  return is_and ? a && b : a || b;
}

template <class T>
__device__ inline T apply(BinaryOp op, T a, T b, T scale, T bound) {
  if constexpr (std::is_same_v<T, bool>) {
    return logical(op, a, b);
  } else {
    switch (op) {
      case BinaryOp::add: return T(a + b);
      case BinaryOp::add_scaled:
        if constexpr (std::is_floating_point_v<T>) return fma(b, scale, a);
        else return T(a + T(b * scale));
      case BinaryOp::sub: return T(a - b);
      case BinaryOp::mul: return T(a * b);
      case BinaryOp::maximum: return a > b || a != a ? a : b;
      case BinaryOp::minimum: return a < b || a != a ? a : b;
      case BinaryOp::fmax: return a > b || b != b ? a : b;
      case BinaryOp::fmin: return a < b || b != b ? a : b;
      case BinaryOp::relu_backward: return b <= T(0) ? T(0) : a;
      default: break;
    }
    if constexpr (std::is_floating_point_v<T>) return floating_binary(op, a, b, scale, bound);
    else return integer_binary(op, a, b);
  }
}

template <class T>
__device__ inline bool apply(CompareOp op, T a, T b) {
  switch (op) {
    case CompareOp::eq: return a == b;
    case CompareOp::ne: return a != b;
    case CompareOp::lt: return a < b;
    case CompareOp::le: return a <= b;
    case CompareOp::gt: return a > b;
    case CompareOp::ge: return a >= b;
    case CompareOp::logical_and: return a != T(0) && b != T(0);
    case CompareOp::logical_or: return a != T(0) || b != T(0);
    case CompareOp::logical_xor: return (a != T(0)) != (b != T(0));
  }
  return false;
}

template <class T>
__device__ inline bool apply(TestOp op, T x) {
  if (op == TestOp::logical_not) return x == T(0);
  if constexpr (std::is_floating_point_v<T>) {
    if (op == TestOp::isnan) return x != x;
    const bool is_finite = x - x == 0;
    return op == TestOp::isfinite ? is_finite : !is_finite && x == x;
  } else {
    return op == TestOp::isfinite;
  }
}

}  // namespace
}  // namespace dd2424::cuda
