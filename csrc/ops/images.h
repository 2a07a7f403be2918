#pragma once
#include "ops/common.h"

// Batches of images, (N, C, *): which of two ways they lie in memory.
namespace dd2424::ops {

// PyTorch's rule for what the result of an operation on x is laid out like; only 2-d and 3-d images have a choice.
bool suggests_channels_last(const Tensor& x);
// Dense, with a pixel's channels side by side.
bool is_channels_last(const Tensor& x);
Tensor empty_images(const Shape& shape, DType dtype, bool channels_last, Device device = Device::cpu);
// x itself where it is dense this way, else a copy that is.
Tensor in_format(const Tensor& x, bool channels_last);

}  // namespace dd2424::ops
