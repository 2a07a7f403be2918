#include "tensor/shape.h"

namespace dd2424 {

Index checked_numel(const char* op, const Shape& shape) {
  Index n = 1;
  for (Index size : shape) {
    check(size >= 0, op, ": shape must have no negative size, got ", shape);
    check(!__builtin_mul_overflow(n, size == 0 ? 1 : size, &n) && n < (Index{1} << 55), op,
          ": shape is too large, got ", shape);
  }
  return product(shape);
}

Shape contiguous_strides(const Shape& shape) {
  Shape strides = shape;
  Index stride = 1;
  for (int d = shape.size() - 1; d >= 0; --d) {
    strides[d] = stride;
    stride *= std::max<Index>(shape[d], 1);
  }
  return strides;
}

Shape broadcast_shapes(const char* op, const Shape& a, const Shape& b) {
  const Shape &longer = a.size() >= b.size() ? a : b, &shorter = a.size() >= b.size() ? b : a;
  Shape shape = longer;
  const int shift = longer.size() - shorter.size();
  for (int d = 0; d < shorter.size(); ++d) {
    const Index size = shorter[d];
    Index& target = shape[d + shift];
    if (target == 1) target = size;
    check(size == 1 || size == target, op, ": shapes must broadcast, got ", a, " and ", b);
  }
  return shape;
}

int normalize_dim(const char* op, Index dim, int ndim) {
  const int dims = std::max(ndim, 1);
  check<IndexError>(dim >= -dims && dim < dims, op, ": dim must be from ", -dims, " to ", dims - 1, ", got ", dim);
  return static_cast<int>(dim < 0 ? dim + dims : dim);
}

}  // namespace dd2424
