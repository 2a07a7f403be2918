#include "ops/norm.h"

#include "bindings/python.h"

namespace dd2424 {

using namespace py::literals;

void bind_norm(py::module_& m) {
  m.def(
      "batch_norm",
      [](const Tensor& x, const Tensor& running_mean, const Tensor& running_var, const Tensor& weight,
         const Tensor& bias, bool training, double momentum, double eps, bool relu, const Tensor& residual) {
        return ops::batch_norm(x, running_mean, running_var, weight, bias,
                               {.training = training, .momentum = momentum, .eps = eps, .relu = relu}, residual);
      },
      "input"_a, "running_mean"_a, "running_var"_a, "weight"_a = py::none(), "bias"_a = py::none(),
      "training"_a = false, "momentum"_a = 0.1, "eps"_a = 1e-5, "relu"_a = false, "residual"_a = py::none());
  m.def("layer_norm", &ops::layer_norm, "input"_a, "normalized_shape"_a, "weight"_a = py::none(), "bias"_a = py::none(),
        "eps"_a = 1e-5);
  m.def("group_norm", &ops::group_norm, "input"_a, "num_groups"_a, "weight"_a = py::none(), "bias"_a = py::none(),
        "eps"_a = 1e-5);
  m.def("local_response_norm", &ops::local_response_norm, "input"_a, "size"_a, "alpha"_a = 1e-4, "beta"_a = 0.75,
        "k"_a = 1.0);
  m.def("rms_norm", &ops::rms_norm, "input"_a, "normalized_shape"_a, "weight"_a = py::none(), "eps"_a = 1e-5);
  const auto both = [](const ops::NormAndSum& made) { return std::pair(made.norm, made.sum); };
  m.def(
      "add_layer_norm",
      [=](const Tensor& x, const Tensor& residual, const Shape& normalized_shape, const Tensor& weight,
          const Tensor& bias,
          double eps) { return both(ops::add_layer_norm(x, residual, normalized_shape, weight, bias, eps)); },
      "input"_a, "residual"_a, "normalized_shape"_a, "weight"_a = py::none(), "bias"_a = py::none(), "eps"_a = 1e-5);
  m.def(
      "add_rms_norm",
      [=](const Tensor& x, const Tensor& residual, const Shape& normalized_shape, const Tensor& weight, double eps) {
        return both(ops::add_rms_norm(x, residual, normalized_shape, weight, eps));
      },
      "input"_a, "residual"_a, "normalized_shape"_a, "weight"_a = py::none(), "eps"_a = 1e-5);
}

}  // namespace dd2424
