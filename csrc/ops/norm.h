#pragma once
#include "core/norm.h"
#include "ops/common.h"

namespace dd2424::ops {

struct BatchNormOptions {
  bool training = true;
  double momentum = 0.1, eps = 1e-5;
  bool relu = false;  // max(0, .) of the result, in the same pass
};
// x (N, C, *), and so `residual`, which is added before the ReLU; the rest (C) or undefined. Training moves the running
// statistics towards the batch's.
Tensor batch_norm(const Tensor& x, const Tensor& running_mean, const Tensor& running_var, const Tensor& weight,
                  const Tensor& bias, const BatchNormOptions& options, const Tensor& residual = Tensor());

// Over the last dimensions of x, which are normalized_shape; weight and bias have that shape or are undefined.
Tensor layer_norm(const Tensor& x, const Shape& normalized_shape, const Tensor& weight, const Tensor& bias, double eps);
Tensor rms_norm(const Tensor& x, const Shape& normalized_shape, const Tensor& weight, double eps);
// The same of x + residual, and that sum, in one kernel each way.
struct NormAndSum {
  Tensor norm, sum;
};
NormAndSum add_layer_norm(const Tensor& x, const Tensor& residual, const Shape& normalized_shape, const Tensor& weight,
                          const Tensor& bias, double eps);
NormAndSum add_rms_norm(const Tensor& x, const Tensor& residual, const Shape& normalized_shape, const Tensor& weight,
                        double eps);

// x (N, C, *), each item normalised over `groups` groups of neighbouring channels and all positions; weight and bias
// (C) or undefined.
Tensor group_norm(const Tensor& x, Index groups, const Tensor& weight, const Tensor& bias, double eps);

// x / (k + alpha * mean of x^2 over `size` neighbouring channels)^beta, zeros standing beyond the edges.
Tensor local_response_norm(const Tensor& x, Index size, double alpha, double beta, double k);

}  // namespace dd2424::ops
