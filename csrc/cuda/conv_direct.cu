#include "cuda/conv_direct.h"

#include "cuda/gemm_product.h"

namespace dd2424::cuda {
namespace {

// A pixel of a channel of a batch of images. Neighbouring numbers are neighbours in memory.
struct Place {
  Index image;
  int channel, pixel[kSpace];
};
__device__ inline int take_digit(Index& number, Index count) {
  const Index rest = quotient(number, count), digit = number - rest * count;
  number = rest;
  return static_cast<int>(digit);
}
__device__ inline Place place_of(Index number, Index channels, Index depth, Index height, Index width, bool is_last) {
  Place at{};
  if (is_last) at.channel = take_digit(number, channels);
  at.pixel[2] = take_digit(number, width);
  at.pixel[1] = take_digit(number, height);
  at.pixel[0] = take_digit(number, depth);
  if (!is_last) at.channel = take_digit(number, channels);
  at.image = number;
  return at;
}

template <class T>
__device__ void write(T* y, Computed<T> sum, const Accumulator<T>* bias, Index channel, bool relu) {
  if (bias) sum += bias[channel];
  *y = element<T>(relu && sum < 0 ? Computed<T>(0) : sum);
}

__device__ inline bool is_within(int i, int count) { return static_cast<unsigned>(i) < static_cast<unsigned>(count); }

constexpr int kRun = 4;  // pixels of a thread, for which it reads a weight once; a quarter of a line apart

template <class T>
__global__ void __launch_bounds__(kThreads) correlate_kernel(Correlation<T> c, int runs, Index count) {
  const Axis &depth = c.axes[0], &height = c.axes[1], &width = c.axes[2];
  for_each_item(count, [&](Index i) {
    const Place at = place_of(i, c.groups * c.outputs, depth.out, height.out, runs, c.y_at.channel == 1);
    const Index group = quotient(at.channel, c.outputs);
    const T* x = c.x + at.image * c.x_at.image + group * c.inputs * c.x_at.channel;
    const T* weight = c.weight + group * c.weight_group + (at.channel - group * c.outputs) * c.weight_output;
    Computed<T> sums[kRun] = {};
    for (Index input = 0; input < c.inputs; ++input)
      for (int jd = 0; jd < depth.taps; ++jd)
#pragma unroll 1
        for (int jh = 0; jh < height.taps; ++jh) {
          const int d = at.pixel[0] * depth.step + jd * depth.tap_step + depth.at;
          const int h = at.pixel[1] * height.step + jh * height.tap_step + height.at;
          if (!is_within(d, depth.image) || !is_within(h, height.image)) continue;
          const T* line = x + input * c.x_at.channel + d * c.x_at.pixel[0] + h * c.x_at.pixel[1];
          const T* tap = weight + input * c.weight_input + (depth.q + jd * depth.q_step) * c.weight_tap[0] +
                         (height.q + jh * height.q_step) * c.weight_tap[1] + width.q * c.weight_tap[2];
          int first = at.pixel[2] * width.step + width.at;
#pragma unroll 1
          for (int jw = 0; jw < width.taps; ++jw, first += width.tap_step, tap += width.q_step * c.weight_tap[2]) {
            const Computed<T> factor = value(*tap);
#pragma unroll
            for (int r = 0; r < kRun; ++r) {
              const int w = first + r * runs * width.step;
              if (is_within(w, width.image)) sums[r] = fma(factor, value(line[w * c.x_at.pixel[2]]), sums[r]);
            }
          }
        }
    T* y = c.y + at.image * c.y_at.image + at.channel * c.y_at.channel +
           (depth.origin + at.pixel[0] * depth.apart) * c.y_at.pixel[0] +
           (height.origin + at.pixel[1] * height.apart) * c.y_at.pixel[1];
#pragma unroll
    for (int r = 0; r < kRun; ++r) {
      const int w = at.pixel[2] + r * runs;
      if (w >= width.out) continue;
      write(y + (width.origin + w * width.apart) * c.y_at.pixel[2], sums[r], c.bias, at.channel, c.relu);
    }
  });
}

// dx[r] = bias + the sum over outputs and taps q of the group's weights times dy[(r + padding - q * dilation) /
// stride], where that is a pixel.
template <class T>
__global__ void input_kernel(ConvInput<T> a, Layout x_at, Layout y_at, WeightLayout weight_at, Index count) {
  const ConvSizes& s = a.sizes;
  const Index inputs = quotient(s.inputs, s.groups), outputs = quotient(s.outputs, s.groups);
  const auto met = [&](Index r, Index q, int d) {
    const Index shifted = r + s.padding[d] - q * s.dilation[d];
    const Index p = shifted < 0 ? -1 : quotient(shifted, s.stride[d]);
    return p * s.stride[d] == shifted && p < s.out[d] ? p : -1;
  };
  for_each_item(count, [&](Index i) {
    const Place at = place_of(i, s.inputs, s.image[0], s.image[1], s.image[2], x_at.channel == 1);
    const Index group = quotient(at.channel, inputs);
    const T* dy = a.dy + at.image * y_at.image + group * outputs * y_at.channel;
    const T* weight = a.weight + group * outputs * weight_at.output + (at.channel - group * inputs) * weight_at.input;
    Computed<T> sum = 0;
    for (Index qd = 0; qd < s.kernel[0]; ++qd)
      for (Index qh = 0; qh < s.kernel[1]; ++qh)
        for (Index qw = 0; qw < s.kernel[2]; ++qw) {
          const Index d = met(at.pixel[0], qd, 0), h = met(at.pixel[1], qh, 1), w = met(at.pixel[2], qw, 2);
          if (d < 0 || h < 0 || w < 0) continue;
          const T* from = dy + d * y_at.pixel[0] + h * y_at.pixel[1] + w * y_at.pixel[2];
          const T* tap = weight + qd * weight_at.tap[0] + qh * weight_at.tap[1] + qw * weight_at.tap[2];
          for (Index o = 0; o < outputs; ++o)
            sum = fma(value(tap[o * weight_at.output]), value(from[o * y_at.channel]), sum);
        }
    T* dx = a.dx + at.image * x_at.image + at.channel * x_at.channel;
    for (int d = 0; d < kSpace; ++d) dx += at.pixel[d] * x_at.pixel[d];
    write(dx, sum, a.bias, at.channel, a.relu);
  });
}

// Of the first `across` threads, each has the sum of what it and those that many further on bring.
template <class C>
__device__ C sum_over_sharers(C mine, int across) {
  __shared__ C first[kThreads], second[kWarp];
  const int thread = static_cast<int>(threadIdx.x), kept = across < 16 ? 16 : across;
  first[thread] = mine;
  __syncthreads();
  C sum = 0;
  for (int i = thread; thread < kept && i < kThreads; i += kept) sum += first[i];
  if (thread < kept) second[thread] = sum;
  __syncthreads();
  if (kept == across) return sum;
  sum = 0;
  for (int i = thread; thread < across && i < kept; i += across) sum += second[i];
  return sum;
}

// A block makes the gradients of one tap and input for some outputs, over a chunk of the pixels of all images. Its
// threads share the pixels, and the outputs too where these lie side by side.
template <class T>
__global__ void weight_kernel(ConvWeight<T> a, Layout x_at, Layout y_at, Cut cut, int across, Computed<T>* partial) {
  const ConvSizes& s = a.sizes;
  const Index inputs = quotient(s.inputs, s.groups), outputs = quotient(s.outputs, s.groups);
  const Index taps = s.kernel[0] * s.kernel[1] * s.kernel[2], columns = inputs * taps;
  const int thread = static_cast<int>(threadIdx.x), lane = thread % across, sharers = kThreads / across;
  const Index output = static_cast<Index>(blockIdx.x) * across + lane,
              pixels = s.batch * s.out[0] * s.out[1] * s.out[2];
  const Index begin = blockIdx.z * cut.size, end = begin + cut.size < pixels ? begin + cut.size : pixels;
  for (Index column = blockIdx.y; column < columns; column += gridDim.y) {
    Index tap = quotient(column, inputs);
    const Index input = column - tap * inputs;
    Index shift[kSpace];
    for (int d = kSpace - 1; d >= 0; --d) shift[d] = take_digit(tap, s.kernel[d]) * s.dilation[d] - s.padding[d];
    Computed<T> sum = 0;
    if (output < s.outputs) {
      const T* x = a.x + (quotient(output, outputs) * inputs + input) * x_at.channel;
      const T* dy = a.dy + output * y_at.channel;
      for (Index number = begin + thread / across; number < end; number += sharers) {
        const Place p = place_of(number, 1, s.out[0], s.out[1], s.out[2], true);
        bool inside = true;
        Index from = p.image * x_at.image, at = p.image * y_at.image;
        for (int d = 0; d < kSpace; ++d) {
          const Index met = p.pixel[d] * s.stride[d] + shift[d];
          inside = inside && met >= 0 && met < s.image[d];
          from += met * x_at.pixel[d], at += p.pixel[d] * y_at.pixel[d];
        }
        if (inside) sum = fma(value(dy[at]), value(x[from]), sum);
      }
    }
    sum = sum_over_sharers(sum, across);
    if (thread < across && output < s.outputs) partial[(blockIdx.z * s.outputs + output) * columns + column] = sum;
  }
}
template <class T>
__global__ void add_weight_chunks(Index chunks, Index outputs, Index inputs, Index taps, bool is_last,
                                  const Computed<T>* partial, T* dweight) {
  for_each_item(outputs * inputs * taps, [&](Index i) {
    Computed<T> sum = 0;
    for (Index chunk = 0; chunk < chunks; ++chunk) sum += partial[chunk * outputs * inputs * taps + i];
    Index rest = i;
    const Index input = take_digit(rest, inputs), tap = take_digit(rest, taps);
    dweight[is_last ? i : (rest * inputs + input) * taps + tap] = element<T>(sum);
  });
}

int outputs_across(const ConvSizes& s) { return s.y_format == Format::channels_last ? kWarp : 1; }
Index columns_of(const ConvSizes& s) { return s.inputs / s.groups * s.kernel[0] * s.kernel[1] * s.kernel[2]; }
Cut weight_cut(const ConvSizes& s) {
  const Index blocks = ceil_div(s.outputs, outputs_across(s)) * columns_of(s);
  return cut_of(ceil_div(blocks, 8), s.batch * s.out[0] * s.out[1] * s.out[2]);
}

}  // namespace

template <class T>
Status correlate_direct(const Context& context, const Correlation<T>& c) {
  const int runs = narrow(ceil_div(c.axes[2].out, kRun));
  const Index count = c.batch * c.groups * c.outputs * c.axes[0].out * c.axes[1].out * runs;
  return count == 0 ? Status::ok : launch_items(context, count, correlate_kernel<T>, c, runs, count);
}

template <class T>
Status input_by_pixels(const Context& context, const ConvInput<T>& a) {
  const ConvSizes& s = a.sizes;
  const Index count = s.batch * s.inputs * s.image[0] * s.image[1] * s.image[2];
  const Layout x_at(s.x_format, s.inputs, s.image), y_at(s.y_format, s.outputs, s.out);
  return launch_items(context, count, input_kernel<T>, a, x_at, y_at, WeightLayout(s), count);
}

template <class T>
Status weight_direct(const Context& context, const ConvWeight<T>& a) {
  const ConvSizes& s = a.sizes;
  const Cut cut = weight_cut(s);
  const Index columns = columns_of(s), across = outputs_across(s);
  const Layout x_at(s.x_format, s.inputs, s.image), y_at(s.y_format, s.outputs, s.out);
  auto* partial = static_cast<Computed<T>*>(context.workspace);
  const dim3 blocks(static_cast<unsigned>(ceil_div(s.outputs, across)),
                    static_cast<unsigned>(columns < kMostAlong ? columns : kMostAlong),
                    static_cast<unsigned>(cut.chunks));
  const Status status =
      launch(context, blocks, dim3(kThreads), weight_kernel<T>, a, x_at, y_at, cut, static_cast<int>(across), partial);
  if (status != Status::ok) return status;
  const Index inputs = s.inputs / s.groups;
  return launch_items(context, s.outputs * columns, add_weight_chunks<T>, cut.chunks, s.outputs, inputs,
                      columns / inputs, s.weight_format == Format::channels_last,
                      static_cast<const Computed<T>*>(partial), a.dweight);
}
template <class T>
std::size_t weight_direct_workspace(const ConvSizes& s) {
  return static_cast<std::size_t>(weight_cut(s).chunks * s.outputs * columns_of(s)) * sizeof(Computed<T>);
}

template Status correlate_direct(const Context&, const Correlation<float>&);
template Status correlate_direct(const Context&, const Correlation<double>&);
template Status correlate_direct(const Context&, const Correlation<bfloat16>&);
template Status correlate_direct(const Context&, const Correlation<float16>&);
template Status input_by_pixels(const Context&, const ConvInput<float>&);
template Status input_by_pixels(const Context&, const ConvInput<double>&);
template Status input_by_pixels(const Context&, const ConvInput<bfloat16>&);
template Status input_by_pixels(const Context&, const ConvInput<float16>&);
template Status weight_direct(const Context&, const ConvWeight<float>&);
template Status weight_direct(const Context&, const ConvWeight<double>&);
template Status weight_direct(const Context&, const ConvWeight<bfloat16>&);
template Status weight_direct(const Context&, const ConvWeight<float16>&);
template std::size_t weight_direct_workspace<float>(const ConvSizes&);
template std::size_t weight_direct_workspace<double>(const ConvSizes&);
template std::size_t weight_direct_workspace<bfloat16>(const ConvSizes&);
template std::size_t weight_direct_workspace<float16>(const ConvSizes&);

}  // namespace dd2424::cuda
