#include "ops/pool.h"

#include "bindings/python.h"

namespace dd2424 {

using namespace py::literals;

void bind_pool(py::module_& m) {
  m.def(
      "max_pool",
      [](int space, const Tensor& x, const Dims& kernel, const Dims& stride, const Dims& padding, const Dims& dilation,
         bool ceil_mode) {
        return ops::max_pool(space, x, {kernel.dims, stride.dims, padding.dims, dilation.dims, ceil_mode}, false).first;
      },
      "space"_a, "input"_a, "kernel_size"_a, "stride"_a, "padding"_a, "dilation"_a, "ceil_mode"_a);
  m.def(
      "max_pool_with_indices",
      [](int space, const Tensor& x, const Dims& kernel, const Dims& stride, const Dims& padding, const Dims& dilation,
         bool ceil_mode) {
        return ops::max_pool(space, x, {kernel.dims, stride.dims, padding.dims, dilation.dims, ceil_mode}, true);
      },
      "space"_a, "input"_a, "kernel_size"_a, "stride"_a, "padding"_a, "dilation"_a, "ceil_mode"_a);
  m.def(
      "adaptive_max_pool",
      [](int space, const Tensor& x, const Shape& output_size) {
        return ops::adaptive_max_pool(space, x, output_size, true);
      },
      "space"_a, "input"_a, "output_size"_a);
  m.def(
      "avg_pool",
      [](int space, const Tensor& x, const Dims& kernel, const Dims& stride, const Dims& padding, bool ceil_mode,
         bool count_include_pad, std::optional<Index> divisor_override) {
        check(!divisor_override || *divisor_override != 0, "avg_pool", space, "d: divisor_override must not be 0");
        return ops::average_pool(space, x, {kernel.dims, stride.dims, padding.dims, {1}, ceil_mode}, count_include_pad,
                                 divisor_override.value_or(0));
      },
      "space"_a, "input"_a, "kernel_size"_a, "stride"_a, "padding"_a, "ceil_mode"_a, "count_include_pad"_a,
      "divisor_override"_a);
  m.def("adaptive_avg_pool", &ops::adaptive_average_pool, "space"_a, "input"_a, "output_size"_a);
  m.def("max_unpool", &ops::max_unpool, "space"_a, "input"_a, "indices"_a, "output_size"_a);
}

}  // namespace dd2424
