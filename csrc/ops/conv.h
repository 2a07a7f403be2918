#pragma once
#include "core/conv.h"
#include "ops/common.h"

namespace dd2424::ops {

// One number per dimension of space in each.
struct ConvOptions {
  Shape stride, padding, padding_after, dilation, output_padding;
  Index groups = 1;
  bool transposed = false;
  bool relu = false;  // max(0, .) of the result, in the same pass
};
// x (N, C, *) or (C, *), weight (O, C / groups, *) or, transposed, (C, O / groups, *), bias (O) or undefined.
Tensor convolution(const Tensor& x, const Tensor& weight, const Tensor& bias, const ConvOptions& options);

void set_winograd(bool allowed);  // for the whole process; on at first
bool winograd_allowed();
void set_conv_tf32(bool allowed);  // whether GPUs may round float32 to TF32; off at first
bool conv_tf32_allowed();

}  // namespace dd2424::ops
