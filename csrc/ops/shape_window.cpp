// Windows: views of every step-th element along one dimension.
#include "ops/copy.h"
#include "ops/shape.h"
#include "ops/view.h"

namespace dd2424::ops {
namespace {

// Along one dimension of a tensor of `shape`; `drops_dim` for select.
struct Window {
  Shape shape;
  int dim;
  Index start, length, step;
  bool drops_dim;
};

Tensor window_of(const Tensor& x, const Window& w) {
  Shape shape = x.shape(), strides = x.strides();
  const Index offset = x.offset() + w.start * strides[w.dim];
  shape[w.dim] = w.length;
  if (Index wide; !__builtin_mul_overflow(strides[w.dim], w.step, &wide)) strides[w.dim] = wide;  // else of one element
  if (w.drops_dim) {
    shape.erase(w.dim);
    strides.erase(w.dim);
  }
  return alias(x, shape, strides, offset);
}

Tensor window(const Tensor& x, const Window& w);

struct WindowSpreadNode final : Node {
  Window w;
  explicit WindowSpreadNode(const Window& w) : w(w) {}
  const char* name() const override { return "slice_backward"; }
  Tensors backward(const Tensors& grads, const Needs&) override { return {window(grads[0], w)}; }
};

// Zeros with dy in the window: the transpose of taking the window.
Tensor spread_window(const Tensor& dy, const Window& w) {
  const Tensor dx = zeros(w.shape, dy.dtype());
  copy_into(window_of(dx, w), dy);
  record<WindowSpreadNode>(dx, {&dy}, w);
  return dx;
}

struct WindowNode final : Node {
  Window w;
  explicit WindowNode(const Window& w) : w(w) {}
  const char* name() const override { return w.drops_dim ? "select" : "slice"; }
  Tensors backward(const Tensors& grads, const Needs&) override { return {spread_window(grads[0], w)}; }
};

Tensor window(const Tensor& x, const Window& w) { return as_view<WindowNode>(x, window_of(x, w), w); }

}  // namespace

Tensor select(const Tensor& x, Index dim, Index index) {
  check<IndexError>(x.ndim() > 0, "select: a tensor without dimensions can't be indexed");
  const int d = normalize_dim("select", dim, x.ndim());
  check<IndexError>(index >= -x.size(d) && index < x.size(d), "select: index must be from ", -x.size(d), " to ",
                    x.size(d) - 1, " in dimension ", d, " of shape ", x.shape(), ", got ", index);
  return window(x, {x.shape(), d, index < 0 ? index + x.size(d) : index, 1, 1, true});
}

Tensor slice(const Tensor& x, Index dim, Index start, Index stop, Index step) {
  const int d = normalize_dim("slice", dim, x.ndim());
  check<ValueError>(step >= 1, "slice: step must be positive, got ", step);
  const Index length = stop > start ? (stop - start - 1) / step + 1 : 0;
  return window(x, {x.shape(), d, length ? start : 0, length, step, false});
}

Tensor narrow(const Tensor& x, Index dim, Index start, Index length) {
  const int d = normalize_dim("narrow", dim, x.ndim());
  check(x.ndim() > 0, "narrow: input must have a dimension, got one without");
  const Index size = x.size(d);
  check<IndexError>(start >= -size && start <= size, "narrow: start must be from ", -size, " to ", size, ", got ",
                    start);
  check(length >= 0 && length <= (start < 0 ? -start : size - start),  // no sum that could wrap around
        "narrow: start and length must lie within dimension ", d, " of size ", size, ", got ", start, " and ", length);
  return window(x, {x.shape(), d, start < 0 ? start + size : start, length, 1, false});
}

Tensors unbind(const Tensor& x, Index dim) {
  const int d = normalize_dim("unbind", dim, x.ndim());
  check<IndexError>(x.ndim() > 0, "unbind: input must have a dimension, got one without");
  Tensors parts;
  for (Index i = 0; i < x.size(d); ++i) parts.push_back(select(x, d, i));
  return parts;
}

Tensors split(const Tensor& x, const std::vector<Index>& sizes, Index dim) {
  const int d = normalize_dim("split", dim, x.ndim());
  Index total = 0;
  bool fits = true;
  for (Index size : sizes) fits &= !__builtin_add_overflow(total, size, &total);
  check(fits && x.ndim() > 0 && total == x.size(d), "split: sizes must add up to ", x.ndim() ? x.size(d) : 0,
        ", the size of dimension ", d, ", got ", sizes);
  Tensors parts;
  Index start = 0;
  for (Index size : sizes) {
    parts.push_back(narrow(x, d, start, size));
    start += size;
  }
  return parts;
}

}  // namespace dd2424::ops
