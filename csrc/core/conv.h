#pragma once
#include "core/ladder.h"
#include "core/types.h"

namespace dd2424 {

// How a batch of images, or the weights, lie in memory: (N, C, D, H, W) or (N, D, H, W, C), contiguous.
enum class Format : std::uint8_t { channels_first, channels_last };

// A convolution over depth, height and width; where there are fewer, the first are 1.
//   y[n, o, p] = bias[o] + sum over c, q of weight[o, c, q] * x[n, c, p * stride + q * dilation - padding]
// c runs over the inputs of o's group; x is 0 outside of the image.
struct ConvSizes {
  static constexpr int kSpace = 3;
  Index batch, groups;
  Index inputs, outputs;  // channels, of all groups
  Index image[kSpace];    // of x
  Index kernel[kSpace];
  Index out[kSpace];  // of y
  Index stride[kSpace], dilation[kSpace];
  Index padding[kSpace];  // in front; what lies behind follows from out
  Format x_format, weight_format, y_format;
  // A quarter of the multiplications of 3x3 filters in float32, 36 % of those of 5x5, 56 % of those of 3x3 and 27 % of
  // those of 7x7 with stride 2. Errors are below 3.5e-6 of the largest result, some 6 times those of a plain sum, and
  // what is not finite spreads over its tile of 4x4 to 2x2.
  bool allows_winograd = true;
  bool allows_tf32 = false;  // of float: a GPU may round what it multiplies to 10 bits of mantissa
};

template <class T>
struct ConvForward {
  using Acc = Accumulator<T>;
  ConvSizes sizes;
  const T* x;       // (batch, inputs, *image) in x_format
  const T* weight;  // (outputs, inputs / groups, *kernel) in weight_format
  const Acc* bias;  // (outputs), or null
  T* y;             // (batch, outputs, *out) in y_format
  bool relu;        // max(0, .) of the result
};
// The gradient by x. It is also the transposed convolution's own result, whence bias and relu.
template <class T>
struct ConvInput {
  using Acc = Accumulator<T>;
  ConvSizes sizes;
  const T* dy;
  const T* weight;
  const Acc* bias;  // (inputs), or null
  T* dx;
  bool relu;
};
template <class T>
struct ConvWeight {
  ConvSizes sizes;
  const T* x;
  const T* dy;
  T* dweight;
};

template <class T>
struct ConvKernels {  // float, double, bfloat16, float16
  Status (*conv_forward)(const Context&, const ConvForward<T>&);
  Status (*conv_input)(const Context&, const ConvInput<T>&);
  Status (*conv_weight)(const Context&, const ConvWeight<T>&);
  std::size_t (*conv_forward_workspace)(const ConvSizes&);  // bytes
  std::size_t (*conv_input_workspace)(const ConvSizes&);
  std::size_t (*conv_weight_workspace)(const ConvSizes&);
};
template <>
inline constexpr bool has_ladder<ConvKernels<float>> = true;
template <>
inline constexpr bool has_ladder<ConvKernels<double>> = true;

}  // namespace dd2424
