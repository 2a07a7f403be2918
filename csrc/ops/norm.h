#pragma once
#include "core/norm.h"
#include "ops/common.h"

namespace dd2424::ops {

struct BatchNormOptions {
  bool training = true;
  double momentum = 0.1, eps = 1e-5;
  bool relu = false;  // max(0, .) of the result, in the same pass
};
// x (N, C, *); the rest (C) or undefined. Training moves the running statistics towards the batch's.
Tensor batch_norm(const Tensor& x, const Tensor& running_mean, const Tensor& running_var, const Tensor& weight,
                  const Tensor& bias, const BatchNormOptions& options);

}  // namespace dd2424::ops
