#pragma once
#include "ops/common.h"

namespace dd2424::ops {

Tensor clone(const Tensor& x);  // dense, in x's memory order
Tensor clone_contiguous(const Tensor& x);
Tensor to(const Tensor& x, DType dtype);  // x itself where nothing changes
// non_blocking: the host does not wait where its side is pinned; what lands there is.
Tensor to(const Tensor& x, Device device, bool non_blocking = false);
Tensor& copy_(Tensor& self, const Tensor& x, bool non_blocking = false);
bool is_pinned(const Tensor& x);
Tensor pin_memory(const Tensor& x);  // x itself where it is
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

// What a kernel tells the host: numbers in the memory of its device, 0 to begin with. To read them waits for a GPU;
// while a graph is captured, nothing has run yet and they are 0.
template <class T, int count = 1>
class Answer {
 public:
  explicit Answer(Device device) {
    if (device != Device::cpu) there_ = zeros({static_cast<Index>(sizeof here_)}, DType::uint8, device);
  }
  T* data() const { return there_.defined() ? there_.data<T>() : const_cast<T*>(here_); }
  const T* read() {
    if (there_.defined() && !is_capturing())
      copy_bytes(Device::cpu, here_, there_.device(), there_->data, sizeof here_);
    return here_;
  }

 private:
  T here_[count] = {};
  Tensor there_;
};

}  // namespace dd2424::ops
