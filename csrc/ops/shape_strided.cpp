// Views of any geometry.
#include "ops/copy.h"
#include "ops/index.h"
#include "ops/shape.h"
#include "ops/view.h"

namespace dd2424::ops {
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
  Memory(const Geometry& g, const Tensor& like) {
    const Index before = std::max<Index>(0, -g.offset);
    const Index after = std::max(span(g.input_shape, g.input_strides), g.offset + span(g.shape, g.strides));
    all = zeros({before + std::max<Index>(0, after)}, like.dtype(), like.device());
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
  Memory memory(g, dy);
  if (overlaps_itself(memory.window)) {
    const GradMode off(false);
    const Tensor places = arange(Scalar(0), Scalar(memory.all.numel()), Scalar(1), DType::int64, dy.device());
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
  const Memory memory(g, x);
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

}  // namespace dd2424::ops
