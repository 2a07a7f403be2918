#pragma once
#include "core/types.h"

namespace dd2424 {

// One step over all parameters of a group. Scalars that change from step to step are read through pointers.
template <class T>
struct SgdParameter {
  T* parameter;
  const T* gradient;
  T* momentum;  // null without momentum
  Index n;
  bool first;  // the momentum buffer is not filled yet: it becomes the gradient
};
// g = gradient (negated by maximize) + weight_decay * parameter
// b = momentum * b + (1 - dampening) * g;  g = nesterov ? g + momentum * b : b;  parameter -= lr * g
template <class T>
struct Sgd {
  const SgdParameter<T>* parameters;
  Index count;
  const double* lr;
  double momentum, dampening, weight_decay;
  bool nesterov, maximize;
};
// norms[i] = sum of squares of gradient i; scale all by min(1, max_norm / (norm + 1e-6)).
template <class T>
struct ClipNorm {
  T* const* gradients;
  const Index* sizes;
  Index count;
  double max_norm;
  double* norm;  // out: the norm over all
};

template <class T>
struct OptimKernels {  // float, double
  Status (*sgd)(const Context&, const Sgd<T>&);
  Status (*clip_norm)(const Context&, const ClipNorm<T>&);
};

}  // namespace dd2424
