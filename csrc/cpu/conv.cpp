#include "core/conv.h"

#include "core/float_mode.h"
#include "core/table.h"
#include "cpu/conv_correlate.h"
#include "cpu/conv_depthwise_weight.h"
#include "cpu/conv_few.h"
#include "cpu/conv_weight.h"
#include "cpu/conv_winograd.h"

namespace dd2424::cpu::DD2424_ISA {
namespace {

template <class T>
Weights<T> weights_of(const ConvSizes& s, const T* data) {
  const Index inputs = s.inputs / s.groups, taps = s.kernel[0] * s.kernel[1] * s.kernel[2];
  if (s.weight_format == Format::channels_last) return {data, taps * inputs, 1, inputs};
  return {data, taps * inputs, taps, 1};
}

template <class T>
Correlation<T> forward_of(const ConvForward<T>& a) {
  const ConvSizes& s = a.sizes;
  const Index taps = s.kernel[0] * s.kernel[1] * s.kernel[2];
  Correlation<T> c{.x = images(a.x, s.x_format, s.inputs, s.image),
                   .y = images(a.y, s.y_format, s.outputs, s.out),
                   .weights = weights_of(s, a.weight),
                   .bias = a.bias,
                   .batch = s.batch,
                   .groups = s.groups,
                   .inputs = s.inputs / s.groups,
                   .outputs = s.outputs / s.groups,
                   .weights_group = s.outputs / s.groups * (s.inputs / s.groups) * taps,
                   .relu = a.relu};
  for (int d = 0; d < kSpace; ++d) {
    c.kernel[d] = s.kernel[d], c.grid[d] = s.out[d], c.step[d] = s.stride[d], c.origin[d] = 0, c.y_step[d] = 1;
    c.axes[d] = {.count = s.kernel[d], .at = -s.padding[d], .at_step = s.dilation[d], .q = 0, .q_step = 1};
    trim(c.axes[d], s.out[d], s.stride[d], s.image[d]);
  }
  take_every_step(c.x, c.axes, c.step);
  return c;
}

// Groups of so few outputs that most lanes of their own panel would idle.
template <class T>
bool prefers_lanes(const Correlation<T>& c) {
  return c.groups > 1 && 2 * c.outputs <= kLanes<Accumulator<T>>;
}
template <class T>
void convolve(const Correlation<T>& c, void* workspace) {
  if (!prefers_lanes(c) || c.is_empty()) return correlate(c, workspace);
  const LanePlan<T> plan(c);
  LaneCorrelator<T>(c, plan, static_cast<char*>(workspace)).run();
}
template <class T>
std::size_t workspace_bytes(const Correlation<T>& c) {
  return prefers_lanes(c) && !c.is_empty() ? LanePlan<T>(c).bytes() : correlation_bytes(c);
}

template <class T>
Status conv_forward(const Context& context, const ConvForward<T>& a) {
  const FloatMode mode;
  if constexpr (std::is_same_v<T, float>)
    if (uses_winograd(a.sizes, ConvPass::forward)) return winograd_forward(a, context.workspace);
  if constexpr (std::is_same_v<T, Accumulator<T>>)
    if (FewPixels<T>::suits(a.sizes)) return FewPixels<T>(a, context.workspace).run(), Status::ok;
  convolve(forward_of(a), context.workspace);
  return Status::ok;
}

constexpr Index divisor(Index a, Index b) { return b == 0 ? a : divisor(b, a % b); }

// dx at first, first + stride, ... of one dimension meets the same taps: those q with q * dilation = first + padding
// (mod stride). There x = first + j * stride and tap q meet dy at j + (first + padding - q * dilation) / stride.
inline Axis axis_of_residue(const ConvSizes& s, int d, Index first) {
  const Index stride = s.stride[d], dilation = s.dilation[d], shift = first + s.padding[d];
  const Index common = divisor(stride, dilation), q_step = stride / common;
  Index q = 0;
  while (q < q_step && q < s.kernel[d] && (shift - q * dilation) % stride != 0) ++q;
  if (q >= q_step || q >= s.kernel[d]) return {.count = 0, .at = 0, .at_step = 1, .q = 0, .q_step = 1};
  const Index count = (s.kernel[d] - 1 - q) / q_step + 1, last = q + (count - 1) * q_step;
  return {.count = count,
          .at = (shift - last * dilation) / stride,
          .at_step = dilation / common,
          .q = last,
          .q_step = -q_step};
}

template <class T>
Correlation<T> input_of(const ConvInput<T>& a, const Index (&first)[kSpace]) {
  const ConvSizes& s = a.sizes;
  const Index taps = s.kernel[0] * s.kernel[1] * s.kernel[2];
  Weights<T> weights = weights_of(s, a.weight);
  const Index output = weights.output;
  weights.output = weights.input, weights.input = output;
  Correlation<T> c{.x = images(a.dy, s.y_format, s.outputs, s.out),
                   .y = images(a.dx, s.x_format, s.inputs, s.image),
                   .weights = weights,
                   .bias = a.bias,
                   .batch = s.batch,
                   .groups = s.groups,
                   .inputs = s.outputs / s.groups,
                   .outputs = s.inputs / s.groups,
                   .weights_group = s.outputs / s.groups * (s.inputs / s.groups) * taps,
                   .relu = a.relu};
  for (int d = 0; d < kSpace; ++d) {
    c.kernel[d] = s.kernel[d], c.step[d] = 1, c.origin[d] = first[d], c.y_step[d] = s.stride[d];
    c.grid[d] = ceil_div(s.image[d] - first[d], s.stride[d]);
    c.axes[d] = axis_of_residue(s, d, first[d]);
    trim(c.axes[d], c.grid[d], 1, s.out[d]);
  }
  return c;
}

// Calls f with the first pixel of each class of dx that meets the same taps.
template <class F>
void for_each_residue(const ConvSizes& s, const F& f) {
  for (Index d = 0; d < smaller(s.stride[0], s.image[0]); ++d)
    for (Index h = 0; h < smaller(s.stride[1], s.image[1]); ++h)
      for (Index w = 0; w < smaller(s.stride[2], s.image[2]); ++w) f({d, h, w});
}

template <class T>
Status conv_input(const Context& context, const ConvInput<T>& a) {
  const FloatMode mode;
  if constexpr (std::is_same_v<T, float>)
    if (uses_winograd(a.sizes, ConvPass::input)) return winograd_input(a, context.workspace);
  const bool could_fill = a.sizes.groups == 1 && !a.bias && a.sizes.x_format == Format::channels_last;
  Index met = 0;  // classes
  for_each_residue(a.sizes, [&](const Index(&first)[kSpace]) { met += !input_of(a, first).is_empty(); });
  for_each_residue(a.sizes, [&](const Index(&first)[kSpace]) {
    Correlation<T> c = input_of(a, first);
    c.fills_gaps = could_fill && met == 1;
    if (c.fills_gaps && c.is_empty()) return;
    convolve(c, context.workspace);
  });
  return Status::ok;
}

// The forward pass whose weights a gradient is by; what it writes to, dy, is only read.
template <class T>
Correlation<T> forward_of(const ConvWeight<T>& a) {
  return forward_of(ConvForward<T>{.sizes = a.sizes, .x = a.x, .y = const_cast<T*>(a.dy)});
}
template <class T>
void write_gradient(const ConvWeight<T>& a, const Correlation<T>& c, const Accumulator<T>* sums) {
  const Weights<T> weights = weights_of<T>(a.sizes, nullptr);
  const Index lanes = kLanes<Accumulator<T>>, row = ceil_div(a.sizes.outputs, lanes) * lanes;
  for (Index d = 0; d < c.axes[0].count; ++d)
    for (Index h = 0; h < c.axes[1].count; ++h)
      for (Index w = 0; w < c.axes[2].count; ++w)
        for (Index i = 0; i < c.inputs; ++i, sums += row) {
          T* out = a.dweight + number_of_tap(c.axes, c.kernel, d, h, w) * weights.tap + i * weights.input;
          for (Index o = 0; o < a.sizes.outputs; ++o) out[o * weights.output] = narrowed<T>(sums[o]);
        }
}
template <class T>
Status conv_weight(const Context& context, const ConvWeight<T>& a) {
  const FloatMode mode;
  if constexpr (std::is_same_v<T, float>)
    if (uses_winograd(a.sizes, ConvPass::weight)) return winograd_weight(a, context.workspace);
  const Correlation<T> c = forward_of(a);
  if (prefers_lanes(c) && !c.is_empty() && c.batch > 0) {
    if (c.taps() < c.kernel[0] * c.kernel[1] * c.kernel[2])
      memset(a.dweight, 0,
             std::size_t(a.sizes.outputs * c.inputs * c.kernel[0] * c.kernel[1] * c.kernel[2]) * sizeof(T));
    write_gradient(a, c, LaneWeightGradient<T>(c, static_cast<char*>(context.workspace)).run());
    return Status::ok;
  }
  WeightGradient<T>(a, static_cast<char*>(context.workspace)).run();
  return Status::ok;
}

template <class T>
std::size_t conv_forward_workspace(const ConvSizes& s) {
  if constexpr (std::is_same_v<T, float>)
    if (uses_winograd(s, ConvPass::forward)) return winograd_forward_workspace(s);
  if constexpr (std::is_same_v<T, Accumulator<T>>)
    if (FewPixels<T>::suits(s)) return FewPixels<T>(ConvForward<T>{.sizes = s}, nullptr).bytes();
  return workspace_bytes(forward_of(ConvForward<T>{.sizes = s}));
}
template <class T>
std::size_t conv_input_workspace(const ConvSizes& s) {
  if constexpr (std::is_same_v<T, float>)
    if (uses_winograd(s, ConvPass::input)) return winograd_input_workspace(s);
  std::size_t most = 0;
  for_each_residue(s, [&](const Index(&first)[kSpace]) {
    const std::size_t bytes = workspace_bytes(input_of(ConvInput<T>{.sizes = s}, first));
    most = bytes > most ? bytes : most;
  });
  return most;
}
template <class T>
std::size_t conv_weight_workspace(const ConvSizes& s) {
  if constexpr (std::is_same_v<T, float>)
    if (uses_winograd(s, ConvPass::weight)) return winograd_weight_workspace(s);
  const Correlation<T> c = forward_of(ConvWeight<T>{.sizes = s});
  if (prefers_lanes(c) && !c.is_empty() && c.batch > 0) return LaneWeightGradient<T>(c, nullptr).bytes();
  return WeightGradient<T>(ConvWeight<T>{.sizes = s}, nullptr).bytes();
}

template <class T>
constexpr ConvKernels<T> kConv{.conv_forward = conv_forward<T>,
                               .conv_input = conv_input<T>,
                               .conv_weight = conv_weight<T>,
                               .conv_forward_workspace = conv_forward_workspace<T>,
                               .conv_input_workspace = conv_input_workspace<T>,
                               .conv_weight_workspace = conv_weight_workspace<T>};

}  // namespace
}  // namespace dd2424::cpu::DD2424_ISA

namespace dd2424 {
DD2424_TABLE(ConvKernels<float>, cpu::DD2424_ISA::kConv<float>)
DD2424_TABLE(ConvKernels<double>, cpu::DD2424_ISA::kConv<double>)
DD2424_TABLE(ConvKernels<bfloat16>, cpu::DD2424_ISA::kConv<bfloat16>)
}  // namespace dd2424
