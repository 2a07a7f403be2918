#pragma once
#include "core/optim.h"
#include "ops/common.h"

namespace dd2424::ops {

struct SgdOptions {
  double lr, momentum, dampening, weight_decay;
  bool nesterov, maximize;
};
// One step over all parameters. With momentum, an undefined buffer is made and filled by its gradient.
void sgd_step(const Tensors& parameters, const Tensors& gradients, Tensors& buffers, const SgdOptions& options);
// Scales the gradients so that their norm, taken together, is at most max_norm; returns what it was.
double clip_grad_norm(const Tensors& gradients, double max_norm);

}  // namespace dd2424::ops
