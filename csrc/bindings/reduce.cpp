#include "ops/reduce.h"

#include "bindings/python.h"
#include "ops/copy.h"
#include "ops/elementwise.h"
#include "ops/loss.h"

namespace dd2424 {
namespace {

using namespace py::literals;

using Reduction = Tensor (*)(const Tensor&, const Shape&, bool);

Tensor cast_first(const Tensor& x, const std::optional<DType>& dtype) { return dtype ? ops::to(x, *dtype) : x; }

template <Reduction reduction>
void bind_reduction(py::module_& m, const char* name) {
  define(
      m, name,
      [](const Tensor& x, const Dims& dim, bool keepdim, const std::optional<DType>& dtype) {
        return reduction(cast_first(x, dtype), dim.dims, keepdim);
      },
      "input"_a, "dim"_a = py::none(), "keepdim"_a = false, py::kw_only(), "dtype"_a = py::none());
  make_direct(m, name, [](const Tensor& x, int) { return reduction(x, {}, false); });
}
template <Reduction reduction>
void bind_plain(py::module_& m, const char* name) {
  define(
      m, name, [](const Tensor& x, const Dims& dim, bool keepdim) { return reduction(x, dim.dims, keepdim); },
      "input"_a, "dim"_a = py::none(), "keepdim"_a = false);
  make_direct(m, name, [](const Tensor& x, int) { return reduction(x, {}, false); });
}

// any(x, ()) and all(x, ()) reduce nothing.
template <Reduction reduction>
void bind_logic(py::module_& m, const char* name) {
  define(
      m, name,
      [](const Tensor& x, const Dims& dim, bool keepdim) {
        if (dim.given && dim.dims.empty()) return ops::contiguous(ops::compare(CompareOp::ne, x, Scalar(0)));
        return reduction(x, dim.dims, keepdim);
      },
      "input"_a, "dim"_a = py::none(), "keepdim"_a = false);
  make_direct(m, name, [](const Tensor& x, int) { return reduction(x, {}, false); });
}

// PyTorch's older argument: unbiased=True is correction=1.
double correction_of(const std::optional<bool>& unbiased, const std::optional<double>& correction) {
  return correction ? *correction : unbiased && !*unbiased ? 0 : 1;
}
template <auto statistic>
void bind_variance(py::module_& m, const char* name) {
  define(
      m, name,
      [name](const Tensor& x, const py::object& dim, const std::optional<bool>& unbiased, bool keepdim,
             const std::optional<double>& correction) {
        if (PyBool_Check(dim.ptr())) return statistic(x, Shape{}, dim.ptr() == Py_True ? 1.0 : 0.0, keepdim);
        Shape dims;
        check<TypeError>(dim.is_none() || load_shape(dim.ptr(), dims), name,
                         ": dim must be an int or a sequence of ints");
        return statistic(x, dims, correction_of(unbiased, correction), keepdim);
      },
      "input"_a, "dim"_a = py::none(), "unbiased"_a = py::none(), "keepdim"_a = false, py::kw_only(),
      "correction"_a = py::none());
}

// max(x), max(x, other) and max(x, dim) -> (values, indices).
void bind_extremum(py::module_& m, const char* name, BinaryOp pairwise, Reduction whole, ArgOp arg) {
  define(
      m, name,
      [=](const Tensor& x, const py::object& dim, bool keepdim) -> py::object {
        if (dim.is_none()) return py::cast(whole(x, {}, false));
        if (is_tensor(dim.ptr()) && unwrap(dim.ptr()).ndim() + x.ndim() > 0)
          return py::cast(ops::binary(pairwise, x, unwrap(dim.ptr())));
        check<TypeError>(PyIndex_Check(dim.ptr()), name, ": dim must be an int or a tensor, got ",
                         std::string(py::repr(dim)));
        const auto [values, indices] = ops::max_with_index(arg, x, py::cast<Index>(py::int_(dim)), keepdim);
        static const py::handle pair =
            py::module_::import("collections").attr("namedtuple")("values_and_indices", "values indices").inc_ref();
        return pair(values, indices);
      },
      "input"_a, "dim"_a = py::none(), "keepdim"_a = false);
}

}  // namespace

void bind_reduce(py::module_& m) {
  bind_reduction<ops::sum>(m, "sum");
  bind_reduction<ops::mean>(m, "mean");
  bind_reduction<ops::prod>(m, "prod");
  m.def(
      "sum_squares",
      [](const Tensor& x, const Dims& dim, bool keepdim) { return ops::sum_squares(x, dim.dims, keepdim); }, "input"_a,
      "dim"_a = py::none(), "keepdim"_a = false);
  bind_plain<ops::amax>(m, "amax");
  bind_plain<ops::amin>(m, "amin");
  bind_logic<ops::any>(m, "any");
  bind_logic<ops::all>(m, "all");
  bind_variance<ops::variance>(m, "var");
  bind_variance<ops::standard_deviation>(m, "std");
  bind_extremum(m, "max", BinaryOp::maximum, ops::amax, ArgOp::argmax);
  bind_extremum(m, "min", BinaryOp::minimum, ops::amin, ArgOp::argmin);
  for (const auto& [name, op] : {std::pair("argmax", ArgOp::argmax), std::pair("argmin", ArgOp::argmin)})
    define(
        m, name,
        [op = op](const Tensor& x, const std::optional<Index>& dim, bool keepdim) {
          return ops::arg_reduce(op, x, dim ? &*dim : nullptr, keepdim);
        },
        "input"_a, "dim"_a = py::none(), "keepdim"_a = false);
  define(
      m, "cumsum",
      [](const Tensor& x, Index dim, const std::optional<DType>& dtype) {
        return ops::cumsum(cast_first(x, dtype), dim);
      },
      "input"_a, "dim"_a, py::kw_only(), "dtype"_a = py::none());
  define(
      m, "cumprod",
      [](const Tensor& x, Index dim, const std::optional<DType>& dtype) {
        return ops::cumprod(cast_first(x, dtype), dim);
      },
      "input"_a, "dim"_a, py::kw_only(), "dtype"_a = py::none());
  define(
      m, "logsumexp",
      [](const Tensor& x, const Dims& dim, bool keepdim) { return ops::logsumexp(x, dim.dims, keepdim); }, "input"_a,
      "dim"_a, "keepdim"_a = false);
}

}  // namespace dd2424
