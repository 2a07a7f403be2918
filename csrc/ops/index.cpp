#include "ops/index.h"

#include "ops/copy.h"
#include "ops/elementwise.h"
#include "ops/shape.h"

namespace dd2424::ops {

namespace {

struct Range {
  Index low, high;
};
Range range_of(const char* op, const Tensor& index) {  // of at least one, int64 and contiguous
  Answer<std::int64_t, 2> range(index.device());
  run(op, kernels<IndexKernels>(index.device()).range, index.numel(), 0,
      IndexRange{index.data<Index>(), index.numel(), range.data()});
  const std::int64_t* const ends = range.read();
  return {ends[0], ends[1]};
}

}  // namespace

Tensor non_negative(const char* op, const Tensor& index, Index size) {
  check<IndexError>(is_integer(index.dtype()), op, ": index must have an integer dtype, got ", index.dtype());
  const GradMode off(false);
  const Tensor wide = contiguous(to(index, DType::int64));
  if (wide.numel() == 0) return wide;
  const auto [low, high] = range_of(op, wide);
  check<IndexError>(low >= -size && high < size, op, ": index must be from ", -size, " to ", size - 1, ", got ",
                    low < -size ? low : high);
  if (low >= 0) return wide;
  return where(compare(CompareOp::lt, wide, Scalar(0)), Operand(add(wide, Scalar(size))), Operand(wide));
}

namespace {

template <class Error>
Tensor unchecked_index(const char* op, const Tensor& index, const char* argument) {
  check<Error>(index.dtype() == DType::int64 || index.dtype() == DType::int32, op, ": ", argument,
               " must be int64 or int32, got ", index.dtype());
  const GradMode off(false);
  return contiguous(to(index, DType::int64));
}

}  // namespace

template <class Error>
Tensor plain_index(const char* op, const Tensor& index, Index size, const char* argument) {
  const Tensor wide = unchecked_index<Error>(op, index, argument);
  if (wide.numel() == 0) return wide;
  const auto [low, high] = range_of(op, wide);
  check<Error>(low >= 0 && high < size, op, ": ", argument, " must be from 0 to ", size - 1, ", got ",
               low < 0 ? low : high);
  return wide;
}
template Tensor plain_index<IndexError>(const char*, const Tensor&, Index, const char*);
template Tensor plain_index<RuntimeError>(const char*, const Tensor&, Index, const char*);

Tensor select_into(const char* op, const Tensor& y, const Tensor& index, const char* argument, IndexSelect a) {
  const bool on_the_way = y.device() != Device::cpu && y.numel() > 0;
  const Tensor places = on_the_way ? unchecked_index<IndexError>(op, index, argument)
                                   : plain_index<IndexError>(op, index, a.size, argument);
  if (y.numel() == 0) return places;
  Answer<bool> outside(y.device());
  a.index = places.data<Index>(), a.n = places.numel(), a.y = y->data, a.element_bytes = item_bytes(y.dtype());
  a.outside = on_the_way ? outside.data() : nullptr;
  run(op, kernels<IndexKernels>(y.device()).select, y.numel(), 0, a);
  if (on_the_way && *outside.read()) plain_index<IndexError>(op, index, a.size, argument);  // says which
  return places;
}

namespace {

struct Rows {  // x as (outer, size, inner) about a dimension
  Index outer = 1, size = 1, inner = 1;
  Rows(const Shape& shape, int dim) {
    for (int d = 0; d < shape.size(); ++d) (d < dim ? outer : d == dim ? size : inner) *= shape[d];
  }
};

struct IndexSelectNode final : Node {
  Saved index{this};
  Shape shape;
  int dim;
  IndexSelectNode(const Shape& shape, int dim) : shape(shape), dim(dim) {}
  const char* name() const override { return "index_select"; }
  Tensors backward(const Tensors& grads, const Needs&) override {
    return {index_add(zeros(shape, grads[0].dtype(), grads[0].device()), dim, index.get(), grads[0], 1)};
  }
};

struct IndexAddNode final : Node {
  Saved index{this};
  int dim;
  double alpha;
  IndexAddNode(int dim, double alpha) : dim(dim), alpha(alpha) {}
  const char* name() const override { return "index_add"; }
  Tensors backward(const Tensors& grads, const Needs& needs) override {
    if (!needs[1]) return {grads[0], Tensor()};
    const Tensor dsource = index_select(grads[0], dim, index.get());
    return {needs[0] ? grads[0] : Tensor(), alpha == 1 ? dsource : mul(dsource, alpha)};
  }
};

}  // namespace

Tensor index_select(const Tensor& x, Index dim, const Tensor& index) {
  check_device("index_select", {&x, &index});
  const int d = normalize_dim("index_select", dim, x.ndim());
  check<IndexError>(index.ndim() <= 1, "index_select: index must have one dimension, got shape ", index.shape());
  check<IndexError>(x.ndim() > 0 || index.numel() == 1,
                    "index_select: index must have one element for an input "
                    "without dimensions, got ",
                    index.numel());
  const Tensor source = contiguous(x);
  Shape shape = x.shape();
  if (x.ndim() > 0) shape[d] = index.numel();
  const Tensor y = empty(shape, x.dtype(), x.device());
  const Rows rows(x.ndim() ? x.shape() : Shape{1}, d);
  const Tensor places = select_into("index_select", y, index, "index",
                                    {.x = source->data, .outer = rows.outer, .size = rows.size, .inner = rows.inner});
  if (auto* node = record<IndexSelectNode>(y, {&x}, x.shape(), d)) node->index.save(places);
  return y;
}

Tensor& index_add_(const Tensor& self, Index dim, const Tensor& index, const Tensor& source, double alpha) {
  check_device("index_add", {&self, &index, &source});
  const int d = normalize_dim("index_add", dim, self.ndim());
  check(self.dtype() == source.dtype(), "index_add: source must have dtype ", self.dtype(), ", got ", source.dtype());
  Shape expected = self.shape();
  if (self.ndim()) expected[d] = index.numel();
  check(source.shape() == expected, "index_add: source must have shape ", expected, ", got ", source.shape());
  const Tensor places = non_negative("index_add", index, self.size(d)), rows_of_source = contiguous(source);
  check(self.is_contiguous(), "index_add: the tensor written to must be contiguous here");
  const Rows rows(self.shape(), d);
  if (source.numel() > 0) {
    dispatch_all(self.dtype(), [&]<class T>(T) {
      if constexpr (!std::is_same_v<T, bool>) {
        const auto& table = kernels<IndexAddKernels<T>>(self.device());
        const IndexAdd<T> a{rows_of_source.data<T>(),
                            places.data<Index>(),
                            self.data<T>(),
                            rows.outer,
                            rows.size,
                            index.numel(),
                            rows.inner,
                            alpha};
        run("index_add", table.add, source.numel(), scratch_for(table.add_workspace, a, self.device()), a);
      } else {
        throw RuntimeError("index_add: not supported for boolean tensors");
      }
    });
  }
  count_write(self);
  return const_cast<Tensor&>(self);
}

Tensor index_add(const Tensor& x, Index dim, const Tensor& index, const Tensor& source, double alpha) {
  Tensor y;
  {
    const GradMode off(false);
    y = clone_contiguous(x);
    index_add_(y, dim, index, source, alpha);
  }
  if (auto* node = record<IndexAddNode>(y, {&x, &source}, normalize_dim("index_add", dim, x.ndim()), alpha))
    node->index.save(index);
  return y;
}

// One of few from each of many places, as of the classes of pixels: all are compared then, in the order of memory. Sums
// at places a plane apart, often a power of two, would push each other's lines out of the cache.
Tensor gather_gradient(const Shape& shape, int dim, const Tensor& index, const Tensor& dy) {
  constexpr Index few = 64, many = 1 << 10;
  Shape of_one = shape, column = Shape::filled(shape.size(), 1);
  Index inner = 1;
  for (int d = dim + 1; d < shape.size(); ++d) inner *= shape[d];
  if (shape.size() > 0) of_one[dim] = 1;
  if (dy.device() != Device::cpu || inner < many || shape[dim] > few || of_one != dy.shape())
    return scatter_add(zeros(shape, dy.dtype(), dy.device()), dim, index, dy);
  column[dim] = shape[dim];
  const Tensor places = reshape(arange(Index{0}, shape[dim], Index{1}, DType::int64), column);
  return where(compare(CompareOp::eq, index, places), dy, 0.0);
}

Tensor gather_normalize(const Tensor& x, const Tensor& index, const Tensor& mean, const Tensor& rstd) {
  check_device("gather_normalize", {&x, &index, &mean, &rstd});
  check(x.dtype() == DType::uint8 && x.ndim() >= 2, "gather_normalize: images must be uint8 (N, *), got ", x.dtype(),
        " ", x.shape());
  check(mean.dtype() == DType::float32 && rstd.dtype() == DType::float32 && mean.shape() == rstd.shape(),
        "gather_normalize: mean and rstd must be float32 of one shape, got ", mean.dtype(), " ", mean.shape(), " and ",
        rstd.dtype(), " ", rstd.shape());
  const Tensor places = non_negative("gather_normalize", index, x.size(0)), images = contiguous(x),
               m = contiguous(mean), r = contiguous(rstd);
  Shape shape = x.shape();
  shape[0] = index.numel();
  const Tensor y = empty(shape, DType::float32, x.device());
  const Index inner = product(Shape(x.shape().begin() + 1, x.shape().end()));
  const bool is_channel = mean.numel() == x.size(1) && mean.numel() != inner;
  check(is_channel || mean.numel() == inner || mean.numel() == 1, "gather_normalize: mean must have ", inner,
        " elements, one per channel (", x.size(1), "), or 1, got ", mean.shape());
  if (y.numel() > 0) {
    run("gather_normalize", kernels<IndexKernels>(x.device()).gather_normalize, y.numel(), 0,
        GatherNormalize{images.data<std::uint8_t>(), places.data<Index>(), m.data<float>(), r.data<float>(),
                        y.data<float>(), x.size(0), index.numel(), inner, inner / mean.numel()});
  }
  return y;
}

}  // namespace dd2424::ops
