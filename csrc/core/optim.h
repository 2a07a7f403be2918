#pragma once
#include "core/types.h"

namespace dd2424 {

// One step over all parameters of a group. The lists of parameters are the host's; what they point to, and numbers read
// through a pointer, are memory of the parameters' device.

// A number that may change from step to step: what stands `at` when the step runs, so that a captured one stays right,
// or where that is null, `value`.
struct StepNumber {
  double value;
  const double* at = nullptr;
};

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
  StepNumber lr;
  double momentum, dampening, weight_decay;
  bool nesterov, maximize;
};

// Rules that scale each element's step by the gradients it has seen. What they do, and what state they keep, stands at
// each rule in cpu/optim_adaptive.h.
enum class AdaptiveRule : std::uint8_t { adam, nadam, radam, adamax, rmsprop, adagrad, adadelta };
constexpr int kAdaptiveRules = 7;
constexpr int kAdaptiveStates = 3;

template <class T>
struct AdaptiveParameter {
  T* parameter;
  const T* gradient;
  T* state[kAdaptiveStates];  // of n elements each, as the rule names them; null where it has fewer
  float* steps;               // (1): how many steps were made, counted up here
  double* product;            // (1): nadam's product of momenta so far, else null
  Index n;
};
struct AdaptiveOptions {
  double beta1, beta2;  // of the gradient's mean and of its square's: rmsprop's alpha, adadelta's rho are beta2
  double eps, weight_decay;
  double momentum;  // rmsprop: of the scaled gradients
  double decay;     // nadam: momentum_decay; adagrad: lr_decay
  bool decoupled;   // weight_decay shrinks the parameter in place of being added to the gradient
  bool variant;     // adam: amsgrad; rmsprop: centered
  bool maximize;
};
template <class T>
struct Adaptive {
  const AdaptiveParameter<T>* parameters;
  Index count;
  StepNumber lr;
  AdaptiveRule rule;
  AdaptiveOptions options;
  std::uint32_t* blocks_done = nullptr;  // on a GPU: 0 before and after; null: the step counts in a launch of its own
};

// The norm of all gradients, taken together, and all scaled by min(1, max_norm / (norm + 1e-6)).
template <class T>
struct ClipNorm {
  T* const* gradients;
  const Index* sizes;
  Index count;
  double max_norm;
  double* norm;  // out
};

template <class T>
struct OptimKernels {  // float, double, bfloat16, float16
  Status (*sgd)(const Context&, const Sgd<T>&);
  Status (*adaptive)(const Context&, const Adaptive<T>&);
  Status (*clip_norm)(const Context&, const ClipNorm<T>&);  // null for short types
  std::size_t (*clip_norm_workspace)(const ClipNorm<T>&);   // bytes
};

}  // namespace dd2424
