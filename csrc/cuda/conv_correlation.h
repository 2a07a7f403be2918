#pragma once
#include "cuda/conv_walk.h"

// What the forward pass and the gradient by x have in common: at each pixel of y, the sum over taps and channels of
// weights times x. For the gradient x is dy, and the pixels of dx are taken by classes that meet the same taps.
namespace dd2424::cuda {

// Sizes that 32 bits cannot number: the pixels of images, or the elements of one.
inline bool is_too_large(const ConvSizes& s) {
  constexpr Index most = Index{1} << 29;
  const Layout x(s.x_format, s.inputs, s.image), y(s.y_format, s.outputs, s.out);
  const Layout filter(s.weight_format, s.inputs / s.groups, s.kernel);
  bool large = s.batch >= most || x.image >= most || y.image >= most || filter.image >= most;
  const auto reaches_far = [=](Index by, const Layout& at, int d) {
    return by >= most || static_cast<double>(by) * static_cast<double>(at.pixel[d]) >= static_cast<double>(most);
  };
  for (int d = 0; d < kSpace; ++d) {
    large = large || s.image[d] >= most || s.out[d] >= most || s.padding[d] >= most;
    large = large || reaches_far(s.dilation[d] * s.kernel[d], x, d) || reaches_far(s.dilation[d], y, d) ||
            reaches_far(s.stride[d], x, d);
  }
  return large;
}
// The same convolution, where only one pixel or one tap leaves open how far it would be to the next.
inline ConvSizes settled(ConvSizes s) {
  for (int d = 0; d < kSpace; ++d) {
    if (s.out[d] == 1) s.stride[d] = 1;
    if (s.kernel[d] == 1) s.dilation[d] = 1;
  }
  return s;
}

struct Axis {         // one dimension of space
  int image;          // pixels of x
  int out;            // pixels of y, which stand at
  int origin, apart;  // origin, origin + apart ...
  int taps;
  int at, step, tap_step;  // y's pixel p and tap j meet x at p * step + j * tap_step + at,
  int q, q_step;           // with the weight q + j * q_step
};

template <class T>
struct Correlation {
  using Acc = Accumulator<T>;
  const T *x, *weight;
  const Acc* bias;  // (groups * outputs), or null
  T* y;
  bool relu;
  Index batch, groups, inputs, outputs;  // channels of a group
  Layout x_at, y_at;
  Index weight_output, weight_input, weight_group, weight_tap[kSpace];  // how far one lies from the next
  Axis axes[kSpace];
};

struct WeightLayout {
  Index output, input, tap[kSpace];
  explicit WeightLayout(const ConvSizes& s) {
    const Layout one(s.weight_format, s.inputs / s.groups, s.kernel);  // a filter is like an image
    output = one.image, input = one.channel;
    for (int d = 0; d < kSpace; ++d) tap[d] = one.pixel[d];
  }
};

template <class T>
Correlation<T> forward_of(const ConvForward<T>& a) {
  const ConvSizes& s = a.sizes;
  const WeightLayout weight(s);
  Correlation<T> c{.x = a.x,
                   .weight = a.weight,
                   .bias = a.bias,
                   .y = a.y,
                   .relu = a.relu,
                   .batch = s.batch,
                   .groups = s.groups,
                   .inputs = s.inputs / s.groups,
                   .outputs = s.outputs / s.groups,
                   .x_at = Layout(s.x_format, s.inputs, s.image),
                   .y_at = Layout(s.y_format, s.outputs, s.out),
                   .weight_output = weight.output,
                   .weight_input = weight.input,
                   .weight_group = s.outputs / s.groups * weight.output};
  for (int d = 0; d < kSpace; ++d) {
    c.weight_tap[d] = weight.tap[d];
    c.axes[d] = {.image = narrow(s.image[d]),
                 .out = narrow(s.out[d]),
                 .origin = 0,
                 .apart = 1,
                 .taps = narrow(s.kernel[d]),
                 .at = narrow(-s.padding[d]),
                 .step = narrow(s.stride[d]),
                 .tap_step = narrow(s.dilation[d]),
                 .q = 0,
                 .q_step = 1};
  }
  return c;
}

constexpr Index divisor(Index a, Index b) { return b == 0 ? a : divisor(b, a % b); }

// dx at first, first + stride, ... meets those taps q with q * dilation = first + padding (mod stride): pixel
// first + p * stride and tap q meet dy at p + (first + padding - q * dilation) / stride.
inline Axis class_of(const ConvSizes& s, int d, Index first) {
  const Index stride = s.stride[d], dilation = s.dilation[d], shift = first + s.padding[d];
  const Index common = divisor(stride, dilation), q_step = stride / common;
  Axis axis{.image = narrow(s.out[d]), .out = narrow(ceil_div(s.image[d] - first, stride))};
  axis.origin = narrow(first), axis.apart = narrow(stride), axis.step = 1;
  Index q = 0;
  while (q < q_step && q < s.kernel[d] && (shift - q * dilation) % stride != 0) ++q;
  if (q >= q_step || q >= s.kernel[d]) return axis;  // without taps
  axis.q = narrow(q), axis.q_step = narrow(q_step), axis.tap_step = narrow(-dilation / common);
  axis.taps = narrow((s.kernel[d] - 1 - q) / q_step + 1);
  axis.at = narrow((shift - q * dilation) / stride);
  return axis;
}
template <class T>
Correlation<T> input_of(const ConvInput<T>& a, const Index (&first)[kSpace]) {
  const ConvSizes& s = a.sizes;
  const WeightLayout weight(s);
  Correlation<T> c{.x = a.dy,
                   .weight = a.weight,
                   .bias = a.bias,
                   .y = a.dx,
                   .relu = a.relu,
                   .batch = s.batch,
                   .groups = s.groups,
                   .inputs = s.outputs / s.groups,
                   .outputs = s.inputs / s.groups,
                   .x_at = Layout(s.y_format, s.outputs, s.out),
                   .y_at = Layout(s.x_format, s.inputs, s.image),
                   .weight_output = weight.input,
                   .weight_input = weight.output,
                   .weight_group = s.outputs / s.groups * weight.output};
  for (int d = 0; d < kSpace; ++d) c.weight_tap[d] = weight.tap[d], c.axes[d] = class_of(s, d, first[d]);
  return c;
}

inline Index classes_along(const ConvSizes& s, int d) { return s.stride[d] < s.image[d] ? s.stride[d] : s.image[d]; }
inline Index classes(const ConvSizes& s) { return classes_along(s, 0) * classes_along(s, 1) * classes_along(s, 2); }
// Calls f with the first pixel of each class, until one fails.
template <class F>
Status for_each_class(const ConvSizes& s, const F& f) {
  for (Index d = 0; d < classes_along(s, 0); ++d)
    for (Index h = 0; h < classes_along(s, 1); ++h)
      for (Index w = 0; w < classes_along(s, 2); ++w)
        if (const Status status = f({d, h, w}); status != Status::ok) return status;
  return Status::ok;
}

}  // namespace dd2424::cuda
