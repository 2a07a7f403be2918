#include <numbers>

#include "ops/copy.h"
#include "ops/elementwise.h"

namespace dd2424::ops {
namespace {

constexpr double kSqrtHalf = 1 / std::numbers::sqrt2;
constexpr double kInvSqrtPi = std::numbers::inv_sqrtpi;
constexpr double kLn2 = std::numbers::ln2, kLn10 = std::numbers::ln10;
constexpr double kSeluAlpha = 1.6732632423543772, kSeluScale = 1.0507009873554805;  // arXiv:1706.02515
constexpr double kGeluCubic = 0.044715;                                             // arXiv:1606.08415, section 2

Tensor u(UnaryOp op, const Tensor& x) { return unary(op, x); }
Tensor mask(CompareOp op, const Tensor& x, double bound) { return to(compare(op, x, bound), x.dtype()); }
Tensor fused(BinaryOp op, const Tensor& dy, const Tensor& saved, double scale = 1, double bound = 0) {
  return binary(op, dy, saved, scale, bound);
}

// d/dx of x * Phi(x) is Phi(x) + x * phi(x).
Tensor gelu_slope(const Tensor& x) {
  const Tensor cdf = mul(add(u(UnaryOp::erf, mul(x, kSqrtHalf)), 1.0), 0.5);
  const Tensor pdf = mul(u(UnaryOp::exp, mul(mul(x, x), -0.5)), kInvSqrtPi * kSqrtHalf);
  return add(cdf, mul(x, pdf));
}
// With y = x / 2 * (1 + t), t = tanh(s (x + c x^3)): y' = (1 + t) / 2 + x / 2 * (1 - t^2) * s (1 + 3 c x^2).
Tensor gelu_tanh_slope(const Tensor& x) {
  constexpr double s = 2 * kInvSqrtPi * kSqrtHalf;
  const Tensor square = mul(x, x);
  const Tensor t = u(UnaryOp::tanh, mul(mul(x, add(mul(square, kGeluCubic), 1.0)), s));
  const Tensor inner = mul(add(mul(square, 3 * kGeluCubic), 1.0), s);
  return mul(add(add(t, 1.0), mul(mul(x, sub(1.0, mul(t, t))), inner)), 0.5);
}
Tensor silu_slope(const Tensor& x) {
  const Tensor s = u(UnaryOp::sigmoid, x);
  return mul(s, add(mul(x, sub(1.0, s)), 1.0));
}
Tensor mish_slope(const Tensor& x) {  // y = x tanh(softplus(x))
  const Tensor t = u(UnaryOp::tanh, unary(UnaryOp::softplus, x, 1, 20));
  return add(t, mul(mul(x, sub(1.0, mul(t, t))), u(UnaryOp::sigmoid, x)));
}
// a where the condition holds, b elsewhere, in the dtype of `like`
Tensor choose(const Tensor& condition, double a, double b, const Tensor& like) {
  return where(condition, scalar_tensor(Scalar(a), like.dtype(), like.device()),
               scalar_tensor(Scalar(b), like.dtype(), like.device()));
}
Tensor elu_slope(const Tensor& x, double alpha, double scale) {
  const Tensor negative = mul(u(UnaryOp::exp, x), alpha * scale);
  return where(compare(CompareOp::gt, x, 0.0), Operand(scale), negative);
}
Tensor either(const Tensor& a, const Tensor& b) { return compare(CompareOp::logical_or, a, b); }
Tensor between(const Tensor& x, double low, double high) {  // whether low < x < high
  return compare(CompareOp::logical_and, compare(CompareOp::gt, x, low), compare(CompareOp::lt, x, high));
}
Tensor beyond(const Tensor& x, double low, double high) {  // whether x <= low or x >= high
  return either(compare(CompareOp::le, x, low), compare(CompareOp::ge, x, high));
}
Tensor outside(const Tensor& x, double low, double high) {  // whether x < low or x > high
  return either(compare(CompareOp::lt, x, low), compare(CompareOp::gt, x, high));
}

// The derivative of op at x, where y = op(x).
Tensor slope(UnaryOp op, const Tensor& x, const Tensor& y, double p, double q) {
  switch (op) {
    case UnaryOp::abs: return u(UnaryOp::sign, x);
    case UnaryOp::square: return mul(x, 2.0);
    case UnaryOp::reciprocal: return neg(mul(y, y));
    case UnaryOp::sqrt: return div(0.5, y);
    case UnaryOp::rsqrt: return mul(mul(mul(y, y), y), -0.5);
    case UnaryOp::exp: return y;
    case UnaryOp::exp2: return mul(y, kLn2);
    case UnaryOp::expm1: return add(y, 1.0);
    case UnaryOp::log: return u(UnaryOp::reciprocal, x);
    case UnaryOp::log2: return u(UnaryOp::reciprocal, mul(x, kLn2));
    case UnaryOp::log10: return u(UnaryOp::reciprocal, mul(x, kLn10));
    case UnaryOp::log1p: return u(UnaryOp::reciprocal, add(x, 1.0));
    case UnaryOp::sin: return u(UnaryOp::cos, x);
    case UnaryOp::cos: return neg(u(UnaryOp::sin, x));
    case UnaryOp::tan: return add(mul(y, y), 1.0);
    case UnaryOp::asin: return u(UnaryOp::rsqrt, sub(1.0, mul(x, x)));
    case UnaryOp::acos: return neg(u(UnaryOp::rsqrt, sub(1.0, mul(x, x))));
    case UnaryOp::atan: return u(UnaryOp::reciprocal, add(mul(x, x), 1.0));
    case UnaryOp::sinh: return u(UnaryOp::cosh, x);
    case UnaryOp::cosh: return u(UnaryOp::sinh, x);
    case UnaryOp::tanh: return sub(1.0, mul(y, y));
    case UnaryOp::asinh: return u(UnaryOp::rsqrt, add(mul(x, x), 1.0));
    case UnaryOp::acosh: return u(UnaryOp::rsqrt, sub(mul(x, x), 1.0));
    case UnaryOp::atanh: return u(UnaryOp::reciprocal, sub(1.0, mul(x, x)));
    case UnaryOp::erf: return mul(u(UnaryOp::exp, neg(mul(x, x))), 2 * kInvSqrtPi);
    case UnaryOp::erfc: return mul(u(UnaryOp::exp, neg(mul(x, x))), -2 * kInvSqrtPi);
    case UnaryOp::erfinv: return mul(u(UnaryOp::exp, mul(y, y)), 0.5 / kInvSqrtPi);
    case UnaryOp::lgamma: return u(UnaryOp::digamma, x);
    case UnaryOp::digamma: return unary(UnaryOp::polygamma, x, 1);
    case UnaryOp::polygamma: return unary(UnaryOp::polygamma, x, p + 1);
    case UnaryOp::sigmoid: return mul(y, sub(1.0, y));
    case UnaryOp::logsigmoid: return u(UnaryOp::sigmoid, neg(x));
    case UnaryOp::relu: return mask(CompareOp::gt, y, 0);
    case UnaryOp::leaky_relu: return choose(compare(CompareOp::gt, x, 0.0), 1, p, x);
    case UnaryOp::elu: return elu_slope(x, p, 1);
    case UnaryOp::selu: return elu_slope(x, kSeluAlpha, kSeluScale);
    case UnaryOp::celu: return where(compare(CompareOp::gt, x, 0.0), Operand(1.0), u(UnaryOp::exp, div(x, p)));
    case UnaryOp::gelu: return gelu_slope(x);
    case UnaryOp::gelu_tanh: return gelu_tanh_slope(x);
    case UnaryOp::silu: return silu_slope(x);
    case UnaryOp::softplus:
      return where(compare(CompareOp::gt, mul(x, p), q), Operand(1.0), u(UnaryOp::sigmoid, mul(x, p)));
    case UnaryOp::hardtanh: return choose(beyond(x, p, q), 0, 1, x);
    case UnaryOp::hardsigmoid: return choose(between(x, -3, 3), 1.0 / 6, 0, x);
    case UnaryOp::hardswish:
      return where(compare(CompareOp::le, x, -3.0), Operand(0.0),
                   where(compare(CompareOp::ge, x, 3.0), Operand(1.0), add(mul(x, 1.0 / 3), 0.5)));
    case UnaryOp::mish: return mish_slope(x);
    case UnaryOp::softsign: {
      const Tensor d = add(u(UnaryOp::abs, x), 1.0);
      return u(UnaryOp::reciprocal, mul(d, d));
    }
    case UnaryOp::clamp: return choose(outside(x, p, q), 0, 1, x);
    default: break;
  }
  throw RuntimeError(message(op_name(op), ": has no derivative here"));
}

}  // namespace

bool saves_output(UnaryOp op) {
  switch (op) {
    case UnaryOp::reciprocal:
    case UnaryOp::sqrt:
    case UnaryOp::rsqrt:
    case UnaryOp::exp:
    case UnaryOp::exp2:
    case UnaryOp::expm1:
    case UnaryOp::tan:
    case UnaryOp::tanh:
    case UnaryOp::erfinv:
    case UnaryOp::sigmoid:
    case UnaryOp::relu: return true;
    default: return false;
  }
}
bool saves_input(UnaryOp op) {
  switch (op) {
    case UnaryOp::neg:
    case UnaryOp::sign:
    case UnaryOp::frac:
    case UnaryOp::floor:
    case UnaryOp::ceil:
    case UnaryOp::round:
    case UnaryOp::trunc: return false;
    default: return !saves_output(op);
  }
}

Tensor unary_gradient(UnaryOp op, const Tensor& dy, const Tensor& x, const Tensor& y, double p, double q) {
  if (!grad_enabled()) {
    switch (op) {  // one kernel instead of a composition
      case UnaryOp::relu: return fused(BinaryOp::relu_backward, dy, y);
      case UnaryOp::tanh: return fused(BinaryOp::tanh_backward, dy, y);
      case UnaryOp::sigmoid: return fused(BinaryOp::sigmoid_backward, dy, y);
      case UnaryOp::leaky_relu: return fused(BinaryOp::leaky_relu_backward, dy, x, p);
      case UnaryOp::gelu: return fused(BinaryOp::gelu_backward, dy, x);
      case UnaryOp::gelu_tanh: return fused(BinaryOp::gelu_tanh_backward, dy, x);
      case UnaryOp::silu: return fused(BinaryOp::silu_backward, dy, x);
      case UnaryOp::elu: return fused(BinaryOp::elu_backward, dy, x, p);
      case UnaryOp::selu: return fused(BinaryOp::selu_backward, dy, x);
      case UnaryOp::celu: return fused(BinaryOp::celu_backward, dy, x, p);
      case UnaryOp::softsign: return fused(BinaryOp::softsign_backward, dy, x);
      case UnaryOp::hardtanh: return fused(BinaryOp::hardtanh_backward, dy, x, p, q);
      case UnaryOp::logsigmoid: return fused(BinaryOp::logsigmoid_backward, dy, x);
      case UnaryOp::hardsigmoid: return fused(BinaryOp::hardsigmoid_backward, dy, x);
      case UnaryOp::hardswish: return fused(BinaryOp::hardswish_backward, dy, x);
      case UnaryOp::mish: return fused(BinaryOp::mish_backward, dy, x);
      case UnaryOp::softplus:  // from 18 on the slope rounds to 1 in float32, as it must be above the threshold q
        if (x.dtype() != DType::float64 && q >= 18) return fused(BinaryOp::softplus_backward, dy, x, p);
        break;
      default: break;
    }
  }
  switch (op) {
    case UnaryOp::neg: return neg(dy);
    case UnaryOp::frac: return dy;
    case UnaryOp::sign:
    case UnaryOp::floor:
    case UnaryOp::ceil:
    case UnaryOp::round:
    case UnaryOp::trunc: return full_like(dy, Scalar(0));
    default: return mul(dy, slope(op, x, y, p, q));
  }
}

}  // namespace dd2424::ops
