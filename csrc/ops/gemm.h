#pragma once
#include "core/gemm.h"
#include "ops/common.h"

namespace dd2424::ops {

// Whether GPUs may round float32 to TF32 in what follows: for the whole process, off at first.
void set_matmul_tf32(bool allowed);
bool matmul_tf32_allowed();

// (..., m, k) by (..., k, n), batch dimensions broadcast; a vector counts as a row on the left, a column on the right.
Tensor matmul(const Tensor& a, const Tensor& b);
// c = a b, or c += a b: matrices of one dtype, c not overlapping the others. Unknown to the tape.
void product_into(const Tensor& c, const Tensor& a, const Tensor& b, bool adds);
// epilogue(x weight^T + bias): x (..., in), weight (out, in), bias (out) or undefined.
Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias, Activation activation = Activation::none);

}  // namespace dd2424::ops
