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
  const Tensor dx = zeros(w.shape, dy.dtype(), dy.device());
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

using Windows = std::vector<Window>;

// Windows side by side that together are the input: what their gradients make of it is written once.
struct PartsNode final : Node {
  Windows windows;
  DType dtype;
  Device device;
  PartsNode(const Windows& windows, const Tensor& x) : windows(windows), dtype(x.dtype()), device(x.device()) {
    outputs = static_cast<std::uint32_t>(windows.size());
  }
  const char* name() const override { return windows[0].drops_dim ? "unbind" : "split"; }
  Tensors backward(const Tensors& grads, const Needs&) override {
    if (grad_enabled()) return {joined(grads)};
    const Tensor dx = empty(windows[0].shape, dtype, device);
    for (std::size_t i = 0; i < windows.size(); ++i) {
      const Tensor part = window_of(dx, windows[i]);
      if (grads[i].defined()) copy_into(part, grads[i]);
      else fill_into(part, Scalar(0));
    }
    return {dx};
  }
  Tensor joined(const Tensors& grads) const {
    Tensors parts;
    for (std::size_t i = 0; i < windows.size(); ++i) {
      Shape shape = windows[i].shape;
      shape[windows[i].dim] = windows[i].length;
      parts.push_back(grads[i].defined() ? reshape(grads[i], shape) : zeros(shape, dtype, device));
    }
    return cat(parts, windows[0].dim);
  }
};

Tensors parts_of(const Tensor& x, const Windows& windows) {
  Tensors parts;
  if (windows.size() < 2) {
    for (const Window& w : windows) parts.push_back(window(x, w));
    return parts;
  }
  const Edge edge = grad_enabled() ? edge_to(x) : Edge();
  const Ref<PartsNode> node = edge ? make_ref<PartsNode>(windows, x) : Ref<PartsNode>();
  if (node) node->edges.push_back(edge);
  for (std::size_t i = 0; i < windows.size(); ++i) {
    const Tensor part = known_as_view(x, window_of(x, windows[i]));
    if (node) set_node(part, Ref<Node>(node.get()), static_cast<std::uint32_t>(i));
    parts.push_back(part);
  }
  return parts;
}

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
  Windows windows;
  for (Index i = 0; i < x.size(d); ++i) windows.push_back({x.shape(), d, i, 1, 1, true});
  return parts_of(x, windows);
}

Tensors split(const Tensor& x, const std::vector<Index>& sizes, Index dim) {
  const int d = normalize_dim("split", dim, x.ndim());
  Index total = 0;
  bool fits = true;
  for (Index size : sizes) fits &= !__builtin_add_overflow(total, size, &total);
  check(fits && x.ndim() > 0 && total == x.size(d), "split: sizes must add up to ", x.ndim() ? x.size(d) : 0,
        ", the size of dimension ", d, ", got ", sizes);
  Windows windows;
  Index start = 0;
  for (Index size : sizes) {
    windows.push_back({x.shape(), d, start, size, 1, false});
    start += size;
  }
  return parts_of(x, windows);
}

}  // namespace dd2424::ops
