#pragma once
#include "core/types.h"

namespace dd2424 {

// y = op(x). p and q are what the operation takes beside x: clamp's bounds, a slope, an exponent.
enum class UnaryOp : std::uint8_t {
  neg,
  abs,
  sign,
  square,
  reciprocal,
  sqrt,
  rsqrt,  // every type; the last three floating only,
  exp,
  exp2,
  expm1,
  log,
  log2,
  log10,
  log1p,  // as are all below but clamp and bit_not
  sin,
  cos,
  tan,
  asin,
  acos,
  atan,
  sinh,
  cosh,
  tanh,
  asinh,
  acosh,
  atanh,
  erf,
  erfc,
  erfinv,
  lgamma,
  digamma,
  polygamma,
  sigmoid,
  logsigmoid,
  floor,
  ceil,
  round,
  trunc,
  frac,
  relu,
  leaky_relu,
  elu,
  selu,
  celu,
  gelu,
  gelu_tanh,
  silu,
  softplus,
  hardtanh,
  hardsigmoid,
  hardswish,
  mish,
  softsign,
  clamp,    // min(max(x, p), q); NaN stays NaN
  bit_not,  // integers and bool (logical not)
};
// polygamma: p order >= 1. leaky_relu: p slope. elu, celu: p alpha. softplus: p beta, q threshold. hardtanh: p min, q
// max.

// y = op(a, b). `scale` belongs to add_scaled and slopes, `bound` to hardtanh_backward alone.
enum class BinaryOp : std::uint8_t {
  add,
  add_scaled,
  sub,
  mul,
  div,  // add_scaled: a + scale * b. div: floating only
  floor_div,
  remainder,
  fmod,  // Python's // and % (sign of the divisor), C's fmod
  pow,
  maximum,
  minimum,
  fmax,
  fmin,
  atan2,
  hypot,
  copysign,
  xlogy,
  bit_and,
  bit_or,
  bit_xor,
  shift_left,
  shift_right,  // integers; the first three also bool
  relu_backward,
  leaky_relu_backward,
  tanh_backward,
  sigmoid_backward,  // dx from a = dy and b = y (leaky: p = scale)
  gelu_backward,
  gelu_tanh_backward,
  silu_backward,
  elu_backward,
  selu_backward,
  celu_backward,
  softplus_backward,
  logsigmoid_backward,
  hardsigmoid_backward,
  hardswish_backward,
  mish_backward,
  softsign_backward,
  hardtanh_backward,  // dx from a = dy and b = x (elu, celu: alpha = scale; softplus: beta = scale, without a
                      // threshold; hardtanh: scale < x < bound)
};

enum class CompareOp : std::uint8_t { eq, ne, lt, le, gt, ge, logical_and, logical_or, logical_xor };
enum class TestOp : std::uint8_t { isnan, isinf, isfinite, logical_not };

template <class T>
struct Unary {
  const T* x;
  T* y;           // may be x, with the same strides
  Strided<2> at;  // y, x
  double p = 0, q = 0;
};
template <class T>
struct Binary {
  const T *a, *b;
  T* y;           // may be a or b, with the same strides
  Strided<3> at;  // y, a, b
  double scale = 1, bound = 0;
  bool a_is_number = false, b_is_number = false;  // it stands in the host's memory, and is read before the call ends
  bool* zero_divisor = nullptr;  // set to true where floor_div, remainder or fmod divide an integer by 0 (y is 0 there)
};
template <class T>
struct Compare {
  const T *a, *b;
  bool* y;
  Strided<3> at;  // y, a, b
};
template <class T>
struct Test {
  const T* x;
  bool* y;
  Strided<2> at;  // y, x
};
template <class T>
struct Where {
  const bool* condition;
  const T *a, *b;
  T* y;           // condition ? a : b
  Strided<4> at;  // y, condition, a, b
};

// A floating-only operation on an integer type answers Status::unsupported.
template <class T>
struct ElementwiseKernels {
  Status (*unary)(const Context&, UnaryOp, const Unary<T>&);
  Status (*binary)(const Context&, BinaryOp, const Binary<T>&);
  Status (*compare)(const Context&, CompareOp, const Compare<T>&);
  Status (*test)(const Context&, TestOp, const Test<T>&);
  Status (*where)(const Context&, const Where<T>&);
};

}  // namespace dd2424
