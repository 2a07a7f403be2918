#pragma once
#include "ops/common.h"

namespace dd2424::ops {

Tensor clone(const Tensor& x);  // dense, in x's memory order
Tensor clone_contiguous(const Tensor& x);
Tensor to(const Tensor& x, DType dtype);  // x itself where nothing changes
Tensor to(const Tensor& x, Device device);
Tensor& copy_(Tensor& self, const Tensor& x);
Tensor& fill_(Tensor& self, const Scalar& value);
Tensor detach(const Tensor& x);

// Without the tape and without checks.
void copy_into(const Tensor& y, const Tensor& x);  // converts and broadcasts
void fill_into(const Tensor& y, const Scalar& value);

// Creation.
Tensor full(const Shape& shape, const Scalar& value, DType dtype, Device device = Device::cpu);
Tensor zeros(const Shape& shape, DType dtype, Device device = Device::cpu);
Tensor full_like(const Tensor& x, const Scalar& value);
Tensor scalar_tensor(const Scalar& value, DType dtype, Device device = Device::cpu);
Tensor arange(const Scalar& start, const Scalar& end, const Scalar& step, DType dtype, Device device = Device::cpu);
Scalar item(const Tensor& x);  // of a tensor of one element

}  // namespace dd2424::ops
