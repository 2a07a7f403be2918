#include "ops/loss.h"

#include "bindings/python.h"
#include "ops/copy.h"

namespace dd2424 {
namespace {

using namespace py::literals;

constexpr std::int64_t kIgnoreIndex = -100;

dd2424::Reduction reduction_named(const char* op, const std::string& name) {
  if (name == "mean") return Reduction::mean;
  if (name == "sum") return Reduction::sum;
  check<ValueError>(name == "none", op, ": reduction must be 'none', 'mean' or 'sum', got '", name, "'");
  return Reduction::none;
}

}  // namespace

void bind_loss(py::module_& m) {
  for (const auto& [name, function] :
       {std::pair("softmax", &ops::softmax), std::pair("log_softmax", &ops::log_softmax)})
    define(
        m, name,
        [function = function](const Tensor& x, Index dim, const std::optional<DType>& dtype) {
          return function(dtype ? ops::to(x, *dtype) : x, dim);
        },
        "input"_a, "dim"_a, "dtype"_a = py::none());
  m.def(
      "cross_entropy",
      [](const Tensor& x, const Tensor& target, const Tensor& weight, std::int64_t ignore_index,
         const std::string& reduction, double smoothing) {
        return ops::cross_entropy(x, target, weight, ignore_index, reduction_named("cross_entropy", reduction),
                                  smoothing);
      },
      "input"_a, "target"_a, "weight"_a = py::none(), "ignore_index"_a = kIgnoreIndex, "reduction"_a = "mean",
      "label_smoothing"_a = 0.0);
  make_direct(m, "cross_entropy", [](const Tensor& x, const Tensor& target) {
    return ops::cross_entropy(x, target, Tensor(), kIgnoreIndex, Reduction::mean, 0.0);
  });
  m.def(
      "linear_cross_entropy",
      [](const Tensor& x, const Tensor& weight, const Tensor& target, const Tensor& bias, const Tensor& class_weight,
         std::int64_t ignore_index, const std::string& reduction, double smoothing) {
        return ops::linear_cross_entropy(x, weight, target, bias, class_weight, ignore_index,
                                         reduction_named("linear_cross_entropy", reduction), smoothing);
      },
      "input"_a, "linear_weight"_a, "target"_a, "linear_bias"_a, "weight"_a, "ignore_index"_a, "reduction"_a,
      "label_smoothing"_a);
}

}  // namespace dd2424
