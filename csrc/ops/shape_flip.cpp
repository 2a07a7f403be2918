#include <array>
#include <utility>

#include "ops/common.h"
#include "ops/copy.h"
#include "ops/shape.h"

namespace dd2424::ops {
namespace {

struct FlipNode final : Node {
  Shape dims;
  explicit FlipNode(const Shape& dims) : dims(dims) {}
  const char* name() const override { return "flip"; }
  Tensors backward(const Tensors& grads, const Needs&) override { return {flip(grads[0], dims)}; }
};

}  // namespace

Tensor flip(const Tensor& x, const Shape& dims) {
  Shape strides = x.strides();
  Index offset = x.offset();
  std::array<bool, kMaxDims> seen{};
  for (Index dim : dims) {
    const int d = normalize_dim("flip", dim, x.ndim());
    check(!std::exchange(seen[d], true), "flip: dims must name each dimension once, got ", dims);
    if (x.numel() == 0 || x.ndim() == 0) continue;
    offset += (x.size(d) - 1) * strides[d];
    strides[d] = -strides[d];
  }
  const Tensor y = empty_like(x);
  copy_into(y, alias(x, x.shape(), strides, offset));  // read backwards
  record<FlipNode>(y, {&x}, dims);
  return y;
}

}  // namespace dd2424::ops
