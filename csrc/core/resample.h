#pragma once
#include "core/types.h"

namespace dd2424 {

// Elements change places: y[i, j, ...] = x[from_0[i], from_1[j], ...], or `value` where any of these is -1. What takes
// part in no dimension that is moved is one block of `inner` elements. x and y are dense, in the same order.
struct Take {
  const void* x;
  void* y;
  const void* value;  // one element
  Index element_bytes, inner;
  int ndim;  // at least 1; the last varies fastest
  Index x_size[kMaxDims], y_size[kMaxDims];
  const Index* from[kMaxDims];  // (y_size): a place in x, or -1; null where nothing moves
};
struct TakeKernels {
  Status (*take)(const Context&, const Take&);
};

// A sparse matrix for each dimension of space, by rows; where there are fewer dimensions, the first are identities.
//   y[n, i, j, k, c] = sum over p, q, r of weight_0[i, p] * weight_1[j, q] * weight_2[k, r] * x[n, p, q, r, c]
// Interpolation, pads that repeat the image, and the gradients of both.
template <class T>
struct Separable {
  using Acc = Accumulator<T>;
  static constexpr int kSpace = 3;
  const T* x;           // (planes, *in, inner)
  T* y;                 // (planes, *out, inner)
  Index planes, inner;  // channels count in one or the other
  Index in[kSpace], out[kSpace];
  const Index* first[kSpace];  // (out + 1): row i has the terms first[i] to first[i + 1]
  const Index* index[kSpace];
  const Acc* weight[kSpace];
};

template <class T>
struct ResampleKernels {  // float, double, bfloat16
  Status (*separable)(const Context&, const Separable<T>&);
  std::size_t (*separable_workspace)(const Separable<T>&);  // bytes
};

}  // namespace dd2424
