#include "cpu/elementwise.h"
#include "cpu/elementwise_scalar.h"
#include "cpu/math.h"

namespace dd2424::cpu::DD2424_ISA {
namespace {

// p as a T; integers take the nearest they have, so that an infinite bound is none.
template <class T>
T parameter(double p) {
  if constexpr (!std::is_floating_point_v<T>) {
    constexpr double most =
        sizeof(T) == 8 ? 0x1p63 : double(std::is_signed_v<T> ? (1ll << (sizeof(T) * 8 - 1)) - 1 : 255);
    constexpr T highest = T(std::is_signed_v<T> ? ~(1ull << (sizeof(T) * 8 - 1)) : 255);
    if (p >= most) return highest;
    if (p <= (std::is_signed_v<T> ? -most - 1 : 0)) return std::is_signed_v<T> ? T(~highest) : T(0);
  }
  return static_cast<T>(p);
}
// A block function from f(x, p, q) on whole vectors.
template <class T, class F>
BlockFunction vectors(F) {
  return [](const Block& b) {
    const T p = parameter<T>(b.p), q = parameter<T>(b.q);
    run_block<T>(b, [=](Vec<T> x) { return F{}(x, p, q); }, static_cast<const T*>(b.x[0]));
  };
}
// A block function from f(x) on one element.
template <class T, class F>
BlockFunction scalars(F) {
  return [](const Block& b) { run_scalar<T>(b, F{}, static_cast<const T*>(b.x[0])); };
}

// Whole numbers nearest to x, below it, above it, towards zero. From 2^23 (2^52) on every number is whole.
template <class V>
V nearest_even(V x) {
  using T = Element<V>;
  constexpr T big = sizeof(T) == 4 ? T(0x1p23) : T(0x1p52);
  const V a = absolute(x);
  return copysign(a < big ? (a + big) - big : a, x);
}
template <class V>
V floor_of(V x) {
  const V r = nearest_even(x);
  return copysign(r - (r > x ? broadcast(Element<V>(1)) : V{}), x);
}
template <class V>
V trunc_of(V x) {
  return copysign(floor_of(absolute(x)), x);
}

template <class T>
BlockFunction any_type(UnaryOp op) {
  using V = Vec<T>;
  switch (op) {
    case UnaryOp::neg: return vectors<T>([](V x, T, T) { return -x; });
    case UnaryOp::square: return vectors<T>([](V x, T, T) { return x * x; });
    case UnaryOp::abs:
      return vectors<T>([](V x, T, T) {
        if constexpr (std::is_floating_point_v<T>) return absolute(x);
        else return x < T(0) ? -x : x;
      });
    case UnaryOp::sign:
      return vectors<T>([](V x, T, T) {
        const V one = broadcast(T(1));
        return x > T(0) ? one : (x < T(0) ? -one : V{});  // 0 for NaN, as PyTorch has it
      });
    case UnaryOp::relu: return vectors<T>([](V x, T, T) { return x < T(0) ? V{} : x; });
    case UnaryOp::clamp:
      return vectors<T>([](V x, T low, T high) {
        const V above = x < broadcast(low) ? broadcast(low) : x;
        return above > broadcast(high) ? broadcast(high) : above;
      });
    default: return nullptr;
  }
}

template <class T>
BlockFunction arithmetic(UnaryOp op) {
  using V = Vec<T>;
  switch (op) {
    case UnaryOp::reciprocal: return vectors<T>([](V x, T, T) { return T(1) / x; });
    case UnaryOp::sqrt: return vectors<T>([](V x, T, T) { return sqrt(x); });
    case UnaryOp::rsqrt: return vectors<T>([](V x, T, T) { return T(1) / sqrt(x); });
    case UnaryOp::floor: return vectors<T>([](V x, T, T) { return floor_of(x); });
    case UnaryOp::ceil: return vectors<T>([](V x, T, T) { return -floor_of(-x); });
    case UnaryOp::round: return vectors<T>([](V x, T, T) { return nearest_even(x); });
    case UnaryOp::trunc: return vectors<T>([](V x, T, T) { return trunc_of(x); });
    case UnaryOp::frac: return vectors<T>([](V x, T, T) { return x - trunc_of(x); });
    default: return nullptr;
  }
}

template <class T>
BlockFunction exponential(UnaryOp op) {
  using V = Vec<T>;
  switch (op) {
    case UnaryOp::exp: return vectors<T>([](V x, T, T) { return exp(x); });
    case UnaryOp::exp2: return vectors<T>([](V x, T, T) { return exp2(x); });
    case UnaryOp::expm1: return vectors<T>([](V x, T, T) { return expm1(x); });
    case UnaryOp::log: return vectors<T>([](V x, T, T) { return log(x); });
    case UnaryOp::log2: return vectors<T>([](V x, T, T) { return log2(x); });
    case UnaryOp::log10: return vectors<T>([](V x, T, T) { return log10(x); });
    case UnaryOp::log1p: return vectors<T>([](V x, T, T) { return log1p(x); });
    case UnaryOp::tanh: return vectors<T>([](V x, T, T) { return tanh(x); });
    case UnaryOp::erf: return vectors<T>([](V x, T, T) { return erf(x); });
    case UnaryOp::sigmoid: return vectors<T>([](V x, T, T) { return sigmoid(x); });
    case UnaryOp::logsigmoid: return vectors<T>([](V x, T, T) { return logsigmoid(x); });
    default: return nullptr;
  }
}

template <class T>
BlockFunction activation(UnaryOp op) {
  using V = Vec<T>;
  switch (op) {
    case UnaryOp::leaky_relu: return vectors<T>([](V x, T slope, T) { return x > T(0) ? x : x * slope; });
    case UnaryOp::elu: return vectors<T>([](V x, T alpha, T) { return x > T(0) ? x : expm1(x) * alpha; });
    case UnaryOp::selu:
      return vectors<T>([](V x, T, T) { return x > T(0) ? x * T(kSeluScale) : expm1(x) * T(kSeluScale * kSeluAlpha); });
    case UnaryOp::celu: return vectors<T>([](V x, T alpha, T) { return x > T(0) ? x : expm1(x / alpha) * alpha; });
    case UnaryOp::gelu: return vectors<T>([](V x, T, T) { return gelu(x); });
    case UnaryOp::gelu_tanh: return vectors<T>([](V x, T, T) { return gelu_tanh(x); });
    case UnaryOp::silu: return vectors<T>([](V x, T, T) { return silu(x); });
    case UnaryOp::softplus:
      return vectors<T>([](V x, T beta, T threshold) { return x * beta > threshold ? x : log1p_exp(x * beta) / beta; });
    case UnaryOp::hardtanh:
      return vectors<T>([](V x, T low, T high) { return smaller(larger(x, broadcast(low)), broadcast(high)); });
    case UnaryOp::hardsigmoid:
      return vectors<T>([](V x, T, T) { return smaller(larger(x + T(3), V{}), broadcast(T(6))) / T(6); });
    case UnaryOp::hardswish:
      return vectors<T>(
          [](V x, T, T) { return finite_below(x) * (smaller(larger(x + T(3), V{}), broadcast(T(6))) / T(6)); });
    case UnaryOp::mish: return vectors<T>([](V x, T, T) { return mish(x); });
    case UnaryOp::softsign: return vectors<T>([](V x, T, T) { return x / (T(1) + absolute(x)); });
    default: return nullptr;
  }
}

template <class T>
BlockFunction library(UnaryOp op) {
  switch (op) {
    case UnaryOp::sin: return scalars<T>([](T x) { return ::sin(x); });
    case UnaryOp::cos: return scalars<T>([](T x) { return ::cos(x); });
    case UnaryOp::tan: return scalars<T>([](T x) { return ::tan(x); });
    case UnaryOp::asin: return scalars<T>([](T x) { return ::asin(x); });
    case UnaryOp::acos: return scalars<T>([](T x) { return ::acos(x); });
    case UnaryOp::atan: return scalars<T>([](T x) { return ::atan(x); });
    case UnaryOp::sinh: return scalars<T>([](T x) { return ::sinh(x); });
    case UnaryOp::cosh: return scalars<T>([](T x) { return ::cosh(x); });
    case UnaryOp::asinh: return scalars<T>([](T x) { return ::asinh(x); });
    case UnaryOp::acosh: return scalars<T>([](T x) { return ::acosh(x); });
    case UnaryOp::atanh: return scalars<T>([](T x) { return ::atanh(x); });
    case UnaryOp::erfc: return scalars<T>([](T x) { return ::erfc(x); });
    case UnaryOp::erfinv: return scalars<T>([](T x) { return static_cast<T>(erfinv(x)); });
    case UnaryOp::lgamma: return scalars<T>([](T x) { return log_gamma(x); });
    case UnaryOp::digamma: return scalars<T>([](T x) { return static_cast<T>(digamma(x)); });
    case UnaryOp::polygamma:
      return [](const Block& b) {
        run_scalar<T>(b, [n = b.p](T x) { return static_cast<T>(polygamma(n, x)); }, static_cast<const T*>(b.x[0]));
      };
    default: return nullptr;
  }
}

template <class T>
BlockFunction find(UnaryOp op) {
  if (const BlockFunction found = any_type<T>(op)) return found;
  if constexpr (std::is_floating_point_v<T>) {
    if (const BlockFunction found = arithmetic<T>(op)) return found;
    if (const BlockFunction found = exponential<T>(op)) return found;
    if (const BlockFunction found = activation<T>(op)) return found;
    return library<T>(op);
  } else {
    return op == UnaryOp::bit_not ? vectors<T>([](Vec<T> x, T, T) { return ~x; }) : nullptr;
  }
}

}  // namespace

template <class T>
BlockFunction unary_block(UnaryOp op) {
  if constexpr (std::is_same_v<T, bfloat16>) {
    return find<float>(op);
  } else if constexpr (std::is_same_v<T, bool>) {
    if (op != UnaryOp::bit_not) return nullptr;
    return vectors<std::uint8_t>([](Vec<std::uint8_t> x, std::uint8_t, std::uint8_t) { return x ^ std::uint8_t(1); });
  } else {
    return find<T>(op);
  }
}
template BlockFunction unary_block<float>(UnaryOp);
template BlockFunction unary_block<double>(UnaryOp);
template BlockFunction unary_block<bfloat16>(UnaryOp);
template BlockFunction unary_block<std::int64_t>(UnaryOp);
template BlockFunction unary_block<std::int32_t>(UnaryOp);
template BlockFunction unary_block<std::int16_t>(UnaryOp);
template BlockFunction unary_block<std::int8_t>(UnaryOp);
template BlockFunction unary_block<std::uint8_t>(UnaryOp);
template BlockFunction unary_block<bool>(UnaryOp);

}  // namespace dd2424::cpu::DD2424_ISA
