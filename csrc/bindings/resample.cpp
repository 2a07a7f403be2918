#include "ops/resample.h"

#include "bindings/python.h"
#include "ops/resample_axis.h"

namespace dd2424 {

using namespace py::literals;

void bind_resample(py::module_& m) {
  m.def("pad", &ops::pad, "input"_a, "pad"_a, "mode"_a = "constant", "value"_a = py::none());
  m.def("interpolate", &ops::interpolate, "input"_a, "size"_a, "scales"_a, "mode"_a, "align_corners"_a, "antialias"_a);
  m.def("pixel_shuffle", &ops::pixel_shuffle, "input"_a, "upscale_factor"_a);
  m.def("pixel_unshuffle", &ops::pixel_unshuffle, "input"_a, "downscale_factor"_a);
  m.def("channel_shuffle", &ops::channel_shuffle, "input"_a, "groups"_a);
  m.def(
      "unfold",
      [](const Tensor& x, const Shape& kernel, const Shape& dilation, const Shape& padding, const Shape& stride) {
        return ops::unfold_images(x, {.kernel = kernel, .dilation = dilation, .padding = padding, .stride = stride});
      },
      "input"_a, "kernel_size"_a, "dilation"_a, "padding"_a, "stride"_a);
  m.def(
      "fold",
      [](const Tensor& x, const Shape& size, const Shape& kernel, const Shape& dilation, const Shape& padding,
         const Shape& stride) {
        return ops::fold_images(x, size,
                                {.kernel = kernel, .dilation = dilation, .padding = padding, .stride = stride});
      },
      "input"_a, "output_size"_a, "kernel_size"_a, "dilation"_a, "padding"_a, "stride"_a);
  m.def("grid_sample", &ops::grid_sample, "input"_a, "grid"_a, "mode"_a, "padding_mode"_a, "align_corners"_a);
  m.def("forget_axes", &ops::forget_axes);
}

}  // namespace dd2424
