#include "ops/optim.h"

#include "bindings/python.h"
#include "ops/copy.h"

namespace dd2424 {

using namespace py::literals;

void bind_optim(py::module_& m) {
  m.def(
      "sgd_step",
      [](const Tensors& params, const Tensors& grads, py::list buffers, double lr, double momentum, double dampening,
         double weight_decay, bool nesterov, bool maximize) {
        Tensors moved;
        for (const py::handle buffer : buffers) moved.push_back(py::cast<Tensor>(buffer));
        ops::sgd_step(params, grads, moved, {lr, momentum, dampening, weight_decay, nesterov, maximize});
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
      "clip_grad_norm",
      [](const Tensors& grads, double max_norm) {
        const double norm = ops::clip_grad_norm(grads, max_norm);
        return ops::scalar_tensor(Scalar(norm), grads.empty() ? default_dtype() : grads[0].dtype());
      },
      "grads"_a, "max_norm"_a);
}

}  // namespace dd2424
