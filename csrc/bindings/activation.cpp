#include "ops/activation.h"

#include "bindings/python.h"

namespace dd2424 {

using namespace py::literals;

void bind_activation(py::module_& m) {
  m.def(
      "glu", [](const Tensor& x, Index dim) { return ops::gated_halves("glu", Activation::sigmoid, x, dim, false); },
      "input"_a, "dim"_a = -1);
  // activation(input) * other, or of the halves of one tensor
  const auto gate = [&](const char* name, Activation activation) {
    m.def(
        name,
        [=](const Tensor& x, const Tensor& other, Index dim) {
          return other.defined() ? ops::gated(activation, x, other) : ops::gated_halves(name, activation, x, dim, true);
        },
        "input"_a, "other"_a = py::none(), "dim"_a = -1);
  };
  gate("swiglu", Activation::silu);
  gate("geglu", Activation::gelu);
  gate("geglu_tanh", Activation::gelu_tanh);
}

}  // namespace dd2424
