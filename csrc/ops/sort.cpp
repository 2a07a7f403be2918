#include "ops/sort.h"

#include <limits>

#include "ops/copy.h"
#include "ops/index.h"
#include "ops/shape.h"

namespace dd2424::ops {
namespace {

// The type with kernels that holds all of another's elements in the same order.
DType ordered_as(DType dtype) {
  if (dtype == DType::float64 || dtype == DType::int64) return dtype;
  return is_floating(dtype) ? DType::float32 : DType::int32;
}
template <class F>
void dispatch_ordered(DType dtype, F&& f) {
  switch (dtype) {
    case DType::float32: return f(float());
    case DType::float64: return f(double());
    case DType::int64: return f(std::int64_t());
    default: return f(std::int32_t());
  }
}

// dy goes where the index points; no place is pointed at twice.
struct OrderNode final : Node {
  Saved index{this};
  Shape shape;
  int dim;
  const char* op;
  OrderNode(const Shape& shape, int dim, const char* op) : shape(shape), dim(dim), op(op) {}
  const char* name() const override { return op; }
  Tensors backward(const Tensors& grads, const Needs&) override {
    return {scatter(zeros(shape, grads[0].dtype(), grads[0].device()), dim, index.get(), grads[0])};
  }
};
// The same where several results may be one element.
struct RunningExtremeNode final : Node {
  Saved index{this};
  int dim;
  const char* op;
  RunningExtremeNode(int dim, const char* op) : dim(dim), op(op) {}
  const char* name() const override { return op; }
  Tensors backward(const Tensors& grads, const Needs&) override {
    return {scatter_add(zeros(grads[0].shape(), grads[0].dtype(), grads[0].device()), dim, index.get(), grads[0])};
  }
};

// Of an element without dimensions: itself, at place 0.
ValuesAndIndices alone(const Tensor& x) { return {clone(x), zeros({}, DType::int64, x.device())}; }

struct Wanted {
  Index first, last;
  bool descending = false;
  Rank rank = Rank::stated;
};

// The wanted places of the order along d.
ValuesAndIndices ordered(const char* op, const Tensor& x, int d, const Wanted& wanted) {
  const Index n = x.size(d), count = wanted.last - wanted.first;
  check(n <= std::numeric_limits<std::uint32_t>::max(), op, ": dim must have fewer than 2^32 elements, got ", n);
  Tensor values, indices;
  {
    const GradMode off(false);
    const Tensor rows = contiguous(transpose(to(x, ordered_as(x.dtype())), d, -1));
    Shape shape = rows.shape();
    shape[x.ndim() - 1] = count;
    const Tensor y = empty(shape, rows.dtype(), x.device()), places = empty(shape, DType::int64, x.device());
    if (y.numel() > 0) {
      const Index lines = rows.numel() / n;
      dispatch_ordered(rows.dtype(), [&]<class T>(T) {
        const auto& table = kernels<SortKernels<T>>(x.device());
        run(op, table.sort, 4 * rows.numel(), Scratch(table.sort_workspace(lines, n), x.device()),
            Sort<T>{rows.data<T>(), y.data<T>(), places.data<Index>(), lines, n, wanted.first, wanted.last,
                    wanted.descending, wanted.rank});
      });
    }
    values = contiguous(transpose(to(y, x.dtype()), d, -1));
    indices = contiguous(transpose(places, d, -1));
  }
  if (auto* node = record<OrderNode>(values, {&x}, x.shape(), d, op)) node->index.save(indices);
  return {values, indices};
}

ValuesAndIndices one_of(const char* op, const Tensor& x, int d, bool keepdim, const Wanted& wanted) {
  const auto [values, indices] = ordered(op, x, d, wanted);
  if (keepdim) return {values, indices};
  return {squeeze(values, {d}), squeeze(indices, {d})};
}

}  // namespace

ValuesAndIndices sort(const Tensor& x, Index dim, bool descending) {
  const int d = normalize_dim("sort", dim, x.ndim());
  if (x.ndim() == 0) return alone(x);
  return ordered("sort", x, d, {0, x.size(d), descending});
}

ValuesAndIndices topk(const Tensor& x, Index k, Index dim, bool largest) {
  const int d = normalize_dim("topk", dim, x.ndim());
  const Index size = x.ndim() ? x.size(d) : 1;
  check(k >= 0 && k <= size, "topk: k must be in [0, ", size, "], got ", k);
  if (x.ndim() == 0) return alone(x);
  return ordered("topk", x, d, {0, k, largest});
}

ValuesAndIndices kthvalue(const Tensor& x, Index k, Index dim, bool keepdim) {
  const int d = normalize_dim("kthvalue", dim, x.ndim());
  const Index size = x.ndim() ? x.size(d) : 1;
  check(k >= 1 && k <= size, "kthvalue: k must be in [1, ", size, "], got ", k);
  if (x.ndim() == 0) return alone(x);
  return one_of("kthvalue", x, d, keepdim, {k - 1, k});
}

ValuesAndIndices median(const char* op, Rank rank, const Tensor& x, Index dim, bool keepdim) {
  const int d = normalize_dim(op, dim, x.ndim());
  if (x.ndim() == 0) return alone(x);
  check<IndexError>(x.size(d) > 0, op, ": dim must not be empty, got shape ", x.shape());
  return one_of(op, x, d, keepdim, {.first = 0, .last = 1, .rank = rank});
}

ValuesAndIndices running_extreme(const char* op, bool largest, const Tensor& x, Index dim) {
  const int d = normalize_dim(op, dim, x.ndim());
  if (x.ndim() == 0) return alone(x);
  const Tensor indices = empty(x.shape(), DType::int64, x.device());
  Tensor values;
  {
    const GradMode off(false);
    const Tensor from = contiguous(to(x, ordered_as(x.dtype()))), y = empty(x.shape(), from.dtype(), x.device());
    Index outer = 1, inner = 1;
    for (int i = 0; i < x.ndim(); ++i) (i < d ? outer : inner) *= i == d ? 1 : x.size(i);
    if (y.numel() > 0) {
      dispatch_ordered(from.dtype(), [&]<class T>(T) {
        run(op, kernels<SortKernels<T>>(x.device()).running_extreme, x.numel(), 0,
            RunningExtreme<T>{from.data<T>(), y.data<T>(), indices.data<Index>(), outer, x.size(d), inner, largest});
      });
    }
    values = to(y, x.dtype());
  }
  if (auto* node = record<RunningExtremeNode>(values, {&x}, d, op)) node->index.save(indices);
  return {values, indices};
}

Tensor searchsorted(const Tensor& sorted, const Tensor& input, bool right) {
  check_device("searchsorted", {&sorted, &input});
  const GradMode off(false);
  check(sorted.ndim() > 0, "searchsorted: sorted_sequence must have at least one dimension, got none");
  const bool is_shared = sorted.ndim() == 1;
  if (!is_shared) {
    Shape expected = sorted.shape();
    if (input.ndim() == sorted.ndim()) expected[sorted.ndim() - 1] = input.size(input.ndim() - 1);
    check(input.shape() == expected, "searchsorted: input must have the sequence's first dimensions ",
          Shape(sorted.shape().begin(), sorted.shape().end() - 1), ", got ", input.shape());
  }
  const bool is_mixed = sorted.dtype() != input.dtype(), is_real = is_floating(promote(sorted.dtype(), input.dtype()));
  const DType dtype = is_mixed && is_real ? DType::float64 : ordered_as(promote(sorted.dtype(), input.dtype()));
  const Tensor edges = contiguous(to(sorted, dtype)), x = contiguous(to(input, dtype));
  const Tensor y = empty(x.shape(), DType::int64, x.device());
  if (y.numel() == 0) return y;
  const Index n = sorted.size(sorted.ndim() - 1), rows = is_shared ? 1 : y.numel() / y.size(y.ndim() - 1);
  dispatch_ordered(dtype, [&]<class T>(T) {
    run("searchsorted", kernels<SortKernels<T>>(x.device()).search, 8 * y.numel(), 0,
        Search<T>{edges.data<T>(), x.data<T>(), y.data<Index>(), rows, n, y.numel() / rows, is_shared ? 0 : n, right});
  });
  return y;
}

}  // namespace dd2424::ops
