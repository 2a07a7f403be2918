#include "ops/shape.h"

#include "ops/copy.h"
#include "ops/view.h"

namespace dd2424::ops {
namespace {

struct ReshapeNode final : Node {
  Shape shape;
  explicit ReshapeNode(const Shape& shape) : shape(shape) {}
  const char* name() const override { return "view"; }
  Tensors backward(const Tensors& grads, const Needs&) override { return {reshape(grads[0], shape)}; }
};

struct PermuteNode final : Node {
  Shape inverse;
  explicit PermuteNode(const Shape& inverse) : inverse(inverse) {}
  const char* name() const override { return "permute"; }
  Tensors backward(const Tensors& grads, const Needs&) override { return {permute(grads[0], inverse)}; }
};

struct ExpandNode final : Node {
  Shape shape;
  explicit ExpandNode(const Shape& shape) : shape(shape) {}
  const char* name() const override { return "expand"; }
  Tensors backward(const Tensors& grads, const Needs&) override { return {sum_to(grads[0], shape)}; }
};

// Fills in a size of -1 from the number of elements.
Shape infer_shape(const char* op, Shape shape, Index numel) {
  int unknown = -1;
  Index known = 1;
  for (int d = 0; d < shape.size(); ++d) {
    if (shape[d] == -1) {
      check(unknown < 0, op, ": shape must have at most one -1, got ", shape);
      unknown = d;
    } else {
      check(shape[d] >= 0, op, ": shape must have no negative size but one -1, got ", shape);
      check(!__builtin_mul_overflow(known, shape[d], &known), op, ": shape is too large, got ", shape);
    }
  }
  if (unknown >= 0) {
    check(known > 0 && numel % known == 0, op, ": shape must hold ", numel, " elements, got ", shape);
    shape[unknown] = numel / known;
  } else {
    check(known == numel, op, ": shape must hold ", numel, " elements, got ", shape);
  }
  if (known == 0) checked_numel(op, shape);  // beside a size of 0, others may be so large that strides overflow
  return shape;
}

}  // namespace

Tensor view(const Tensor& x, const Shape& shape) {
  const Shape target = infer_shape("view", shape, x.numel());
  Shape strides;
  check(view_strides(x, target, strides), "view: shape must fit the memory of the input (shape ", x.shape(),
        ", strides ", x.strides(), "), got ", shape, "; use reshape(), which copies where it must");
  return as_view<ReshapeNode>(x, alias(x, target, strides, x.offset()), x.shape());
}

Tensor reshape(const Tensor& x, const Shape& shape) {
  const Shape target = infer_shape("reshape", shape, x.numel());
  Shape strides;
  if (view_strides(x, target, strides))
    return as_view<ReshapeNode>(x, alias(x, target, strides, x.offset()), x.shape());
  const Tensor copy = clone_contiguous(x);
  const Tensor y = alias(copy, target, contiguous_strides(target), 0);  // the copy's only user: no view of anything
  record<ReshapeNode>(y, {&copy}, copy.shape());
  return y;
}

Tensor permute(const Tensor& x, const Shape& dims) {
  check(dims.size() == x.ndim(), "permute: dims must name each of the ", x.ndim(), " dimensions once, got ", dims);
  Shape shape, strides, inverse = dims;
  std::array<bool, kMaxDims> seen{};
  for (int i = 0; i < dims.size(); ++i) {
    const int d = normalize_dim("permute", dims[i], x.ndim());
    check(!std::exchange(seen[d], true), "permute: dims must name each dimension once, got ", dims);
    shape.push_back(x.size(d));
    strides.push_back(x.strides()[d]);
    inverse[d] = i;
  }
  return as_view<PermuteNode>(x, alias(x, shape, strides, x.offset()), inverse);
}

Tensor transpose(const Tensor& x, Index dim0, Index dim1) {
  const int a = normalize_dim("transpose", dim0, x.ndim()), b = normalize_dim("transpose", dim1, x.ndim());
  if (x.ndim() == 0) return as_view<ReshapeNode>(x, alias(x), x.shape());
  Shape order;
  for (int d = 0; d < x.ndim(); ++d) order.push_back(d);
  std::swap(order[a], order[b]);
  return permute(x, order);
}

Tensor squeeze(const Tensor& x) {
  Shape dims;
  for (int d = 0; d < x.ndim(); ++d) dims.push_back(d);
  return squeeze(x, dims);
}
Tensor squeeze(const Tensor& x, const Shape& dims) {
  std::array<bool, kMaxDims> goes{};
  for (Index dim : dims) goes[normalize_dim("squeeze", dim, x.ndim())] = true;
  Shape shape, strides;
  for (int d = 0; d < x.ndim(); ++d) {
    if (goes[d] && x.size(d) == 1) continue;
    shape.push_back(x.size(d));
    strides.push_back(x.strides()[d]);
  }
  return as_view<ReshapeNode>(x, alias(x, shape, strides, x.offset()), x.shape());
}

Tensor unsqueeze(const Tensor& x, Index dim) {
  const int d = normalize_dim("unsqueeze", dim, x.ndim() + 1);
  Shape shape = x.shape(), strides = x.strides();
  strides.insert(d, d < x.ndim() ? x.size(d) * x.strides()[d] : 1);
  shape.insert(d, 1);
  return as_view<ReshapeNode>(x, alias(x, shape, strides, x.offset()), x.shape());
}

Tensor expand(const Tensor& x, const Shape& shape) {
  const int shift = shape.size() - x.ndim();
  check(shift >= 0, "expand: shape must have at least ", x.ndim(), " dimensions, got ", shape);
  Shape target = shape, strides = Shape::filled(shape.size(), 0);
  for (int d = shape.size() - 1; d >= 0; --d) {
    const Index own = d < shift ? 1 : x.size(d - shift);
    if (target[d] == -1 && d >= shift) target[d] = own;
    check(target[d] >= 0 && (own == 1 || own == target[d]), "expand: shape must fit the input of shape ", x.shape(),
          ", got ", shape);
    if (own != target[d]) continue;
    const bool is_last = d + 1 == shape.size();
    strides[d] = d >= shift ? x.strides()[d - shift] : is_last ? 1 : target[d + 1] * strides[d + 1];
  }
  if (target == x.shape()) return as_view<ReshapeNode>(x, alias(x), x.shape());
  checked_numel("expand", target);
  return as_view<ExpandNode>(x, alias(x, target, strides, x.offset()), x.shape());
}

void become_view(const char* op, const Tensor& self, const std::function<Tensor(const Tensor&)>& view) {
  check_tape(op, self);
  const GradMode mode(static_cast<bool>(grad_node(self)));  // under no_grad too: its node knows another shape
  const Tensor y = view(self);
  self->data = y->data;
  self->shape = y.shape();
  self->strides = y.strides();
  self->is_contiguous = y.is_contiguous();
  self->numel = y.numel();
  if (y->node) set_node(self, Ref<Node>(grad_node(y)));
}

Tensor flatten(const Tensor& x, Index start_dim, Index end_dim) {
  const int start = normalize_dim("flatten", start_dim, x.ndim()), end = normalize_dim("flatten", end_dim, x.ndim());
  check(start <= end, "flatten: start_dim must not come after end_dim, got ", start_dim, " and ", end_dim);
  if (x.ndim() == 0) return reshape(x, {1});
  Shape shape(x.shape().begin(), x.shape().begin() + start);
  Index run = 1;
  for (int d = start; d <= end; ++d) run *= x.size(d);
  shape.push_back(run);
  for (int d = end + 1; d < x.ndim(); ++d) shape.push_back(x.size(d));
  return shape == x.shape() ? x : reshape(x, shape);
}

}  // namespace dd2424::ops
