#pragma once
#include "core/types.h"

namespace dd2424 {

// Elements change places: y[i, j, ...] = x[from_0(i) + from_1(j) + ...], or `value` where any of these is -1. They are
// blocks of `inner` elements side by side; y is dense.
struct Take {
  const void* x;
  void* y;
  const void* value;  // one element
  Index element_bytes, inner;
  int ndim;  // at least 1; the last varies fastest
  Index y_size[kMaxDims];
  Index x_stride[kMaxDims];     // in elements; from_d(i) = i * x_stride,
  const Index* from[kMaxDims];  // or from[i] * x_stride or -1 where it is not null (y_size), in the device's memory
};
struct TakeKernels {
  Status (*take)(const Context&, const Take&);
};

// A sparse matrix for each dimension of space, by rows, in the device's memory; where there are fewer dimensions, the
// first are identities.
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

// Patches of an image as columns: columns[n, c, p, q, i, j] is x[n, c, i * stride + p * dilation - padding, likewise],
// 0 outside of it. And the adjoint: every pixel is the sum of its copies.
template <class T>
struct Patches {
  static constexpr int kSpace = 2;
  T* x;        // (planes, *image); a plane is a channel of an image
  T* columns;  // (planes, *kernel, *out)
  Index planes;
  Index image[kSpace], kernel[kSpace], out[kSpace];
  Index stride[kSpace], dilation[kSpace], padding[kSpace];
};

enum class GridPadding : std::uint8_t { zeros, border, reflection };
enum class GridKernel : std::uint8_t { nearest, linear, cubic };
// Images at the places that a grid names. Along dimension d, pixels are weighted by the kernel's derivative of order
// `order[d]` by the grid's coordinate; 0 is the kernel itself. Coordinates of the grid: the last dimension of x first.
struct GridSizes {
  static constexpr int kSpace = 3;
  int space;  // 2 or 3; of the arrays below, the last `space` numbers are meant
  Index batch, channels;
  Index image[kSpace], out[kSpace];
  int order[kSpace];
  GridKernel kernel;
  GridPadding padding;
  bool align_corners;  // -1 and 1 are the centres of the border's pixels, not their outer sides
};
template <class T>
struct GridSample {
  GridSizes sizes;
  const T* x;     // (batch, channels, *image)
  const T* grid;  // (batch, *out, space)
  T* y;           // (batch, channels, *out)
};
template <class T>
struct GridScatter {  // the adjoint by x
  GridSizes sizes;
  const T* dy;
  const T* grid;
  T* dx;
};
template <class T>
struct GridGradient {  // the gradient of sum(y * dy) by the grid
  GridSizes sizes;
  const T* x;
  const T* dy;
  const T* grid;
  T* dgrid;
};

template <class T>
struct ResampleKernels {  // float, double, bfloat16, float16
  Status (*separable)(const Context&, const Separable<T>&);
  std::size_t (*separable_workspace)(const Separable<T>&);  // bytes
  Status (*unfold)(const Context&, const Patches<T>&);
  Status (*fold)(const Context&, const Patches<T>&);
  Status (*grid_sample)(const Context&, const GridSample<T>&);
  Status (*grid_scatter)(const Context&, const GridScatter<T>&);
  std::size_t (*grid_scatter_workspace)(const GridSizes&);  // bytes
  Status (*grid_gradient)(const Context&, const GridGradient<T>&);
};

}  // namespace dd2424
