#include "ops/copy.h"
#include "ops/elementwise.h"
#include "ops/reduce.h"

namespace dd2424::ops {
namespace {

constexpr const char* kBinaryNames[] = {"add",
                                        "add",
                                        "sub",
                                        "mul",
                                        "div",
                                        "floor_divide",
                                        "remainder",
                                        "fmod",
                                        "pow",
                                        "maximum",
                                        "minimum",
                                        "fmax",
                                        "fmin",
                                        "atan2",
                                        "hypot",
                                        "copysign",
                                        "xlogy",
                                        "bitwise_and",
                                        "bitwise_or",
                                        "bitwise_xor",
                                        "bitwise_left_shift",
                                        "bitwise_right_shift",
                                        "relu_backward",
                                        "leaky_relu_backward",
                                        "tanh_backward",
                                        "sigmoid_backward",
                                        "gelu_backward",
                                        "gelu_tanh_backward",
                                        "silu_backward",
                                        "elu_backward",
                                        "selu_backward",
                                        "celu_backward",
                                        "softplus_backward",
                                        "logsigmoid_backward",
                                        "hardsigmoid_backward",
                                        "hardswish_backward",
                                        "mish_backward",
                                        "softsign_backward",
                                        "hardtanh_backward"};

constexpr bool is_bitwise(BinaryOp op) { return op >= BinaryOp::bit_and && op <= BinaryOp::shift_right; }
constexpr bool needs_floats(BinaryOp op) {
  return op == BinaryOp::div || op == BinaryOp::atan2 || op == BinaryOp::hypot || op == BinaryOp::copysign ||
         op == BinaryOp::xlogy;
}
constexpr bool divides(BinaryOp op) {
  return op == BinaryOp::floor_div || op == BinaryOp::remainder || op == BinaryOp::fmod;
}

// Which operands the gradient of the other, or of itself, is made from.
constexpr bool saves(BinaryOp op, int operand, bool a_needed, bool b_needed) {
  switch (op) {
    case BinaryOp::add:
    case BinaryOp::add_scaled:
    case BinaryOp::sub: return false;
    case BinaryOp::mul: return operand == 0 ? b_needed : a_needed;
    case BinaryOp::div: return operand == 0 ? b_needed : true;
    case BinaryOp::remainder:
    case BinaryOp::fmod: return b_needed;
    default: return true;
  }
}

// An operand as backward sees it: the saved tensor, or the number.
struct Kept {
  Saved saved;
  Scalar scalar;
  Shape shape;
  explicit Kept(Node* owner) : saved(owner) {}
};

struct BinaryNode final : Node {
  BinaryOp op;
  double scale;
  Kept a{this}, b{this};
  BinaryNode(BinaryOp op, double scale) : op(op), scale(scale) {}
  const char* name() const override { return op_name(op); }
  Tensors backward(const Tensors& grads, const Needs& needs) override;
};

Tensor as_float(const Tensor& condition, const Tensor& like) { return to(condition, like.dtype()); }

// The share of dy that goes to the larger (smaller) of two: half where they are equal.
Tensor winner_share(const Tensor& dy, CompareOp wins, const Operand& mine, const Operand& other) {
  const Tensor won = as_float(compare(wins, mine, other), dy);
  const Tensor tied = as_float(compare(CompareOp::eq, mine, other), dy);
  return mul(dy, add(won, mul(tied, 0.5)));
}

// d/da of a ** b is b * a ** (b - 1), and 0 where b is 0, whatever a.
Tensor power_slope(const Operand& a, const Operand& b) {
  if (!b.tensor) return b.scalar.is_zero() ? full_like(*a.tensor, 0) : mul(pow(a, b.scalar.floating - 1), b);
  return where(compare(CompareOp::eq, b, 0.0), Operand(0.0), mul(pow(a, sub(b, 1.0)), b));
}

Tensor gradient_a(BinaryOp op, const Tensor& dy, const Operand& a, const Operand& b) {
  switch (op) {
    case BinaryOp::add:
    case BinaryOp::add_scaled:
    case BinaryOp::sub:
    case BinaryOp::remainder:
    case BinaryOp::fmod: return dy;
    case BinaryOp::mul: return mul(dy, b);
    case BinaryOp::div: return div(dy, b);
    case BinaryOp::pow: return mul(dy, power_slope(a, b));
    case BinaryOp::maximum:
    case BinaryOp::fmax: return winner_share(dy, CompareOp::gt, a, b);
    case BinaryOp::minimum:
    case BinaryOp::fmin: return winner_share(dy, CompareOp::lt, a, b);
    case BinaryOp::atan2: return div(mul(dy, b), add(mul(a, a), mul(b, b)));
    case BinaryOp::hypot: return mul(dy, div(a, binary(BinaryOp::hypot, a, b)));
    case BinaryOp::copysign:
      return mul(dy,
                 binary(BinaryOp::copysign, unary(UnaryOp::sign, *a.tensor), mul(unary(UnaryOp::sign, *a.tensor), b)));
    case BinaryOp::xlogy:
      return mul(dy, unary(UnaryOp::log, b.tensor ? *b.tensor : scalar_tensor(b.scalar, dy.dtype(), dy.device())));
    default: return full_like(dy, Scalar(0));
  }
}

Tensor gradient_b(BinaryOp op, const Tensor& dy, const Operand& a, const Operand& b, double scale) {
  switch (op) {
    case BinaryOp::add: return dy;
    case BinaryOp::add_scaled: return mul(dy, scale);
    case BinaryOp::sub: return neg(dy);
    case BinaryOp::mul: return mul(dy, a);
    case BinaryOp::div: return neg(mul(dy, div(div(a, b), b)));
    case BinaryOp::pow: {  // 0 ** b with b >= 0 does not move with b
      const Tensor base = a.tensor ? *a.tensor : scalar_tensor(a.scalar, dy.dtype(), dy.device());
      const Tensor still =
          compare(CompareOp::logical_and, compare(CompareOp::eq, base, 0.0), compare(CompareOp::ge, b, 0.0));
      return mul(dy, where(still, Operand(0.0), mul(pow(base, b), unary(UnaryOp::log, base))));
    }
    case BinaryOp::maximum:
    case BinaryOp::fmax: return winner_share(dy, CompareOp::gt, b, a);
    case BinaryOp::minimum:
    case BinaryOp::fmin: return winner_share(dy, CompareOp::lt, b, a);
    case BinaryOp::remainder: return neg(mul(dy, binary(BinaryOp::floor_div, a, b)));
    case BinaryOp::fmod: return neg(mul(dy, unary(UnaryOp::trunc, div(a, b))));
    case BinaryOp::atan2: return neg(div(mul(dy, a), add(mul(a, a), mul(b, b))));
    case BinaryOp::hypot: return mul(dy, div(b, binary(BinaryOp::hypot, a, b)));
    case BinaryOp::xlogy: return mul(dy, div(a, b));
    default: return full_like(dy, Scalar(0));
  }
}

Tensors BinaryNode::backward(const Tensors& grads, const Needs& needs) {
  const Tensor a_tensor = a.saved.get(), b_tensor = b.saved.get();
  const Operand left = a_tensor.defined() ? Operand(a_tensor) : Operand(a.scalar);
  const Operand right = b_tensor.defined() ? Operand(b_tensor) : Operand(b.scalar);
  return {needs[0] ? sum_to(gradient_a(op, grads[0], left, right), a.shape) : Tensor(),
          needs[1] ? sum_to(gradient_b(op, grads[0], left, right, scale), b.shape) : Tensor()};
}

DType compute_type(BinaryOp op, const Operand& a, const Operand& b) {
  const DType dtype = result_type(a, b);
  check<NotImplementedError>(!is_bitwise(op) || !is_floating(dtype), op_name(op),
                             ": operands must have integer or boolean dtypes, got ", dtype);
  check(op != BinaryOp::pow || is_floating(dtype) || b.tensor || b.scalar.integer >= 0,
        "pow: exponent must not be negative where input is an integer, got ", b.scalar.integer);
  const auto is_bool = [](const Operand& x) {
    return (x.tensor ? x.tensor->dtype() : x.scalar.dtype()) == DType::bool_;
  };
  check(op != BinaryOp::sub || !(is_bool(a) || is_bool(b)),
        "sub: operands must not be boolean; use ^ or logical_xor()");
  if (needs_floats(op) && !is_floating(dtype)) return default_dtype();
  if (dtype == DType::bool_ && (divides(op) || op == BinaryOp::pow)) return DType::int64;
  return dtype;
}

void check_divisor(BinaryOp op, const Tensor* b, const Scalar& scalar, DType dtype) {
  if (!divides(op) || is_floating(dtype)) return;
  const bool zero = b ? item(any(compare(CompareOp::eq, *b, Scalar(0)))).integer != 0 : scalar.integer == 0;
  check(!zero, op_name(op), ": integer division by zero (ZeroDivisionError)");
}

// Runs the kernel on operands that are of y's type already; a number is read from the stack.
void compute(BinaryOp op, const Tensor* a, const Scalar& a_scalar, const Tensor* b, const Scalar& b_scalar,
             const Tensor& y, double scale, double bound = 0) {
  if (y.numel() == 0) return;
  check_divisor(op, b, b_scalar, y.dtype());
  dispatch_all(y.dtype(), [&]<class T>(T) {
    const Element left = a ? Element{} : to_element(a_scalar, y.dtype()),
                  right = b ? Element{} : to_element(b_scalar, y.dtype());
    run(op_name(op), kernels<ElementwiseKernels<T>>(y.device()).binary, y.numel(), 0, op,
        Binary<T>{a ? a->data<T>() : reinterpret_cast<const T*>(&left),
                  b ? b->data<T>() : reinterpret_cast<const T*>(&right), y.data<T>(), strided<3>(y.shape(), {&y, a, b}),
                  scale, bound, !a, !b});
  });
}

const Shape kScalarShape{};
const Shape& shape_of(const Operand& x) { return x.tensor ? x.tensor->shape() : kScalarShape; }

void keep(Kept& kept, const Operand& x, const Tensor* tensor, bool saved) {
  kept.scalar = x.scalar;
  kept.shape = shape_of(x);
  if (saved && tensor) kept.saved.save(*tensor);
}

Shape result_shape(const char* op, const Operand& a, const Operand& b) {
  if (!b.tensor || shape_of(a) == shape_of(b)) return shape_of(a);
  return broadcast_shapes(op, shape_of(a), shape_of(b));
}

// x in the type of the computation, held in `converted` where it had another; null for a number. A tensor without
// dimensions may be in the host's memory where the other operand is not.
const Tensor* cast(const char* op, const Operand& x, const Operand& other, DType dtype, Tensor& converted) {
  if (!x.tensor) return nullptr;
  const bool moves = other.tensor && x.tensor->device() != other.tensor->device() && x.tensor->ndim() == 0 &&
                     x.tensor->device() == Device::cpu;
  if (other.tensor && !moves && other.tensor->ndim() > 0) check_device(op, {x.tensor, other.tensor});
  if (x.tensor->dtype() == dtype && !moves) return x.tensor;
  converted = to(*x.tensor, dtype);
  if (moves) converted = to(converted, other.tensor->device());
  return &converted;
}

}  // namespace

const char* op_name(BinaryOp op) { return kBinaryNames[static_cast<int>(op)]; }

DType result_type(const Operand& a, const Operand& b) {
  const auto category = [](DType t) { return is_floating(t) ? 2 : t == DType::bool_ ? 0 : 1; };
  if (a.tensor && b.tensor) {
    const DType ta = a.tensor->dtype(), tb = b.tensor->dtype();
    if (ta == tb) return ta;
    const bool a_dims = a.tensor->ndim() > 0, b_dims = b.tensor->ndim() > 0;
    if (a_dims == b_dims) return promote(ta, tb);
    const DType strong = a_dims ? ta : tb, weak = a_dims ? tb : ta;  // a tensor without dimensions only lends its kind
    return category(weak) > category(strong) ? promote(strong, weak) : strong;
  }
  if (!a.tensor && !b.tensor) return promote(a.scalar.dtype(), b.scalar.dtype());
  const DType tensor = a.tensor ? a.tensor->dtype() : b.tensor->dtype();
  const DType number = a.tensor ? b.scalar.dtype() : a.scalar.dtype();
  return category(number) > category(tensor) ? number : tensor;
}

Tensor binary(BinaryOp op, const Operand& a, const Operand& b, double scale, double bound) {
  if (mode_is_active()) [[unlikely]] {
    Tensors inputs{a.tensor ? *a.tensor : Tensor(), b.tensor ? *b.tensor : Tensor()};
    return through_door({op_name(op), inputs, [=, left = a.scalar, right = b.scalar](const Tensors& t) {
                           return binary(op, t[0].defined() ? Operand(t[0]) : Operand(left),
                                         t[1].defined() ? Operand(t[1]) : Operand(right), scale, bound);
                         }});
  }
  const DType dtype = compute_type(op, a, b);
  Tensor left_cast, right_cast;
  const Tensor *left = cast(op_name(op), a, b, dtype, left_cast), *right = cast(op_name(op), b, a, dtype, right_cast);
  const Tensor y = empty_following(result_shape(op_name(op), a, b), dtype, {left, right});
  compute(op, left, a.scalar, right, b.scalar, y, scale, bound);
  if (!is_floating(dtype)) return y;
  static const Tensor kNone;
  if (auto* node = record<BinaryNode>(y, {left ? left : &kNone, right ? right : &kNone}, op, scale)) {
    const bool a_needed = static_cast<bool>(node->edges[0]), b_needed = static_cast<bool>(node->edges[1]);
    keep(node->a, a, left, saves(op, 0, a_needed, b_needed));
    keep(node->b, b, right, saves(op, 1, a_needed, b_needed));
  }
  return y;
}

Tensor& binary_(BinaryOp op, Tensor& self, const Operand& b, double scale) {
  check_inplace(op_name(op), self);
  const DType dtype = compute_type(op, self, b);
  check(dtype == self.dtype() || (is_floating(self.dtype()) || (!is_floating(dtype) && self.dtype() != DType::bool_)),
        op_name(op), "_: result has dtype ", dtype, ", which can't be written to ", self.dtype());
  check(!b.tensor || self.shape() == b.tensor->shape() ||
            broadcast_shapes(op_name(op), self.shape(), b.tensor->shape()) == self.shape(),
        op_name(op), "_: other must broadcast to ", self.shape(), ", got ", shape_of(b));
  const bool recorded = records({&self}) || (b.tensor && records({b.tensor}));
  if (recorded || dtype != self.dtype()) {
    assign(self, binary(op, before_write(self, saves(op, 0, true, true)), b, scale));
    return self;
  }
  Tensor other;
  const Tensor* operand = cast(op_name(op), b, self, dtype, other);
  if (operand && may_overlap(*operand, self) && !in_same_place(*operand, self))
    operand = &(other = clone(detach(*operand)));
  compute(op, &self, Scalar(), operand, b.scalar, self, scale);
  count_write(self);
  return self;
}

}  // namespace dd2424::ops
