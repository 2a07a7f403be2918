#include "core/conv.h"

#include "cuda/conv_dense.h"
#include "cuda/conv_depthwise.h"
#include "cuda/conv_direct.h"
#include "cuda/conv_few.h"
#include "cuda/conv_products.h"
#include "cuda/gemm.h"
#include "cuda/offer.h"
#include "cuda/pack.h"

// Convolutions as products, by the main loops of gemm_product.h: the pixels of y are the rows, its channels the
// columns, and taps and channels of x the steps. Only what a tile needs is gathered, while it is loaded.
namespace dd2424::cuda {
namespace {

constexpr Index kWidest = 64;  // columns of a tile: with 128, what says where elements lie would leave the registers

// Wherever elements lie.
template <class T>
struct GatheredPatches : Gather<T, true, false, true> {  // rows are pixels, steps taps
  static constexpr Index kWidest = cuda::kWidest;
  explicit GatheredPatches(const Correlation<T>& c) : Gather<T, true, false, true>{.data = c.x} {
    this->rows.counts = counts(c.batch, c.axes[0].out, c.axes[1].out, c.axes[2].out);
    this->steps.counts = counts(c.axes[0].taps, c.axes[1].taps, c.axes[2].taps, c.inputs);
    this->rows.step[0] = narrow(c.x_at.image);
    this->steps.step[kSpace] = narrow(c.x_at.channel);
    for (int d = 0; d < kSpace; ++d) {
      const Axis& axis = c.axes[d];
      this->image[d] = axis.image;
      this->rows.start += axis.at * c.x_at.pixel[d];
      this->rows.origin[d] = axis.at;
      this->rows.step[d + 1] = narrow(axis.step * c.x_at.pixel[d]);
      this->rows.pixel_step[d] = axis.step;
      this->steps.step[d] = narrow(axis.tap_step * c.x_at.pixel[d]);
      this->steps.pixel_step[d] = axis.tap_step;
    }
    choose_loads(*this, unit_of<T>());
  }
};
template <class T>
struct GatheredFilters : Gather<T, false, false, false> {
  explicit GatheredFilters(const Correlation<T>& c) : Gather<T, false, false, false>{.data = c.weight} {
    this->rows.counts = counts(1, 1, 1, c.outputs);
    this->steps.counts = counts(c.axes[0].taps, c.axes[1].taps, c.axes[2].taps, c.inputs);
    this->rows.step[kSpace] = narrow(c.weight_output);
    this->steps.step[kSpace] = narrow(c.weight_input);
    for (int d = 0; d < kSpace; ++d) {
      this->rows.start += c.axes[d].q * c.weight_tap[d];
      this->steps.step[d] = narrow(c.axes[d].q_step * c.weight_tap[d]);
    }
    choose_loads(*this, unit_of<T>());
  }
};
template <class T>
using GatheredProblem = CorrelationProblem<T, GatheredPatches<T>, GatheredFilters<T>>;

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

// Filters of one tap over dense pixels are matrices. Pixels that have their channels side by side are another one;
// where images are planes of channels, each image is, but a bias is then not the epilogue's, which is by columns.
bool is_pointwise(const ConvSizes& s, Format format) {
  bool is = s.groups == 1 && s.x_format == format && s.y_format == format;
  for (int d = 0; d < kSpace; ++d) is = is && s.kernel[d] == 1 && s.stride[d] == 1 && s.padding[d] == 0;
  return is;
}
bool is_plain(const ConvSizes& s) { return is_pointwise(s, Format::channels_last); }
Index plane(const ConvSizes& s) { return s.out[0] * s.out[1] * s.out[2]; }
bool has_planes(const ConvSizes& s) {  // of whole chunks, whatever the type
  return is_pointwise(s, Format::channels_first) && s.batch > 0 && plane(s) % 8 == 0 && plane(s) >= 64;
}
Index pixels(const ConvSizes& s) { return s.batch * s.out[0] * s.out[1] * s.out[2]; }

template <class T>
Gemm<T> plain_forward(const ConvForward<T>& a) {
  const ConvSizes& s = a.sizes;
  Gemm<T> g{.a = a.x, .b = a.weight, .c = a.y, .bias = a.bias, .m = pixels(s), .n = s.outputs, .k = s.inputs};
  g.a_row = s.inputs, g.a_column = 1, g.b_row = 1, g.b_column = s.inputs, g.c_row = s.outputs, g.c_column = 1;
  g.epilogue = a.relu ? Activation::relu : Activation::none;
  g.allows_tf32 = s.allows_tf32;
  return g;
}
template <class T>
Gemm<T> planes_forward(const ConvForward<T>& a) {
  const ConvSizes& s = a.sizes;
  Gemm<T> g{.a = a.weight, .b = a.x, .c = a.y, .m = s.outputs, .n = plane(s), .k = s.inputs};
  g.a_row = s.inputs, g.a_column = 1, g.b_row = g.c_row = g.n, g.b_column = g.c_column = 1;
  g.batch = {.ndim = 1, .shape = {s.batch}, .strides = {{s.outputs * g.n}, {0}, {s.inputs * g.n}}};
  g.epilogue = a.relu ? Activation::relu : Activation::none;
  g.allows_tf32 = s.allows_tf32;
  return g;
}
template <class T>
Gemm<T> planes_input(const ConvInput<T>& a) {
  const ConvSizes& s = a.sizes;
  Gemm<T> g{.a = a.weight, .b = a.dy, .c = a.dx, .m = s.inputs, .n = plane(s), .k = s.outputs};
  g.a_row = 1, g.a_column = s.inputs, g.b_row = g.c_row = g.n, g.b_column = g.c_column = 1;
  g.batch = {.ndim = 1, .shape = {s.batch}, .strides = {{s.inputs * g.n}, {0}, {s.outputs * g.n}}};
  g.epilogue = a.relu ? Activation::relu : Activation::none;
  g.allows_tf32 = s.allows_tf32;
  return g;
}
template <class T>
Gemm<T> plain_input(const ConvInput<T>& a) {
  const ConvSizes& s = a.sizes;
  Gemm<T> g{.a = a.dy, .b = a.weight, .c = a.dx, .bias = a.bias, .m = pixels(s), .n = s.inputs, .k = s.outputs};
  g.a_row = s.outputs, g.a_column = 1, g.b_row = s.inputs, g.b_column = 1, g.c_row = s.inputs, g.c_column = 1;
  g.epilogue = a.relu ? Activation::relu : Activation::none;
  g.allows_tf32 = s.allows_tf32;
  return g;
}

template <class T, class F>
bool holds_for_each_class(const ConvInput<T>& a, const F& f) {
  return for_each_class(a.sizes, [&](const Index(&first)[kSpace]) {
           return f(input_of(a, first)) ? Status::ok : Status::unsupported;
         }) == Status::ok;
}

// Of whole units of channels, where that pays and pointers allow it (bits then depend on how operands are aligned).
template <class T>
constexpr bool kHasDense = !std::is_same_v<T, double>;
template <class T>
bool is_dense(Pass pass, const ConvSizes& s, std::initializer_list<const void*> operands) {
  if constexpr (kHasDense<T>) return are_aligned(operands) && prefers_dense<T>(pass, s);
  else return false;
}
// Float32 that may be rounded for tensor cores, as the type that is.
template <class T>
bool rounds(const ConvSizes& s) {
  return std::is_same_v<T, float> && may_round(s.allows_tf32);
}
template <class T, template <class> class Arguments>
auto rounding_if_float(const Arguments<T>& a) {
  if constexpr (std::is_same_v<T, float>) return rounding(a);
  else return a;
}
constexpr std::size_t larger(std::size_t a, std::size_t b) { return a < b ? b : a; }
template <class T>
std::size_t workspace_if_dense(Pass pass, const ConvSizes& s) {
  std::size_t bytes = 0;
  if constexpr (kHasDense<T>) {
    if (is_depthwise<T>(s)) bytes = pass == Pass::weight ? depthwise_weight_workspace<T>(s) : depthwise_workspace<T>(s);
    else if (!prefers_direct(s) && prefers_dense<T>(pass, s))
      bytes = rounds<T>(s) ? dense_workspace<tfloat32>(pass, s) : dense_workspace<T>(pass, s);
  }
  return bytes;
}

template <class T>
Status conv_forward(const Context& context, const ConvForward<T>& given) {
  ConvForward<T> a = given;
  a.sizes = settled(a.sizes);
  if (is_too_large(a.sizes)) return Status::unsupported;
  if (is_plain(a.sizes)) return gemm(context, plain_forward(a));
  if (!a.bias && has_planes(a.sizes)) return gemm(context, planes_forward(a));
  const Correlation<T> c = forward_of(a);
  if constexpr (kHasDense<T>) {
    if (is_depthwise<T>(a.sizes, {a.x, a.y})) {
      const Status status = arrange_depthwise(context, a.sizes, a.weight);
      return status == Status::ok ? correlate_depthwise(context, c) : status;
    }
    if (has_few_outputs(c)) return correlate_few(context, c);
    if (!prefers_direct(a.sizes) && is_dense<T>(Pass::forward, a.sizes, {a.x, a.weight, a.y}))
      return rounds<T>(a.sizes) ? forward_dense(context, rounding_if_float(a)) : forward_dense(context, a);
  }
  return prefers_direct(a.sizes) ? correlate_direct(context, c) : run_product<T>(context, GatheredProblem<T>(c));
}
template <class T>
Status conv_input(const Context& context, const ConvInput<T>& given) {
  ConvInput<T> a = given;
  a.sizes = settled(a.sizes);
  if (is_too_large(a.sizes)) return Status::unsupported;
  if (is_plain(a.sizes)) return gemm(context, plain_input(a));
  if (!a.bias && has_planes(a.sizes)) return gemm(context, planes_input(a));
  if (classes(a.sizes) > kMostClasses) return input_by_pixels(context, a);
  if constexpr (kHasDense<T>) {
    if (is_depthwise<T>(a.sizes, {a.dy, a.dx})) {
      const Status status = arrange_depthwise(context, a.sizes, a.weight);
      if (status != Status::ok) return status;
      return for_each_class(
          a.sizes, [&](const Index(&first)[kSpace]) { return correlate_depthwise(context, input_of(a, first)); });
    }
    if (holds_for_each_class(a, has_few_outputs<T>))
      return for_each_class(a.sizes,
                            [&](const Index(&first)[kSpace]) { return correlate_few(context, input_of(a, first)); });
    if (!prefers_direct(a.sizes) && is_dense<T>(Pass::input, a.sizes, {a.dy, a.weight, a.dx}))
      return rounds<T>(a.sizes) ? input_dense(context, rounding_if_float(a)) : input_dense(context, a);
  }
  return for_each_class(a.sizes, [&](const Index(&first)[kSpace]) {
    const Correlation<T> c = input_of(a, first);
    return prefers_direct(a.sizes) ? correlate_direct(context, c) : run_product<T>(context, GatheredProblem<T>(c));
  });
}
template <class T>
Status conv_weight(const Context& context, const ConvWeight<T>& given) {
  ConvWeight<T> a = given;
  a.sizes = settled(a.sizes);
  if (is_too_large(a.sizes)) return Status::unsupported;
  if constexpr (kHasDense<T>)
    if (is_depthwise<T>(a.sizes, {a.x, a.dy})) return weight_depthwise(context, a);
  if (prefers_direct(a.sizes)) return weight_direct(context, a);
  if constexpr (kHasDense<T>)
    if (is_dense<T>(Pass::weight, a.sizes, {a.x, a.dy}))
      return rounds<T>(a.sizes) ? weight_dense(context, rounding_if_float(a)) : weight_dense(context, a);
  return run_product<T>(context, WeightProblem<T>(a));
}

template <class T>
std::size_t workspace_of(const GatheredProblem<T>& p) {
  return product_workspace<T>(p.rows, p.columns, p.steps, p.count, p.limits);
}
template <class T>
std::size_t conv_forward_workspace(const ConvSizes& sizes) {
  const ConvSizes s = settled(sizes);
  const ConvForward<T> a{.sizes = s};
  if (is_too_large(s)) return 0;
  if (is_plain(s)) return gemm_workspace(plain_forward(a));
  const std::size_t planes = has_planes(s) ? gemm_workspace(planes_forward(a)) : 0;
  const std::size_t dense = larger(planes, workspace_if_dense<T>(Pass::forward, s));
  return prefers_direct(s) ? dense : larger(dense, workspace_of(GatheredProblem<T>(forward_of(a))));
}
template <class T>
std::size_t conv_input_workspace(const ConvSizes& sizes) {
  const ConvSizes s = settled(sizes);
  const ConvInput<T> a{.sizes = s};
  if (is_too_large(s)) return 0;
  if (is_plain(s)) return gemm_workspace(plain_input(a));
  const std::size_t planes = has_planes(s) ? gemm_workspace(planes_input(a)) : 0;
  std::size_t most = larger(planes, workspace_if_dense<T>(Pass::input, s));
  if (prefers_direct(s) || classes(s) > kMostClasses) return most;
  for_each_class(s, [&](const Index(&first)[kSpace]) {
    most = larger(most, workspace_of(GatheredProblem<T>(input_of(a, first))));
    return Status::ok;
  });
  return most;
}
template <class T>
std::size_t conv_weight_workspace(const ConvSizes& sizes) {
  const ConvSizes s = settled(sizes);
  if (is_too_large(s)) return 0;
  const std::size_t dense = workspace_if_dense<T>(Pass::weight, s);
  if (prefers_direct(s)) return larger(dense, weight_direct_workspace<T>(s));
  const Index rows = s.outputs / s.groups, columns = s.inputs / s.groups * s.kernel[0] * s.kernel[1] * s.kernel[2];
  return larger(dense, product_workspace<T>(rows, columns, pixels(s), s.groups, WeightProblem<T>::limits));
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
  offer(tables, kConv<float16>);
}

}  // namespace dd2424::cuda
