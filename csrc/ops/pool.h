#pragma once
#include <string>
#include <utility>

#include "core/pool.h"
#include "ops/common.h"

// Over the last `space` dimensions of x, (N, C, *) or (C, *).
namespace dd2424::ops {

// One number per dimension of space in each, or one for all. No stride: that of the kernel.
struct PoolOptions {
  Shape kernel, stride, padding, dilation;
  bool ceil_mode = false;  // a last window may reach over the end
};
// The greatest elements and, if wanted, int64 positions of theirs in the image.
std::pair<Tensor, Tensor> max_pool(int space, const Tensor& x, const PoolOptions& options, bool wants_index);
std::pair<Tensor, Tensor> adaptive_max_pool(int space, const Tensor& x, const Shape& output_size, bool wants_index);
// divisor 0: the number of elements in the window, with those of the padding or without.
Tensor average_pool(int space, const Tensor& x, const PoolOptions& options, bool counts_padding, Index divisor);
Tensor adaptive_average_pool(int space, const Tensor& x, const Shape& output_size);
// Zero but for x, which stands where index says; output_size in all dimensions of space.
Tensor max_unpool(int space, const Tensor& x, const Tensor& index, const Shape& output_size);

namespace pool {  // what was asked, checked: the geometry of a call

struct Geometry {
  std::string op;
  PoolSizes sizes;  // without planes and channels
  int space;
};
Geometry windows(const std::string& op, int space, const Tensor& x, const PoolOptions& options);
Geometry adaptive(const std::string& op, int space, const Tensor& x, const Shape& output_size);
std::string name(const char* kind, int space);
Tensor batched(const std::string& op, int space, const Tensor& x);  // with a batch of one, where there is none

}  // namespace pool
}  // namespace dd2424::ops
