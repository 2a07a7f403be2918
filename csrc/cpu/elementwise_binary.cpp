#include "cpu/activation_slopes.h"
#include "cpu/elementwise.h"
#include "cpu/elementwise_scalar.h"
#include "cpu/math.h"

namespace dd2424::cpu::DD2424_ISA {
namespace {

// A block function from f(a, b, scale) on whole vectors.
template <class T, class F>
BlockFunction vectors(F) {
  return [](const Block& b) {
    const T scale = static_cast<T>(b.p);
    run_block<T>(
        b, [=](Vec<T> x, Vec<T> y) { return F{}(x, y, scale); }, static_cast<const T*>(b.x[0]),
        static_cast<const T*>(b.x[1]));
  };
}
// A block function from f(a, b) on one pair of elements.
template <class T, class F>
BlockFunction scalars(F) {
  return [](const Block& b) { run_scalar<T>(b, F{}, static_cast<const T*>(b.x[0]), static_cast<const T*>(b.x[1])); };
}
// The same for a division of integers, which reports zero divisors.
template <class T, class F>
BlockFunction divisions(F) {
  return [](const Block& b) {
    bool zero = false;
    const auto divide = [&](T x, T y) {
      zero |= y == 0;
      return F{}(x, y);
    };
    run_scalar<T>(b, divide, static_cast<const T*>(b.x[0]), static_cast<const T*>(b.x[1]));
    if (zero && b.zero_divisor) __atomic_store_n(b.zero_divisor, true, __ATOMIC_RELAXED);
  };
}

template <class T>
BlockFunction any_type(BinaryOp op) {
  using V = Vec<T>;
  switch (op) {
    case BinaryOp::add: return vectors<T>([](V a, V b, T) { return a + b; });
    case BinaryOp::add_scaled:
      return vectors<T>([](V a, V b, T scale) {
        if constexpr (std::is_floating_point_v<T>) return fma(b, broadcast(scale), a);
        else return a + b * scale;
      });
    case BinaryOp::sub: return vectors<T>([](V a, V b, T) { return a - b; });
    case BinaryOp::mul: return vectors<T>([](V a, V b, T) { return a * b; });
    case BinaryOp::maximum: return vectors<T>([](V a, V b, T) { return ((a > b) | (a != a)) ? a : b; });
    case BinaryOp::minimum: return vectors<T>([](V a, V b, T) { return ((a < b) | (a != a)) ? a : b; });
    case BinaryOp::fmax: return vectors<T>([](V a, V b, T) { return ((a > b) | (b != b)) ? a : b; });
    case BinaryOp::fmin: return vectors<T>([](V a, V b, T) { return ((a < b) | (b != b)) ? a : b; });
    case BinaryOp::relu_backward: return vectors<T>([](V dy, V y, T) { return y <= T(0) ? V{} : dy; });
    default: return nullptr;
  }
}

template <class T>
BlockFunction floating(BinaryOp op) {
  using V = Vec<T>;
  switch (op) {
    case BinaryOp::div: return vectors<T>([](V a, V b, T) { return a / b; });
    case BinaryOp::copysign: return vectors<T>([](V a, V b, T) { return copysign(a, b); });
    case BinaryOp::xlogy: return vectors<T>([](V a, V b, T) { return ((a == T(0)) & (b == b)) ? V{} : a * log(b); });
    case BinaryOp::floor_div: return scalars<T>([](T a, T b) { return floor_divide(a, b); });
    case BinaryOp::remainder: return scalars<T>([](T a, T b) { return floor_remainder(a, b); });
    case BinaryOp::fmod: return scalars<T>([](T a, T b) { return ::fmod(a, b); });
    case BinaryOp::pow: return scalars<T>([](T a, T b) { return ::pow(a, b); });
    case BinaryOp::atan2: return scalars<T>([](T a, T b) { return ::atan2(a, b); });
    case BinaryOp::hypot: return scalars<T>([](T a, T b) { return ::hypot(a, b); });
    default: return nullptr;
  }
}

// d x t(x) / dx = t + x t', where t = tanh(log(1 + exp(x))) = n / (n + 2) with n = e (e + 2), e = exp(x); above 0 both
// sides of the fraction are divided by e^2
template <class V>
V mish_slope(V x) {
  using T = Element<V>;
  x = finite_below(x);
  const V e = exp_below(-absolute(x)), e2 = e * e, one = broadcast(T(1));
  const V n = x > T(0) ? fma(e, broadcast(T(2)), one) : fma(e, broadcast(T(2)), e2);
  const V reciprocal = T(1) / (n + (x > T(0) ? e2 + e2 : broadcast(T(2))));
  const V rest = (x > T(0) ? e2 : e) * (one + e) * T(4) * reciprocal;
  return reciprocal * (n + (rest == T(0) ? V{} : x * rest));
}

template <class T>
BlockFunction backward(BinaryOp op) {
  using V = Vec<T>;
  switch (op) {
    case BinaryOp::leaky_relu_backward:
      return vectors<T>([](V dy, V y, T slope) { return y > T(0) ? dy : dy * slope; });
    case BinaryOp::tanh_backward: return vectors<T>([](V dy, V y, T) { return dy * fma(-y, y, broadcast(T(1))); });
    case BinaryOp::sigmoid_backward: return vectors<T>([](V dy, V y, T) { return dy * (y * (T(1) - y)); });
    case BinaryOp::gelu_backward: return vectors<T>([](V dy, V x, T) { return dy * gelu_slope(x); });
    case BinaryOp::gelu_tanh_backward: return vectors<T>([](V dy, V x, T) { return dy * gelu_tanh_slope(x); });
    case BinaryOp::silu_backward: return vectors<T>([](V dy, V x, T) { return dy * silu_slope(x); });
    case BinaryOp::elu_backward:
      return vectors<T>([](V dy, V x, T alpha) { return x > T(0) ? dy : dy * alpha * exp(x); });
    case BinaryOp::selu_backward:
      return vectors<T>([](V dy, V x, T) {
        const V below = exp(x) * T(kSeluScale * kSeluAlpha);
        return dy * (x > T(0) ? broadcast(T(kSeluScale)) : below);
      });
    case BinaryOp::celu_backward:
      return vectors<T>([](V dy, V x, T alpha) { return x > T(0) ? dy : dy * exp(x / alpha); });
    case BinaryOp::softplus_backward: return vectors<T>([](V dy, V x, T beta) { return dy * sigmoid(x * beta); });
    case BinaryOp::logsigmoid_backward: return vectors<T>([](V dy, V x, T) { return dy * sigmoid(-x); });
    case BinaryOp::hardsigmoid_backward:
      return vectors<T>([](V dy, V x, T) { return dy * (absolute(x) < T(3) ? broadcast(T(1.0 / 6)) : V{}); });
    case BinaryOp::hardswish_backward:
      return vectors<T>([](V dy, V x, T) {
        const V inner = fma(x, broadcast(T(2)), broadcast(T(3))) * T(1.0 / 6), below = x <= T(-3) ? V{} : inner;
        return dy * (x >= T(3) ? broadcast(T(1)) : below);
      });
    case BinaryOp::mish_backward: return vectors<T>([](V dy, V x, T) { return dy * mish_slope(x); });
    case BinaryOp::softsign_backward:
      return vectors<T>([](V dy, V x, T) {
        const V r = T(1) / (T(1) + absolute(x));
        return dy * (r * r);
      });
    case BinaryOp::hardtanh_backward:
      return [](const Block& b) {
        run_block<T>(
            b,
            [low = static_cast<T>(b.p), high = static_cast<T>(b.q)](V dy, V x) {
              return ((x <= low) | (x >= high)) ? V{} : dy;
            },
            static_cast<const T*>(b.x[0]), static_cast<const T*>(b.x[1]));
      };
    default: return nullptr;
  }
}

template <class T>
BlockFunction integer(BinaryOp op) {
  using V = Vec<T>;
  switch (op) {
    case BinaryOp::floor_div: return divisions<T>([](T a, T b) { return integer_divide(a, b); });
    case BinaryOp::remainder: return divisions<T>([](T a, T b) { return integer_remainder(a, b); });
    case BinaryOp::fmod: return divisions<T>([](T a, T b) { return truncated_remainder(a, b); });
    case BinaryOp::pow: return scalars<T>([](T a, T b) { return integer_power(a, b); });
    case BinaryOp::bit_and: return vectors<T>([](V a, V b, T) { return a & b; });
    case BinaryOp::bit_or: return vectors<T>([](V a, V b, T) { return a | b; });
    case BinaryOp::bit_xor: return vectors<T>([](V a, V b, T) { return a ^ b; });
    case BinaryOp::shift_left: return scalars<T>([](T a, T b) { return shifted_left(a, b); });
    case BinaryOp::shift_right: return scalars<T>([](T a, T b) { return shifted_right(a, b); });
    default: return nullptr;
  }
}

template <class T>
BlockFunction find(BinaryOp op) {
  if (const BlockFunction found = any_type<T>(op)) return found;
  if constexpr (std::is_floating_point_v<T>) {
    const BlockFunction found = floating<T>(op);
    return found ? found : backward<T>(op);
  } else {
    return integer<T>(op);
  }
}

BlockFunction logical(BinaryOp op) {  // of bools, which are bytes of 0 or 1
  using Byte = std::uint8_t;
  switch (op) {
    case BinaryOp::add:
    case BinaryOp::maximum:
    case BinaryOp::fmax:
    case BinaryOp::bit_or: return integer<Byte>(BinaryOp::bit_or);
    case BinaryOp::mul:
    case BinaryOp::minimum:
    case BinaryOp::fmin:
    case BinaryOp::bit_and: return integer<Byte>(BinaryOp::bit_and);
    case BinaryOp::bit_xor: return integer<Byte>(BinaryOp::bit_xor);
    default: return nullptr;
  }
}

}  // namespace

template <class T>
BlockFunction binary_block(BinaryOp op) {
  if constexpr (std::is_same_v<T, bfloat16>) return find<float>(op);
  else if constexpr (std::is_same_v<T, bool>) return logical(op);
  else return find<T>(op);
}
template BlockFunction binary_block<float>(BinaryOp);
template BlockFunction binary_block<double>(BinaryOp);
template BlockFunction binary_block<bfloat16>(BinaryOp);
template BlockFunction binary_block<std::int64_t>(BinaryOp);
template BlockFunction binary_block<std::int32_t>(BinaryOp);
template BlockFunction binary_block<std::int16_t>(BinaryOp);
template BlockFunction binary_block<std::int8_t>(BinaryOp);
template BlockFunction binary_block<std::uint8_t>(BinaryOp);
template BlockFunction binary_block<bool>(BinaryOp);

}  // namespace dd2424::cpu::DD2424_ISA
