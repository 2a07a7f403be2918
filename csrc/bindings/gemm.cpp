#include "ops/gemm.h"

#include "bindings/python.h"
#include "ops/copy.h"
#include "ops/elementwise.h"

namespace dd2424 {
namespace {

using namespace py::literals;

void check_dims(const char* op, const char* argument, const Tensor& t, int ndim) {
  check(t.ndim() == ndim, op, ": ", argument, " must have ", ndim, ndim == 1 ? " dimension" : " dimensions",
        ", got shape ", t.shape());
}

Activation activation(const std::string& name) {
  for (const auto& [known, value] :
       {std::pair("none", Activation::none), std::pair("relu", Activation::relu), std::pair("gelu", Activation::gelu),
        std::pair("tanh", Activation::tanh), std::pair("sigmoid", Activation::sigmoid),
        std::pair("gelu_tanh", Activation::gelu_tanh), std::pair("silu", Activation::silu)})
    if (name == known) return value;
  throw ValueError(
      message("linear: activation must be none, relu, gelu, gelu_tanh, silu, tanh or sigmoid, got '", name, "'"));
}

// beta * input + alpha * a b
Tensor add_product(const Tensor& input, const Tensor& a, const Tensor& b, double beta, double alpha) {
  const Tensor product = ops::matmul(a, b);
  const Tensor scaled = alpha == 1 ? product : ops::mul(product, alpha);
  if (beta == 0) return scaled;
  return ops::add(beta == 1 ? input : ops::mul(input, beta), scaled);
}

}  // namespace

void bind_gemm(py::module_& m) {
  m.def("set_matmul_tf32", &ops::set_matmul_tf32, "allowed"_a);
  m.def("matmul_tf32_allowed", &ops::matmul_tf32_allowed);
  define(m, "matmul", &ops::matmul, "input"_a, "other"_a);
  const auto checked = [&](const char* name, const char* first, const char* second, int a_dims, int b_dims) {
    define(
        m, name,
        [=](const Tensor& a, const Tensor& b) {
          check_dims(name, first, a, a_dims);
          check_dims(name, second, b, b_dims);
          check(a_dims < 3 || a.size(0) == b.size(0), name, ": ", second, " must have the batch size ", a.size(0),
                " of ", first, ", got ", b.size(0));
          return ops::matmul(a, b);
        },
        py::arg(first), py::arg(second));
  };
  checked("mm", "input", "mat2", 2, 2);
  checked("bmm", "input", "mat2", 3, 3);
  checked("mv", "input", "vec", 2, 1);
  checked("dot", "input", "tensor", 1, 1);
  checked("inner", "input", "other", 1, 1);
  define(m, "addmm", &add_product, "input"_a, "mat1"_a, "mat2"_a, py::kw_only(), "beta"_a = 1.0, "alpha"_a = 1.0);
  define(m, "addmv", &add_product, "input"_a, "mat"_a, "vec"_a, py::kw_only(), "beta"_a = 1.0, "alpha"_a = 1.0);
  define(m, "baddbmm", &add_product, "input"_a, "batch1"_a, "batch2"_a, py::kw_only(), "beta"_a = 1.0, "alpha"_a = 1.0);
  m.def(
      "linear",
      [](const Tensor& x, const Tensor& weight, const Tensor& bias, const std::string& name) {
        return ops::linear(x, weight, bias, name == "none" ? Activation::none : activation(name));
      },
      "input"_a, "weight"_a, "bias"_a = py::none(), "activation"_a = "none");
}

}  // namespace dd2424
