#include "ops/index.h"

#include "bindings/python.h"
#include "ops/copy.h"
#include "ops/shape.h"

namespace dd2424 {
namespace {

using namespace py::literals;

Tensor source_of(const Tensor& x, const Tensor& index, const Value& source) {
  return source.tensor.defined() ? source.tensor : ops::full(index.shape(), source.scalar, x.dtype(), x.device());
}

// In place: self becomes what the function makes of it.
template <class F>
Tensor replace(const char* op, Tensor self, const F& function) {
  ops::check_inplace(op, self);
  ops::assign(self, function(ops::before_write(self, false)));
  return self;
}

void bind_scatter(py::module_& m) {
  define(
      m, "scatter",
      [](const Tensor& x, Index dim, const Tensor& index, const Value& source) {
        return ops::scatter(x, dim, index, source_of(x, index, source));
      },
      "input"_a, "dim"_a, "index"_a, "src"_a);
  define(m, "scatter_add", &ops::scatter_add, "input"_a, "dim"_a, "index"_a, "src"_a);
  m.def(
      "scatter_join",
      [](const Tensor& x, Index dim, const Tensor& index, const Tensor& source, const std::string& reduce) {
        const ScatterOp op = reduce == "prod" ? ScatterOp::prod : reduce == "amax" ? ScatterOp::max : ScatterOp::min;
        return ops::scatter_join(op, x, dim, index, source);
      },
      "input"_a, "dim"_a, "index"_a, "src"_a, "reduce"_a);
  define_method(
      "scatter_",
      [](Tensor self, Index dim, const Tensor& index, const Value& source) {
        return replace("scatter_", self,
                       [&](const Tensor& x) { return ops::scatter(x, dim, index, source_of(x, index, source)); });
      },
      "dim"_a, "index"_a, "src"_a);
  define_method(
      "scatter_add_",
      [](Tensor self, Index dim, const Tensor& index, const Tensor& source) {
        return replace("scatter_add_", self, [&](const Tensor& x) { return ops::scatter_add(x, dim, index, source); });
      },
      "dim"_a, "index"_a, "src"_a);
}

}  // namespace

void bind_index(py::module_& m) {
  define(m, "index_select", &ops::index_select, "input"_a, "dim"_a, "index"_a);
  define(m, "index_add", &ops::index_add, "input"_a, "dim"_a, "index"_a, "source"_a, py::kw_only(), "alpha"_a = 1.0);
  define_method(
      "index_add_",
      [](Tensor self, Index dim, const Tensor& index, const Tensor& source, double alpha) {
        const bool is_apart = self.is_contiguous() && !may_overlap(self, source) && !may_overlap(self, index);
        if (is_apart && !records({&self, &source})) {  // nobody needs self as it was: no copy of it
          ops::check_inplace("index_add_", self);
          return Tensor(ops::index_add_(self, dim, index, source, alpha));
        }
        return replace("index_add_", self,
                       [&](const Tensor& x) { return ops::index_add(x, dim, index, source, alpha); });
      },
      "dim"_a, "index"_a, "source"_a, py::kw_only(), "alpha"_a = 1.0);
  define(m, "gather", &ops::gather, "input"_a, "dim"_a, "index"_a);
  define(
      m, "take_along_dim",
      [](const Tensor& x, const Tensor& index, const std::optional<Index>& dim) {
        return dim ? ops::gather(x, *dim, index) : ops::gather(ops::reshape(x, {-1}), 0, ops::reshape(index, {-1}));
      },
      "input"_a, "indices"_a, "dim"_a = py::none());
  bind_scatter(m);
  m.def("index", &ops::index, "input"_a, "indices"_a);
  define_method(
      "index_put_",
      [](Tensor self, const Tensors& indices, const Tensor& values, bool accumulate) {
        ops::index_put_(self, indices, values, accumulate);
        return self;
      },
      "indices"_a, "values"_a, "accumulate"_a = false);
  define(
      m, "nonzero",
      [](const Tensor& x, bool as_tuple) -> py::object {
        const Tensor places = ops::nonzero(x);
        if (!as_tuple) return py::cast(places);
        py::tuple columns(x.ndim());
        for (int d = 0; d < x.ndim(); ++d) columns[d] = py::cast(ops::contiguous(ops::select(places, 1, d)));
        return columns;
      },
      "input"_a, py::kw_only(), "as_tuple"_a = false);
  m.def("embedding", &ops::embedding, "input"_a, "weight"_a, "padding_idx"_a = -1, "scale_grad_by_freq"_a = false);
  m.def("largest_rows", &ops::largest_rows, "input"_a, "source"_a, "index"_a, "rows"_a);
  m.def("row_sums", &ops::row_sums, "input"_a, "source"_a, "index"_a, "factor"_a, "rows"_a);
  m.def("gather_normalize", &ops::gather_normalize, "images"_a, "indices"_a, "mean"_a, "rstd"_a);
}

}  // namespace dd2424
