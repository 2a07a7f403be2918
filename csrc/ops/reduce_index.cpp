#include "ops/copy.h"
#include "ops/elementwise.h"
#include "ops/index.h"
#include "ops/reduce.h"
#include "ops/shape.h"

namespace dd2424::ops {
namespace {

// The reduced dimension d last, the others in their order; or all of them, row-major. Neighbours become one where they
// lie so.
ReduceShape along(const Tensor& x, const int* d) {
  ReduceShape at{.kept = 0, .reduced = 0, .shape = {}, .strides = {}, .outputs = 1, .terms = 1};
  const auto append = [&](int first, int count, int dim) {
    const Index size = x.size(dim), stride = x.strides()[dim];
    if (const int last = first + count - 1; count > 0 && at.strides[last] == stride * size) {
      at.shape[last] *= size, at.strides[last] = stride;
      return count;
    }
    at.shape[first + count] = size, at.strides[first + count] = stride;
    return count + 1;
  };
  for (int i = 0; i < x.ndim(); ++i) {
    if (!d || i == *d) continue;
    at.kept = append(0, at.kept, i);
    at.outputs *= x.size(i);
  }
  for (int i = 0; i < x.ndim(); ++i) {
    if (d && i != *d) continue;
    at.reduced = append(at.kept, at.reduced, i);
    at.terms *= x.size(i);
  }
  return at;
}

void run_arg(const char* name, ArgOp op, const Tensor& x, const ReduceShape& at, const Tensor& value,
             const Tensor& index) {
  if (index.numel() == 0) return;
  dispatch_all(x.dtype(), [&]<class T>(T) {
    const auto& table = kernels<ReduceKernels<T>>(x.device());
    run(name, table.arg_reduce, x.numel(), {table.workspace(at), x.device()}, op,
        ArgReduce<T>{x.data<T>(), value.data<T>(), index.data<Index>(), at});
  });
}

Shape without(const Shape& shape, int d, bool keepdim) {
  Shape result = shape;
  if (shape.empty()) return result;
  if (keepdim) {
    result[d] = 1;
  } else {
    result.erase(d);
  }
  return result;
}

struct PickedNode final : Node {  // dy goes where the index points
  Saved index{this};
  Shape shape;
  int dim;
  bool keepdim;
  PickedNode(const Shape& shape, int dim, bool keepdim) : shape(shape), dim(dim), keepdim(keepdim) { outputs = 1; }
  const char* name() const override { return "max"; }
  Tensors backward(const Tensors& grads, const Needs&) override {
    const Tensor where = index.get();
    const Tensor zero = zeros(shape, grads[0].dtype(), grads[0].device());
    if (shape.empty()) return {grads[0]};
    const Tensor dy = keepdim ? grads[0] : unsqueeze(grads[0], dim);
    return {scatter_add(zero, dim, keepdim ? where : unsqueeze(where, dim), dy)};
  }
};

struct CumsumNode final : Node {
  int dim;
  explicit CumsumNode(int dim) : dim(dim) {}
  const char* name() const override { return "cumsum"; }
  Tensors backward(const Tensors& grads, const Needs&) override {
    return {flip(cumsum(flip(grads[0], {dim}), dim), {dim})};
  }
};

// The same without a division: dx_i = (product of x before i) s_i, where s_i = dy_i + x_(i+1) s_(i+1).
Tensor cumprod_gradient(const Tensor& x, const Tensor& dy, int dim) {
  const Index n = x.size(dim);
  const auto at = [dim](const Tensor& t, Index i) { return narrow(t, dim, i, 1); };
  Tensors sums;  // from the last to the first
  for (Index i = n - 1; i >= 0; --i)
    sums.push_back(sums.empty() ? at(dy, i) : add(at(dy, i), mul(at(x, i + 1), sums.back())));
  Shape one = x.shape();
  one[dim] = 1;
  const Tensor before = cat({full(one, Scalar(1), x.dtype(), x.device()), narrow(cumprod(x, dim), dim, 0, n - 1)}, dim);
  return mul(before, flip(cat(sums, dim), {dim}));
}

struct CumprodNode final : Node {  // dx_i = sum over j >= i of dy_j y_j / x_i where no x is 0
  Saved x{this}, y{this};
  int dim;
  explicit CumprodNode(int dim) : dim(dim) {}
  const char* name() const override { return "cumprod"; }
  Tensors backward(const Tensors& grads, const Needs&) override {
    const Tensor input = x.get();
    if (input.ndim() == 0) return {grads[0]};
    if (item(all(input)).integer == 0) return {cumprod_gradient(input, grads[0], dim)};
    const Tensor tail = flip(cumsum(flip(mul(grads[0], y.get()), {dim}), dim), {dim});
    return {div(tail, input)};
  }
};

Tensor scan(const char* name, const Tensor& input, int d, bool product) {
  const Tensor x = contiguous(is_floating(input.dtype()) ? input : to(input, DType::int64));
  const Tensor y = empty(x.shape(), x.dtype(), x.device());
  if (y.numel() == 0) return y;
  Index outer = 1, inner = 1;
  for (int i = 0; i < x.ndim(); ++i) (i < d ? outer : inner) *= i == d ? 1 : x.size(i);
  dispatch_all(x.dtype(), [&]<class T>(T) {
    const auto& table = kernels<ReduceKernels<T>>(x.device());
    run(name, product ? table.cumprod : table.cumsum, x.numel(), 0,
        Scan<T>{x.data<T>(), y.data<T>(), outer, x.ndim() ? x.size(d) : 1, inner});
  });
  return y;
}

}  // namespace

Tensor arg_reduce(ArgOp op, const Tensor& x, const Index* dim, bool keepdim) {
  const char* name = op == ArgOp::argmax ? "argmax" : "argmin";
  const int d = dim ? normalize_dim(name, *dim, x.ndim()) : 0;
  const ReduceShape at = along(x, dim ? &d : nullptr);
  check<IndexError>(at.terms > 0, name, ": the reduced dimension must not be empty, got shape ", x.shape());
  const Shape shape = dim ? without(x.shape(), d, keepdim) : Shape::filled(keepdim ? x.ndim() : 0, 1);
  const Tensor index = empty(shape, DType::int64, x.device());
  run_arg(name, op, x, at, Tensor(), index);
  return index;
}

std::pair<Tensor, Tensor> max_with_index(ArgOp op, const Tensor& x, Index dim, bool keepdim) {
  const char* name = op == ArgOp::argmax ? "max" : "min";
  const int d = normalize_dim(name, dim, x.ndim());
  const ReduceShape at = along(x, &d);
  check<IndexError>(at.terms > 0, name, ": dim must not be empty, got shape ", x.shape());
  const Shape shape = without(x.shape(), d, keepdim);
  const Tensor value = empty(shape, x.dtype(), x.device()), index = empty(shape, DType::int64, x.device());
  run_arg(name, op, x, at, value, index);
  if (auto* node = record<PickedNode>(value, {&x}, x.shape(), d, keepdim)) node->index.save(index);
  return {value, index};
}

Tensor cumsum(const Tensor& x, Index dim) {
  const int d = normalize_dim("cumsum", dim, x.ndim());
  const Tensor y = scan("cumsum", x, d, false);
  record<CumsumNode>(y, {&x}, d);
  return y;
}

Tensor cumprod(const Tensor& x, Index dim) {
  const int d = normalize_dim("cumprod", dim, x.ndim());
  const Tensor y = scan("cumprod", x, d, true);
  if (auto* node = record<CumprodNode>(y, {&x}, d)) {
    node->x.save(x);
    node->y.save_output(y);
  }
  return y;
}

}  // namespace dd2424::ops
