#include "ops/images.h"

#include "ops/copy.h"
#include "ops/shape.h"

namespace dd2424::ops {
namespace {

Shape channels_last_strides(const Shape& shape) {
  Shape strides = shape;
  Index step = shape[1];
  strides[1] = 1;
  for (int d = shape.size() - 1; d >= 2; --d) strides[d] = step, step *= shape[d];
  strides[0] = step;
  return strides;
}

}  // namespace

bool suggests_channels_last(const Tensor& x) {
  if (x.ndim() != 4 && x.ndim() != 5) return false;
  const Shape& strides = x.strides();
  if (strides[1] == 0) return false;
  Index least = 0;
  const auto grows = [&](int d) {
    if (x.size(d) == 0 || strides[d] < least) return false;
    least = x.size(d) > 1 ? strides[d] * x.size(d) : strides[d];
    return true;
  };
  if (!grows(1)) return false;
  for (int d = x.ndim() - 1; d >= 2; --d)
    if (!grows(d)) return false;
  return least != strides[1] && grows(0);  // one value an image could be either: it counts as channels first
}

bool is_channels_last(const Tensor& x) {
  const Shape dense = channels_last_strides(x.shape());
  for (int d = 0; d < x.ndim(); ++d)
    if (x.size(d) > 1 && x.strides()[d] != dense[d]) return false;
  return true;
}

Tensor empty_images(const Shape& shape, DType dtype, bool channels_last, Device device) {
  const Tensor y = empty(shape, dtype, device);
  return channels_last ? alias(y, shape, channels_last_strides(shape), 0) : y;
}

Tensor in_format(const Tensor& x, bool channels_last) {
  if (!channels_last) return contiguous(x);
  if (is_channels_last(x)) return x;
  Shape there{0}, back{0, x.ndim() - 1};
  for (int d = 2; d < x.ndim(); ++d) there.push_back(d), back.push_back(d - 1);
  there.push_back(1);
  return permute(contiguous(permute(x, there)), back);
}

}  // namespace dd2424::ops
