#pragma once
#include "core/loss.h"
#include "ops/copy.h"

namespace dd2424::ops {

Tensor softmax(const Tensor& x, Index dim);
Tensor log_softmax(const Tensor& x, Index dim);
Tensor logsumexp(const Tensor& x, const Shape& dims, bool keepdim);
// x (N, C, *) or (C), target (N, *) or () of class numbers, weight (C) or undefined.
Tensor cross_entropy(const Tensor& x, const Tensor& target, const Tensor& weight, std::int64_t ignore_index,
                     Reduction reduction, double smoothing);
// cross_entropy(linear(x, weight, bias), target, class_weight, ...), without the scores of more than some rows at a
// time. x (N, D), weight (C, D), bias (C) or undefined.
Tensor linear_cross_entropy(const Tensor& x, const Tensor& weight, const Tensor& target, const Tensor& bias,
                            const Tensor& class_weight, std::int64_t ignore_index, Reduction reduction,
                            double smoothing);
// Scores (N, C, *): a target (N, *) of int64, contiguous, and a weight for each class. The numbers are checked before
// a kernel is called, or by a GPU's kernels, which have reported to `outside`; to hear of it waits for them.
void check_targets(const char* op, const Shape& scores, const Tensor& target, const Tensor& weight,
                   std::int64_t ignore_index);
void check_on_gpu(const char* op, Answer<bool>& outside, Index classes, const Tensor& target,
                  std::int64_t ignore_index);

}  // namespace dd2424::ops
