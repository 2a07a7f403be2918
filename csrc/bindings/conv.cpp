#include "ops/conv.h"

#include "bindings/python.h"

namespace dd2424 {

using namespace py::literals;

void bind_conv(py::module_& m) {
  m.def(
      "convolution",
      [](const Tensor& x, const Tensor& weight, const Tensor& bias, const Shape& stride, const Shape& padding,
         const Shape& padding_after, const Shape& dilation, Index groups, bool relu) {
        return ops::convolution(x, weight, bias,
                                {.stride = stride,
                                 .padding = padding,
                                 .padding_after = padding_after,
                                 .dilation = dilation,
                                 .groups = groups,
                                 .relu = relu});
      },
      "input"_a, "weight"_a, "bias"_a, "stride"_a, "padding"_a, "padding_after"_a, "dilation"_a, "groups"_a, "relu"_a);
  m.def(
      "convolution_transposed",
      [](const Tensor& x, const Tensor& weight, const Tensor& bias, const Shape& stride, const Shape& padding,
         const Shape& output_padding, const Shape& dilation, Index groups, bool relu) {
        return ops::convolution(x, weight, bias,
                                {.stride = stride,
                                 .padding = padding,
                                 .padding_after = padding,
                                 .dilation = dilation,
                                 .output_padding = output_padding,
                                 .groups = groups,
                                 .transposed = true,
                                 .relu = relu});
      },
      "input"_a, "weight"_a, "bias"_a, "stride"_a, "padding"_a, "output_padding"_a, "dilation"_a, "groups"_a, "relu"_a);
  m.def("set_winograd", &ops::set_winograd, "enabled"_a);
  m.def("winograd_enabled", &ops::winograd_allowed);
  m.def("set_conv_tf32", &ops::set_conv_tf32, "allowed"_a);
  m.def("conv_tf32_allowed", &ops::conv_tf32_allowed);
}

}  // namespace dd2424
