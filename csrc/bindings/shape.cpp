#include "ops/shape.h"

#include "bindings/python.h"
#include "ops/copy.h"
#include "ops/index.h"

namespace dd2424 {
namespace {

using namespace py::literals;

// split(x, 3): pieces of 3, the last shorter; split(x, [1, 2]): these sizes.
Tensors split(const Tensor& x, const py::object& sizes, Index dim) {
  const int d = normalize_dim("split", dim, x.ndim());
  const Index total = x.ndim() ? x.size(d) : 0;
  std::vector<Index> list;
  if (!PyLong_Check(sizes.ptr())) return ops::split(x, py::cast<std::vector<Index>>(sizes), d);
  const auto size = py::cast<Index>(sizes);
  check(size > 0 || total == 0, "split: split_size must be positive, got ", size);
  for (Index start = 0; start < total || list.empty(); start += size) list.push_back(std::min(size, total - start));
  return ops::split(x, list, d);
}
Tensors chunk(const Tensor& x, Index chunks, Index dim) {
  check(chunks > 0, "chunk: chunks must be positive, got ", chunks);
  const int d = normalize_dim("chunk", dim, x.ndim());
  check(x.ndim() > 0, "chunk: input must have a dimension, got one without");
  if (x.size(d) == 0) return ops::split(x, std::vector<Index>(static_cast<std::size_t>(chunks), 0), d);
  return split(x, py::int_((x.size(d) - 1) / chunks + 1), d);
}

Tensor as_strided(const Tensor& x, const Shape& size, const Shape& stride, const std::optional<Index>& offset) {
  return ops::as_strided(x, size, stride, offset.value_or(x.offset()));
}
Tensor squeeze(const Tensor& x, const Dims& dim) { return dim.given ? ops::squeeze(x, dim.dims) : ops::squeeze(x); }

Tensor transpose_matrix(const Tensor& x) {
  check(x.ndim() <= 2, "t: input must have at most 2 dimensions, got ", x.ndim());
  return x.ndim() == 2 ? ops::transpose(x, 0, 1) : ops::view(x, x.shape());
}

// Methods that change how a tensor reads its memory; what has its elements in it stays as it is.
template <class... Args, class View, class... Extra>
void define_in_place(const char* name, View view, const Extra&... extra) {
  define_method(
      name,
      [=](const Tensor& x, const Args&... args) {
        ops::become_view(name, x, [&](const Tensor& self) { return view(self, args...); });
        return x;
      },
      extra...);
}

void bind_in_place() {
  define_in_place<Dims>("squeeze_", squeeze, "dim"_a = py::none());
  define_in_place<Index>("unsqueeze_", ops::unsqueeze, "dim"_a);
  define_in_place("t_", transpose_matrix);
  define_in_place<Index, Index>("transpose_", ops::transpose, "dim0"_a, "dim1"_a);
  for (const char* name : {"swapaxes_", "swapdims_"})
    define_in_place<Index, Index>(name, ops::transpose, "axis0"_a, "axis1"_a);
  define_in_place<Shape, Shape, std::optional<Index>>("as_strided_", as_strided, "size"_a, "stride"_a,
                                                      "storage_offset"_a = py::none());
}

}  // namespace

void bind_shape(py::module_& m) {
  m.def("reshape", &ops::reshape, "input"_a, "shape"_a);
  m.def("permute", &ops::permute, "input"_a, "dims"_a);
  define(m, "transpose", &ops::transpose, "input"_a, "dim0"_a, "dim1"_a);
  for (const char* name : {"swapaxes", "swapdims"}) define(m, name, &ops::transpose, "input"_a, "axis0"_a, "axis1"_a);
  define(m, "squeeze", &squeeze, "input"_a, "dim"_a = py::none());
  define(m, "unsqueeze", &ops::unsqueeze, "input"_a, "dim"_a);
  define(m, "flatten", &ops::flatten, "input"_a, "start_dim"_a = 0, "end_dim"_a = -1);
  define(m, "select", &ops::select, "input"_a, "dim"_a, "index"_a);
  define(m, "narrow", &ops::narrow, "input"_a, "dim"_a, "start"_a, "length"_a);
  define(m, "diagonal", &ops::diagonal, "input"_a, "offset"_a = 0, "dim1"_a = 0, "dim2"_a = 1);
  define(m, "as_strided", &as_strided, "input"_a, "size"_a, "stride"_a, "storage_offset"_a = py::none());
  define_method("unfold", &ops::unfold, "dimension"_a, "size"_a, "step"_a);
  define(m, "unbind", &ops::unbind, "input"_a, "dim"_a = 0);
  m.def("split", &split, "tensor"_a, "split_size_or_sections"_a, "dim"_a = 0);
  define_method("split", &split, "split_size"_a, "dim"_a = 0);
  define(m, "chunk", &chunk, "input"_a, "chunks"_a, "dim"_a = 0);
  for (const char* name : {"cat", "concat", "concatenate"}) m.def(name, &ops::cat, "tensors"_a, "dim"_a = 0);
  m.def("stack", &ops::stack, "tensors"_a, "dim"_a = 0);
  m.def("broadcast_to", &ops::expand, "input"_a, "size"_a);
  define_method("broadcast_to", &ops::expand, "size"_a);
  define_method(
      "expand_as", [](const Tensor& x, const Tensor& other) { return ops::expand(x, other.shape()); }, "other"_a);
  define_method("view_as", [](const Tensor& x, const Tensor& other) { return ops::view(x, other.shape()); }, "other"_a);
  define_method(
      "reshape_as", [](const Tensor& x, const Tensor& other) { return ops::reshape(x, other.shape()); }, "other"_a);
  define(m, "flip", [](const Tensor& x, const Shape& dims) { return ops::flip(x, dims); }, "input"_a, "dims"_a);
  bind_in_place();
}

}  // namespace dd2424
