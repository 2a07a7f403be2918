#include "ops/activation.h"

#include "ops/shape.h"

namespace dd2424::ops {
namespace {

// Two operands (rows, cols) in memory; the rows of one lie `a_row` elements apart.
struct Rows {
  Index rows, cols, a, b, row;  // a and b: offsets of the operands' first elements
};
Rows whole(const Tensor& x) { return {1, x.numel(), 0, 0, x.numel()}; }
Rows halves(const Tensor& x, int dim, bool gate_is_first) {  // of contiguous x, along dim
  Index rows = 1, cols = x.size(dim) / 2;
  for (int d = 0; d < dim; ++d) rows *= x.size(d);
  for (int d = dim + 1; d < x.ndim(); ++d) cols *= x.size(d);
  return {rows, cols, gate_is_first ? 0 : cols, gate_is_first ? cols : 0, 2 * cols};
}

// a and b may be one tensor, whose halves are meant.
void run_gated(const char* op, Activation activation, const Tensor& a, const Tensor& b, const Tensor& y,
               const Rows& at) {
  check_device(op, {&a, &b});
  dispatch_float(op, y.dtype(), [&]<class T>(T) {
    run(op, kernels<ActivationKernels<T>>(y.device()).gated, 4 * y.numel(), 0,
        Gated<T>{activation, a.data<T>() + at.a, b.data<T>() + at.b, y.data<T>(), at.rows, at.cols, at.row, at.row});
  });
}
void run_gated_backward(const char* op, Activation activation, const Tensor& a, const Tensor& b, const Tensor& dy,
                        const Tensor& da, const Tensor& db, const Rows& at) {
  dispatch_float(op, dy.dtype(), [&]<class T>(T) {
    run(op, kernels<ActivationKernels<T>>(dy.device()).gated_backward, 4 * dy.numel(), 0,
        GatedBackward<T>{activation, a.data<T>() + at.a, b.data<T>() + at.b, dy.data<T>(), da.data<T>() + at.a,
                         db.data<T>() + at.b, at.rows, at.cols, at.row, at.row, at.row, at.row});
  });
}

// By operations: what the gradient's own gradient needs.
struct Composed {
  Tensor da, db;
  Composed(Activation activation, const Tensor& a, const Tensor& b, const Tensor& dy) {
    const UnaryOp op = as_unary(activation);
    const Tensor value = unary(op, a);
    da = unary_gradient(op, mul(dy, b), a, value, 0, 0);
    db = mul(dy, value);
  }
};

struct GatedNode final : Node {
  Saved a{this}, b{this};
  Activation activation;
  explicit GatedNode(Activation activation) : activation(activation) {}
  const char* name() const override { return "gated"; }
  Tensors backward(const Tensors& grads, const Needs& needs) override {
    const Tensor left = a.get(), right = b.get();
    if (grad_enabled()) {
      const Composed by(activation, left, right, grads[0]);
      return {by.da, by.db};
    }
    const Tensor dy = contiguous(grads[0]), da = empty_like(left), db = empty_like(right);
    run_gated_backward(name(), activation, left, right, dy, da, db, whole(dy));
    return {needs[0] ? da : Tensor(), needs[1] ? db : Tensor()};
  }
};

struct GatedHalvesNode final : Node {
  const char* op;
  Saved x{this};
  Activation activation;
  int dim;
  bool gate_is_first;
  GatedHalvesNode(const char* op, Activation activation, int dim, bool gate_is_first)
      : op(op), activation(activation), dim(dim), gate_is_first(gate_is_first) {}
  const char* name() const override { return op; }
  Tensors backward(const Tensors& grads, const Needs&) override {
    const Tensor input = x.get();
    if (grad_enabled()) {
      const Index half = input.size(dim) / 2;
      const Tensor first = narrow(input, dim, 0, half), second = narrow(input, dim, half, half);
      const Composed by(activation, gate_is_first ? first : second, gate_is_first ? second : first, grads[0]);
      return {gate_is_first ? cat({by.da, by.db}, dim) : cat({by.db, by.da}, dim)};
    }
    const Tensor dy = contiguous(grads[0]), dx = empty(input.shape(), input.dtype(), input.device());
    run_gated_backward(name(), activation, input, input, dy, dx, dx, halves(input, dim, gate_is_first));
    return {dx};
  }
};

}  // namespace

UnaryOp as_unary(Activation activation) {
  switch (activation) {
    case Activation::relu: return UnaryOp::relu;
    case Activation::gelu: return UnaryOp::gelu;
    case Activation::gelu_tanh: return UnaryOp::gelu_tanh;
    case Activation::silu: return UnaryOp::silu;
    case Activation::tanh: return UnaryOp::tanh;
    default: return UnaryOp::sigmoid;
  }
}

Tensor gated(Activation activation, const Tensor& a, const Tensor& b) {
  if (mode_is_active()) [[unlikely]]
    return through_door({"gated", {a, b}, [=](const Tensors& t) { return gated(activation, t[0], t[1]); }});
  check(a.shape() == b.shape(), "gated: other must have the input's shape ", a.shape(), ", got ", b.shape());
  check(a.dtype() == b.dtype(), "gated: other must have the input's dtype ", a.dtype(), ", got ", b.dtype());
  const Tensor left = contiguous(a), right = contiguous(b), y = empty(a.shape(), a.dtype(), a.device());
  run_gated("gated", activation, left, right, y, whole(y));
  if (auto* node = record<GatedNode>(y, {&left, &right}, activation)) {
    node->a.save(left);
    node->b.save(right);
  }
  return y;
}

Tensor gated_halves(const char* op, Activation activation, const Tensor& input, Index dim, bool gate_is_first) {
  if (mode_is_active()) [[unlikely]]
    return through_door(
        {op, {input}, [=](const Tensors& t) { return gated_halves(op, activation, t[0], dim, gate_is_first); }});
  check(input.ndim() > 0, op, ": input must have a dimension, got a tensor without");
  const int d = normalize_dim(op, dim, input.ndim());
  check(input.size(d) % 2 == 0, op, ": dim must have an even size, got ", input.size(d));
  const Tensor x = contiguous(input);
  Shape shape = x.shape();
  shape[d] /= 2;
  const Tensor y = empty(shape, x.dtype(), x.device());
  run_gated(op, activation, x, x, y, halves(x, d, gate_is_first));
  if (auto* node = record<GatedHalvesNode>(y, {&x}, op, activation, d, gate_is_first)) node->x.save(x);
  return y;
}

BiasGradients bias_gradients(Activation activation, const Tensor& grad, const Tensor& saved) {
  const Tensor dy = contiguous(grad), z = contiguous(saved);
  const Index rows = dy.size(0), cols = dy.size(1);
  const Tensor dz = empty(dy.shape(), dy.dtype(), dy.device()), dbias = empty({cols}, dy.dtype(), dy.device());
  dispatch_float("linear", dy.dtype(), [&]<class T>(T) {
    const auto& table = kernels<ActivationKernels<T>>(dy.device());
    run("linear", table.bias_backward, 4 * dy.numel(), Scratch(table.bias_backward_workspace(rows, cols), dy.device()),
        BiasBackward<T>{activation, dy.data<T>(), z.data<T>(), dz.data<T>(), dbias.data<T>(), rows, cols});
  });
  return {dz, dbias};
}

}  // namespace dd2424::ops
