#include "core/conv.h"

#include "cuda/conv_correlation.h"
#include "cuda/conv_direct.h"
#include "cuda/gemm.h"
#include "cuda/gemm_product.h"
#include "cuda/offer.h"

// Convolutions as products, by the main loops of gemm_product.h: the pixels of y are the rows, its channels the
// columns, and taps and channels of x the steps. Only what a tile needs is gathered, while it is loaded.
namespace dd2424::cuda {
namespace {

constexpr Index kWidest = 64;  // columns of a tile: with 128, what says where elements lie would leave the registers

template <class T>
using Patches = Gather<T, true, false, true>;  // of images: rows are pixels, steps taps
template <class T>
using Filters = Gather<T, false, false, false>;

template <class T, class Problem>
struct CorrelationPart {
  const Problem& problem;
  Patches<T> a;
  Filters<T> b;
  Index columns, group;
  using Element = T;

  __device__ bool is_dense() const { return problem.is_dense; }
  __device__ T* line(Index row) const {
    return problem.y + problem.places.offset(digits_of(problem.places.counts, row)) + group * columns * problem.channel;
  }
  __device__ T result(const T*, Index column, Computed<T> sum) const {
    if (problem.bias) sum += problem.bias[group * columns + column];
    return element<T>(problem.relu && sum < 0 ? Computed<T>(0) : sum);
  }
  __device__ void store(T* line, Index column, Computed<T> sum) const {
    line[column * problem.channel] = result(line, column, sum);
  }
};

template <class T>
struct CorrelationProblem {
  static constexpr Limits limits{.widest = kWidest};
  Patches<T> a;  // of the first group
  Filters<T> b;
  T* y;
  Walk<true> places;  // in y
  const Accumulator<T>* bias;
  bool relu;
  Index rows, columns, steps, count;
  Index channel, a_group, b_group;
  bool is_dense;

  explicit CorrelationProblem(const Correlation<T>& c)
      : a{.data = c.x},
        b{.data = c.weight},
        y(c.y),
        places{.counts = counts(c.batch, c.axes[0].out, c.axes[1].out, c.axes[2].out), .step = {narrow(c.y_at.image)}},
        bias(c.bias),
        relu(c.relu),
        columns(c.outputs),
        count(c.groups),
        channel(c.y_at.channel),
        a_group(c.inputs * c.x_at.channel),
        b_group(c.weight_group) {
    const Axis(&axes)[kSpace] = c.axes;
    steps = c.inputs * axes[0].taps * axes[1].taps * axes[2].taps;
    a.rows.counts = places.counts;
    a.steps.counts = b.steps.counts = counts(axes[0].taps, axes[1].taps, axes[2].taps, c.inputs);
    a.rows.step[0] = narrow(c.x_at.image);
    a.steps.step[kSpace] = narrow(c.x_at.channel);
    b.rows.counts = counts(1, 1, 1, c.outputs);
    b.rows.step[kSpace] = narrow(c.weight_output);
    b.steps.step[kSpace] = narrow(c.weight_input);
    for (int d = 0; d < kSpace; ++d) {
      const Axis& axis = axes[d];
      places.start += axis.origin * c.y_at.pixel[d];
      places.step[d + 1] = narrow(axis.apart * c.y_at.pixel[d]);
      a.image[d] = axis.image;
      a.rows.start += axis.at * c.x_at.pixel[d];
      a.rows.origin[d] = axis.at;
      a.rows.step[d + 1] = narrow(axis.step * c.x_at.pixel[d]);
      a.rows.pixel_step[d] = axis.step;
      a.steps.step[d] = narrow(axis.tap_step * c.x_at.pixel[d]);
      a.steps.pixel_step[d] = axis.tap_step;
      b.rows.start += axis.q * c.weight_tap[d];
      b.steps.step[d] = narrow(axis.q_step * c.weight_tap[d]);
    }
    choose_loads(a, unit_of<T>()), choose_loads(b, unit_of<T>());
    rows = a.row_count;
    is_dense = channel == 1 && columns % kUnit == 0 && can_load(y, kUnit, Index{0});  // whole channels apart
  }
  __device__ CorrelationPart<T, CorrelationProblem> part(Index group) const {
    CorrelationPart<T, CorrelationProblem> part{*this, a, b, columns, group};
    part.a.data += group * a_group;
    part.b.data += group * b_group;
    return part;
  }
};

// dweight: the outputs are the rows, taps and inputs the columns, and the pixels of all images the steps.
template <class T>
using Gradients = Gather<T, false, true, false>;  // dy: rows are channels, steps pixels
template <class T>
using Taps = Gather<T, false, true, true>;  // x: rows are taps and channels, steps the pixels that meet them

template <class T, class Problem>
struct WeightPart {
  const Problem& problem;
  Gradients<T> a;
  Taps<T> b;
  Index columns, group;
  using Element = T;

  __device__ bool is_dense() const { return problem.is_channels_last && columns % kUnit == 0; }
  __device__ T result(const T*, Index, Computed<T> sum) const { return element<T>(sum); }
  __device__ T* line(Index row) const { return problem.dweight + (group * problem.rows + row) * columns; }
  __device__ void store(T* line, Index column, Computed<T> sum) const {
    if (problem.is_channels_last) {
      line[column] = element<T>(sum);
    } else {
      const Index tap = quotient(column, problem.inputs);
      line[(column - tap * problem.inputs) * problem.taps + tap] = element<T>(sum);
    }
  }
};

template <class T>
struct WeightProblem {
  static constexpr Limits limits{.longest = 4096, .widest = kWidest};  // pixels in one chain of sums
  Gradients<T> a;
  Taps<T> b;
  T* dweight;
  bool is_channels_last;
  Index inputs, taps;
  Index rows, columns, steps, count;
  Index a_group, b_group;

  explicit WeightProblem(const ConvWeight<T>& w)
      : a{.data = w.dy},
        b{.data = w.x},
        dweight(w.dweight),
        is_channels_last(w.sizes.weight_format == Format::channels_last),
        inputs(w.sizes.inputs / w.sizes.groups),
        taps(w.sizes.kernel[0] * w.sizes.kernel[1] * w.sizes.kernel[2]),
        rows(w.sizes.outputs / w.sizes.groups),
        columns(inputs * taps),
        count(w.sizes.groups) {
    const ConvSizes& s = w.sizes;
    const Layout x(s.x_format, s.inputs, s.image), y(s.y_format, s.outputs, s.out);
    steps = s.batch * s.out[0] * s.out[1] * s.out[2];
    a_group = rows * y.channel, b_group = inputs * x.channel;
    a.rows.counts = counts(1, 1, 1, rows);
    b.rows.counts = counts(s.kernel[0], s.kernel[1], s.kernel[2], inputs);
    a.steps.counts = b.steps.counts = counts(s.batch, s.out[0], s.out[1], s.out[2]);
    a.rows.step[kSpace] = narrow(y.channel), b.rows.step[kSpace] = narrow(x.channel);
    a.steps.step[0] = narrow(y.image), b.steps.step[0] = narrow(x.image);
    for (int d = 0; d < kSpace; ++d) {
      a.steps.step[d + 1] = narrow(y.pixel[d]);
      b.image[d] = narrow(s.image[d]);
      b.rows.start -= s.padding[d] * x.pixel[d];
      b.rows.origin[d] = narrow(-s.padding[d]);
      b.rows.step[d] = narrow(s.dilation[d] * x.pixel[d]);
      b.rows.pixel_step[d] = narrow(s.dilation[d]);
      b.steps.step[d + 1] = narrow(s.stride[d] * x.pixel[d]);
      b.steps.pixel_step[d] = narrow(s.stride[d]);
    }
    choose_loads(a, unit_of<T>()), choose_loads(b, unit_of<T>());
  }
  __device__ WeightPart<T, WeightProblem> part(Index group) const {
    WeightPart<T, WeightProblem> part{*this, a, b, columns, group};
    part.a.data += group * a_group;
    part.b.data += group * b_group;
    return part;
  }
};

// Filters of one tap over dense pixels of which each has its channels side by side: one matrix by another.
bool is_plain(const ConvSizes& s) {
  bool plain = s.groups == 1 && s.x_format == Format::channels_last && s.y_format == Format::channels_last;
  for (int d = 0; d < kSpace; ++d) plain = plain && s.kernel[d] == 1 && s.stride[d] == 1 && s.padding[d] == 0;
  return plain;
}
Index pixels(const ConvSizes& s) { return s.batch * s.out[0] * s.out[1] * s.out[2]; }

template <class T>
Gemm<T> plain_forward(const ConvForward<T>& a) {
  const ConvSizes& s = a.sizes;
  Gemm<T> g{.a = a.x, .b = a.weight, .c = a.y, .bias = a.bias, .m = pixels(s), .n = s.outputs, .k = s.inputs};
  g.a_row = s.inputs, g.a_column = 1, g.b_row = 1, g.b_column = s.inputs, g.c_row = s.outputs, g.c_column = 1;
  g.epilogue = a.relu ? Activation::relu : Activation::none;
  return g;
}
template <class T>
Gemm<T> plain_input(const ConvInput<T>& a) {
  const ConvSizes& s = a.sizes;
  Gemm<T> g{.a = a.dy, .b = a.weight, .c = a.dx, .bias = a.bias, .m = pixels(s), .n = s.inputs, .k = s.outputs};
  g.a_row = s.outputs, g.a_column = 1, g.b_row = s.inputs, g.b_column = 1, g.c_row = s.inputs, g.c_column = 1;
  g.epilogue = a.relu ? Activation::relu : Activation::none;
  return g;
}

template <class T>
Status conv_forward(const Context& context, const ConvForward<T>& given) {
  ConvForward<T> a = given;
  a.sizes = settled(a.sizes);
  if (is_too_large(a.sizes)) return Status::unsupported;
  if (is_plain(a.sizes)) return gemm(context, plain_forward(a));
  const Correlation<T> c = forward_of(a);
  return prefers_direct(a.sizes) ? correlate_direct(context, c) : run_product<T>(context, CorrelationProblem<T>(c));
}
template <class T>
Status conv_input(const Context& context, const ConvInput<T>& given) {
  ConvInput<T> a = given;
  a.sizes = settled(a.sizes);
  if (is_too_large(a.sizes)) return Status::unsupported;
  if (is_plain(a.sizes)) return gemm(context, plain_input(a));
  if (classes(a.sizes) > kMostClasses) return input_by_pixels(context, a);
  return for_each_class(a.sizes, [&](const Index(&first)[kSpace]) {
    const Correlation<T> c = input_of(a, first);
    return prefers_direct(a.sizes) ? correlate_direct(context, c) : run_product<T>(context, CorrelationProblem<T>(c));
  });
}
template <class T>
Status conv_weight(const Context& context, const ConvWeight<T>& given) {
  ConvWeight<T> a = given;
  a.sizes = settled(a.sizes);
  if (is_too_large(a.sizes)) return Status::unsupported;
  if (prefers_direct(a.sizes)) return weight_direct(context, a);
  return run_product<T>(context, WeightProblem<T>(a));
}

template <class T>
std::size_t workspace_of(const CorrelationProblem<T>& p) {
  return product_workspace<T>(p.rows, p.columns, p.steps, p.count, p.limits);
}
template <class T>
std::size_t conv_forward_workspace(const ConvSizes& sizes) {
  const ConvSizes s = settled(sizes);
  const ConvForward<T> a{.sizes = s};
  if (is_too_large(s)) return 0;
  if (is_plain(s)) return gemm_workspace(plain_forward(a));
  return prefers_direct(s) ? 0 : workspace_of(CorrelationProblem<T>(forward_of(a)));
}
template <class T>
std::size_t conv_input_workspace(const ConvSizes& sizes) {
  const ConvSizes s = settled(sizes);
  const ConvInput<T> a{.sizes = s};
  if (is_too_large(s)) return 0;
  if (is_plain(s)) return gemm_workspace(plain_input(a));
  std::size_t most = 0;
  if (prefers_direct(s) || classes(s) > kMostClasses) return most;
  for_each_class(s, [&](const Index(&first)[kSpace]) {
    const std::size_t bytes = workspace_of(CorrelationProblem<T>(input_of(a, first)));
    if (bytes > most) most = bytes;
    return Status::ok;
  });
  return most;
}
template <class T>
std::size_t conv_weight_workspace(const ConvSizes& sizes) {
  const ConvSizes s = settled(sizes);
  if (is_too_large(s)) return 0;
  if (prefers_direct(s)) return weight_direct_workspace<T>(s);
  const Index rows = s.outputs / s.groups, columns = s.inputs / s.groups * s.kernel[0] * s.kernel[1] * s.kernel[2];
  return product_workspace<T>(rows, columns, pixels(s), s.groups, WeightProblem<T>::limits);
}

template <class T>
constexpr ConvKernels<T> kConv{.conv_forward = conv_forward<T>,
                               .conv_input = conv_input<T>,
                               .conv_weight = conv_weight<T>,
                               .conv_forward_workspace = conv_forward_workspace<T>,
                               .conv_input_workspace = conv_input_workspace<T>,
                               .conv_weight_workspace = conv_weight_workspace<T>};

}  // namespace

void offer_conv(DeviceTables& tables) {
  offer(tables, kConv<float>);
  offer(tables, kConv<double>);
  offer(tables, kConv<bfloat16>);
}

}  // namespace dd2424::cuda
