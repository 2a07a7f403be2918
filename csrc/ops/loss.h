#pragma once
#include "core/loss.h"
#include "ops/common.h"

namespace dd2424::ops {

Tensor softmax(const Tensor& x, Index dim);
Tensor log_softmax(const Tensor& x, Index dim);
Tensor logsumexp(const Tensor& x, const Shape& dims, bool keepdim);
// x (N, C, *) or (C), target (N, *) or () of class numbers, weight (C) or undefined.
Tensor cross_entropy(const Tensor& x, const Tensor& target, const Tensor& weight, std::int64_t ignore_index,
                     Reduction reduction, double smoothing);

}  // namespace dd2424::ops
