#include "ops/shape.h"

#include "ops/copy.h"
#include "ops/elementwise.h"
#include "ops/index.h"
#include "ops/reduce.h"

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

// Makes y, which shares x's memory, known as a view of x.
template <class N, class... Args>
Tensor as_view(const Tensor& x, Tensor y, Args&&... args) {
  y->base = x->base ? x->base : Ref<TensorImpl>(x.impl());
  y->is_no_grad_view = !grad_enabled() || x->is_no_grad_view;
  y->node_version = y->storage->version.load(std::memory_order_relaxed);
  record<N>(y, {&x}, std::forward<Args>(args)...);
  return y;
}

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

// Windows: views that leave elements out.

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

namespace {

// A window of any geometry: strides and offset are those of the input's memory.
struct Geometry {
  Shape input_shape, input_strides, shape, strides;
  Index offset;  // from the input's first element
};

Index span(const Shape& shape, const Shape& strides) {  // elements of memory from the first to the last
  Index last = 0;
  for (int d = 0; d < shape.size(); ++d) last += (shape[d] - 1) * strides[d];
  return product(shape) == 0 ? 0 : last + 1;
}

// Zeros for both the input and the window, either of which may reach beyond the other.
struct Memory {
  Tensor all, input, window;
  Memory(const Geometry& g, DType dtype) {
    const Index before = std::max<Index>(0, -g.offset);
    const Index after = std::max(span(g.input_shape, g.input_strides), g.offset + span(g.shape, g.strides));
    all = zeros({before + std::max<Index>(0, after)}, dtype);
    input = alias(all, g.input_shape, g.input_strides, before);
    window = alias(all, g.shape, g.strides, before + g.offset);
  }
};

Tensor strided_window(const Tensor& x, const Geometry& g);

struct StridedSpreadNode final : Node {
  Geometry g;
  explicit StridedSpreadNode(const Geometry& g) : g(g) {}
  const char* name() const override { return "as_strided_backward"; }
  Tensors backward(const Tensors& grads, const Needs&) override { return {strided_window(grads[0], g)}; }
};

// The input's memory, zero but for dy added at the window. Elements that the window meets twice add up in its order.
Tensor spread_strided(const Tensor& dy, const Geometry& g) {
  Memory memory(g, dy.dtype());
  if (overlaps_itself(memory.window)) {
    const GradMode off(false);
    const Tensor places = arange(Scalar(0), Scalar(memory.all.numel()), Scalar(1), DType::int64);
    const Tensor index = clone_contiguous(alias(places, g.shape, g.strides, memory.window.offset()));
    index_add_(memory.all, 0, view(index, {-1}), reshape(dy, {-1}), 1);
  } else {
    copy_into(memory.window, dy);
  }
  record<StridedSpreadNode>(memory.input, {&dy}, g);
  return memory.input;
}

struct StridedNode final : Node {
  Geometry g;
  explicit StridedNode(const Geometry& g) : g(g) {}
  const char* name() const override { return "as_strided"; }
  Tensors backward(const Tensors& grads, const Needs&) override { return {spread_strided(grads[0], g)}; }
};

// A view where x lies in memory like the input, without gaps, around the window; else x is first laid out among zeros.
Tensor strided_window(const Tensor& x, const Geometry& g) {
  const Index size = span(g.input_shape, g.input_strides);
  const bool is_inside = g.offset >= 0 && g.offset + span(g.shape, g.strides) <= size;
  if (is_inside && size == x.numel() && x.strides() == g.input_strides)
    return as_strided(x, g.shape, g.strides, x.offset() + g.offset);
  const Memory memory(g, x.dtype());
  copy_into(memory.input, x);
  const Tensor y = clone_contiguous(memory.window);
  record<StridedNode>(y, {&x}, g);
  return y;
}

}  // namespace

Tensor as_strided(const Tensor& x, const Shape& shape, const Shape& strides, Index offset) {
  check(shape.size() == strides.size(), "as_strided: size and stride must have the same length, got ", shape, " and ",
        strides);
  const bool is_empty = checked_numel("as_strided", shape) == 0;
  Index last = offset, reach = 0;
  bool fits = true;  // no sum or product here may wrap around
  for (int d = 0; d < shape.size(); ++d) {
    check(strides[d] >= 0, "as_strided: stride must not be negative, got ", strides);
    if (is_empty) continue;
    fits &= !__builtin_mul_overflow(shape[d] - 1, strides[d], &reach) && !__builtin_add_overflow(last, reach, &last);
  }
  const Index capacity = static_cast<Index>(x->storage->bytes) / item_bytes(x.dtype());
  check(fits && offset >= 0 && (is_empty ? offset <= capacity : last < capacity),
        "as_strided: size, stride and offset must stay within ", capacity, " elements of storage, got ", shape, ", ",
        strides, ", ", offset);
  return as_view<StridedNode>(x, alias(x, shape, strides, offset),
                              Geometry{x.shape(), x.strides(), shape, strides, offset - x.offset()});
}

Ref<Node> view_node(const Tensor& base, const Tensor& view) {
  auto node = make_ref<StridedNode>(
      Geometry{base.shape(), base.strides(), view.shape(), view.strides(), view.offset() - base.offset()});
  node->edges.push_back(edge_to(base));
  return node;
}

constexpr Index kMaxOffset = Index{1} << 62;

Tensor diagonal(const Tensor& x, Index offset, Index dim0, Index dim1) {
  const int a = normalize_dim("diagonal", dim0, x.ndim()), b = normalize_dim("diagonal", dim1, x.ndim());
  check(x.ndim() >= 2 && a != b, "diagonal: dim1 and dim2 must be two dimensions, got ", dim0, " and ", dim1);
  check(offset > -kMaxOffset && offset < kMaxOffset, "diagonal: offset must be smaller, got ", offset);
  const Index rows = x.size(a) - std::max<Index>(-offset, 0), columns = x.size(b) - std::max<Index>(offset, 0);
  Shape shape, strides;
  for (int d = 0; d < x.ndim(); ++d) {
    if (d == a || d == b) continue;
    shape.push_back(x.size(d));
    strides.push_back(x.strides()[d]);
  }
  shape.push_back(std::max<Index>(std::min(rows, columns), 0));
  strides.push_back(x.strides()[a] + x.strides()[b]);
  if (shape.back() == 0) return as_strided(x, shape, strides, x.offset());
  const Index start = offset >= 0 ? offset * x.strides()[b] : -offset * x.strides()[a];
  return as_strided(x, shape, strides, x.offset() + start);
}

Tensor unfold(const Tensor& x, Index dim, Index size, Index step) {
  const int d = normalize_dim("unfold", dim, x.ndim());
  const Index length = x.ndim() ? x.size(d) : 1;
  check(size >= 0 && size <= length, "unfold: size must be at most ", length, ", that of dimension ", d, ", got ",
        size);
  check(step > 0, "unfold: step must be positive, got ", step);
  Shape shape = x.shape(), strides = x.strides();
  if (x.ndim() == 0) return as_strided(x, {size}, {1}, x.offset());
  shape[d] = (length - size) / step + 1;
  shape.push_back(size);
  strides.push_back(x.strides()[d]);
  if (Index stride; !__builtin_mul_overflow(strides[d], step, &stride)) strides[d] = stride;  // else it is never taken
  return as_strided(x, shape, strides, x.offset());
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
