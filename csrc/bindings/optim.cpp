#include "ops/optim.h"

#include "bindings/python.h"
#include "ops/copy.h"

namespace dd2424 {

using namespace py::literals;

namespace {

AdaptiveRule rule_named(const std::string& name) {
  constexpr std::string_view names[kAdaptiveRules]{"adam",    "nadam",   "radam",   "adamax",
                                                   "rmsprop", "adagrad", "adadelta"};
  for (int i = 0; i < kAdaptiveRules; ++i)
    if (name == names[i]) return static_cast<AdaptiveRule>(i);
  throw ValueError(message("adaptive_step: rule must be the name of one, got '", name, "'"));
}

// A number, or a tensor of one; if it is on a GPU, it is read there when the step runs.
ops::Rate rate(const char* op, const py::object& lr) {
  if (PyFloat_CheckExact(lr.ptr())) return {PyFloat_AS_DOUBLE(lr.ptr())};
  if (!is_tensor(lr.ptr())) return {py::cast<double>(lr)};
  const Tensor tensor = py::cast<Tensor>(lr);
  check<ValueError>(tensor.numel() == 1, op, ": lr must be a number, got a tensor of shape ", tensor.shape());
  const Tensor number = ops::to(ops::detach(tensor), DType::float64);
  if (number.device() == Device::cpu) return {*number.data<double>()};
  return {0, number};
}

}  // namespace

void bind_optim(py::module_& m) {
  m.def(
      "sgd_step",
      [](const Tensors& params, const Tensors& grads, py::list buffers, const py::object& lr, double momentum,
         double dampening, double weight_decay, bool nesterov, bool maximize) {
        Tensors moved;
        for (const py::handle buffer : buffers) moved.push_back(py::cast<Tensor>(buffer));
        ops::sgd_step(params, grads, moved, rate("sgd_step", lr),
                      {momentum, dampening, weight_decay, nesterov, maximize});
        if (momentum == 0) return;
        for (std::size_t i = 0; i < moved.size(); ++i) {
          if (i >= buffers.size()) {
            buffers.append(moved[i]);
          } else if (py::handle(buffers[i]).is_none()) {
            buffers[i] = moved[i];
          }
        }
      },
      "params"_a, "grads"_a, "momentum_buffers"_a, "lr"_a, "momentum"_a = 0.0, "dampening"_a = 0.0,
      "weight_decay"_a = 0.0, "nesterov"_a = false, "maximize"_a = false);
  m.def(
      "adaptive_step",
      [](const std::string& rule, const Tensors& params, const Tensors& grads, const std::vector<Tensors>& states,
         const Tensors& steps, const Tensors& products, const py::object& lr, double beta1, double beta2, double eps,
         double weight_decay, double momentum, double decay, bool decoupled, bool variant, bool maximize,
         const Tensor& blocks_done) {
        check<ValueError>(states.size() <= kAdaptiveStates, "adaptive_step: states must be at most ", kAdaptiveStates,
                          ", got ", states.size());
        std::array<Tensors, kAdaptiveStates> kinds;
        std::copy(states.begin(), states.end(), kinds.begin());
        ops::adaptive_step(rule_named(rule), params, grads, kinds, steps, products, rate("adaptive_step", lr),
                           {beta1, beta2, eps, weight_decay, momentum, decay, decoupled, variant, maximize},
                           blocks_done);
      },
      "rule"_a, "params"_a, "grads"_a, "states"_a, "steps"_a, "products"_a, "lr"_a, "beta1"_a = 0.0, "beta2"_a = 0.0,
      "eps"_a = 0.0, "weight_decay"_a = 0.0, "momentum"_a = 0.0, "decay"_a = 0.0, "decoupled"_a = false,
      "variant"_a = false, "maximize"_a = false, "blocks_done"_a = py::none());
  m.def(
      "check_scalable", [](const std::string& op, const Tensors& grads) { ops::check_scalable(op.c_str(), grads); },
      "op"_a, "grads"_a);
  m.def(
      "clip_grad_norm",
      [](const Tensors& grads, double max_norm) {
        return ops::to(ops::clip_grad_norm(grads, max_norm), grads.empty() ? default_dtype() : grads[0].dtype());
      },
      "grads"_a, "max_norm"_a);
}

}  // namespace dd2424
