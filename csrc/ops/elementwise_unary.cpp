#include "ops/copy.h"
#include "ops/elementwise.h"

namespace dd2424::ops {
namespace {

constexpr const char* kUnaryNames[] = {
    "neg",        "abs",         "sign",      "square", "reciprocal", "sqrt",   "rsqrt",      "exp",
    "exp2",       "expm1",       "log",       "log2",   "log10",      "log1p",  "sin",        "cos",
    "tan",        "asin",        "acos",      "atan",   "sinh",       "cosh",   "tanh",       "asinh",
    "acosh",      "atanh",       "erf",       "erfc",   "erfinv",     "lgamma", "digamma",    "polygamma",
    "sigmoid",    "logsigmoid",  "floor",     "ceil",   "round",      "trunc",  "frac",       "relu",
    "leaky_relu", "elu",         "selu",      "celu",   "gelu",       "gelu",   "silu",       "softplus",
    "hardtanh",   "hardsigmoid", "hardswish", "mish",   "softsign",   "clamp",  "bitwise_not"};

constexpr bool keeps_integers(UnaryOp op) {
  switch (op) {
    case UnaryOp::neg:
    case UnaryOp::abs:
    case UnaryOp::sign:
    case UnaryOp::square:
    case UnaryOp::clamp:
    case UnaryOp::bit_not:
    case UnaryOp::floor:
    case UnaryOp::ceil:
    case UnaryOp::round:
    case UnaryOp::trunc:
    case UnaryOp::relu:
    case UnaryOp::hardtanh: return true;
    default: return false;
  }
}
constexpr bool is_rounding(UnaryOp op) {
  return op == UnaryOp::floor || op == UnaryOp::ceil || op == UnaryOp::round || op == UnaryOp::trunc;
}

struct UnaryNode final : Node {
  UnaryOp op;
  double p, q;
  Saved x{this}, y{this};
  UnaryNode(UnaryOp op, double p, double q) : op(op), p(p), q(q) {}
  const char* name() const override { return op_name(op); }
  Tensors backward(const Tensors& grads, const Needs&) override {
    return {unary_gradient(op, grads[0], x.get(), y.get(), p, q)};
  }
};

void check_domain(UnaryOp op, DType dtype) {
  check<NotImplementedError>(op != UnaryOp::bit_not || !is_floating(dtype),
                             "bitwise_not: input must have an integer or boolean dtype, got ", dtype);
  if (dtype != DType::bool_) return;
  check(op != UnaryOp::neg, "neg: input must not be boolean; use ~ or logical_not()");
  check<NotImplementedError>(op != UnaryOp::abs && op != UnaryOp::clamp, op_name(op),
                             ": input must be a number, got dd2424.bool");
  check(op != UnaryOp::relu && op != UnaryOp::hardtanh, op_name(op), ": input must be a number, got dd2424.bool");
}

// What op is on elements of this dtype: integers are cut off by clamp alone.
UnaryOp as_computed(UnaryOp op, DType dtype, double low) {
  if (op != UnaryOp::hardtanh || is_floating(dtype)) return op;
  check(dtype != DType::uint8 || low >= 0, "hardtanh: min_val must not be negative for dd2424.uint8, got ", low);
  return UnaryOp::clamp;
}
bool changes_nothing(UnaryOp op, DType dtype) {
  return (is_rounding(op) && !is_floating(dtype)) || (op == UnaryOp::sign && dtype == DType::bool_);
}

void compute(UnaryOp op, const Tensor& x, const Tensor& y, double p, double q) {
  if (y.numel() == 0) return;
  dispatch_all(y.dtype(), [&]<class T>(T) {
    run(op_name(op), kernels<ElementwiseKernels<T>>(y.device()).unary, y.numel(), 0, op,
        Unary<T>{x.data<T>(), y.data<T>(), strided<2>(y.shape(), {&y, &x}), p, q});
  });
}

}  // namespace

const char* op_name(UnaryOp op) { return kUnaryNames[static_cast<int>(op)]; }

Tensor unary(UnaryOp op, const Tensor& input, double p, double q) {
  if (mode_is_active()) [[unlikely]]
    return through_door({op_name(op), {input}, [=](const Tensors& t) { return unary(op, t[0], p, q); }});
  check_domain(op, input.dtype());
  if (changes_nothing(op, input.dtype())) return clone(input);
  op = as_computed(op, input.dtype(), p);
  Tensor x = is_floating(input.dtype()) || keeps_integers(op) ? input : to(input, default_dtype());
  if (op == UnaryOp::square && x.dtype() == DType::bool_) x = to(x, DType::int64);
  const Tensor y = empty_like(x);
  compute(op, x, y, p, q);
  if (auto* node = record<UnaryNode>(y, {&x}, op, p, q)) {
    if (saves_input(op)) node->x.save(x);
    if (saves_output(op)) node->y.save_output(y);
  }
  return y;
}

Tensor& unary_(UnaryOp op, Tensor& self, double p, double q) {
  check_inplace(op_name(op), self);
  check_domain(op, self.dtype());
  check(is_floating(self.dtype()) || keeps_integers(op), op_name(op), "_: result has dtype ", default_dtype(),
        ", which can't be written to ", self.dtype());
  op = as_computed(op, self.dtype(), p);
  if (records({&self})) {
    assign(self, unary(op, before_write(self, saves_input(op)), p, q));
  } else {
    if (!changes_nothing(op, self.dtype())) compute(op, self, self, p, q);
    count_write(self);
  }
  return self;
}

}  // namespace dd2424::ops
