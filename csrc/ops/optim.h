#pragma once
#include "core/optim.h"
#include "ops/common.h"

namespace dd2424::ops {

struct Rate {
  double value;
  Tensor tensor = Tensor();  // or undefined
};
struct SgdOptions {
  double momentum, dampening, weight_decay;
  bool nesterov, maximize;
};
// One step over all parameters; `lr` is a number, or stands in a tensor of one (float64, on the parameters' device),
// which is read when the step runs. With momentum, an undefined buffer is made and filled by its gradient.
void sgd_step(const Tensors& parameters, const Tensors& gradients, Tensors& buffers, const Rate& lr,
              const SgdOptions& options);
// One step of an adaptive rule over all parameters: states[s][i] is state s of parameter i, undefined where the rule
// keeps none. `steps` (float32) and nadam's `products` (float64) are numbers, one per parameter, that the step
// counts on. `blocks_done`: an int32 on the GPU, 0 and for nothing else, with which a step takes one launch; or
// undefined.
void adaptive_step(AdaptiveRule rule, const Tensors& parameters, const Tensors& gradients,
                   const std::array<Tensors, kAdaptiveStates>& states, const Tensors& steps, const Tensors& products,
                   const Rate& lr, const AdaptiveOptions& options, const Tensor& blocks_done = Tensor());
// Refuses gradients that can't be scaled in place, before any is.
void check_scalable(const char* op, const Tensors& gradients);
// Scales the gradients so that their norm, taken together, is at most max_norm; returns what it was, in float64 on
// their device. Nothing waits for a GPU.
Tensor clip_grad_norm(const Tensors& gradients, double max_norm);

}  // namespace dd2424::ops
