#include "ops/sort.h"

#include "bindings/python.h"

namespace dd2424 {

using namespace py::literals;

// Pairs: Python gives them their names.
void bind_sort(py::module_& m) {
  m.def("sort", &ops::sort, "input"_a, "dim"_a, "descending"_a);
  m.def("topk", &ops::topk, "input"_a, "k"_a, "dim"_a, "largest"_a);
  m.def("kthvalue", &ops::kthvalue, "input"_a, "k"_a, "dim"_a, "keepdim"_a);
  m.def(
      "median",
      [](const Tensor& x, Index dim, bool keepdim) { return ops::median("median", Rank::median, x, dim, keepdim); },
      "input"_a, "dim"_a, "keepdim"_a);
  m.def(
      "nanmedian",
      [](const Tensor& x, Index dim, bool keepdim) {
        return ops::median("nanmedian", Rank::nanmedian, x, dim, keepdim);
      },
      "input"_a, "dim"_a, "keepdim"_a);
  m.def(
      "cummax", [](const Tensor& x, Index dim) { return ops::running_extreme("cummax", true, x, dim); }, "input"_a,
      "dim"_a);
  m.def(
      "cummin", [](const Tensor& x, Index dim) { return ops::running_extreme("cummin", false, x, dim); }, "input"_a,
      "dim"_a);
  m.def("searchsorted", &ops::searchsorted, "sorted_sequence"_a, "input"_a, "right"_a);
}

}  // namespace dd2424
