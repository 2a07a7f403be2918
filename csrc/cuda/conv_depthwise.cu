#include "cuda/conv_depthwise.h"

#include "cuda/conv_units.h"
#include "cuda/gemm_product.h"
#include "cuda/pack.h"

namespace dd2424::cuda {
namespace {

template <class T>
using UnitPack = Pack<T, kChunk<T>>;
template <class T>
__device__ UnitPack<T> load_unit(const T* p) {
  return *reinterpret_cast<const UnitPack<T>*>(p);
}

constexpr int kAlong = 4;  // pixels of a thread, neighbours in a line

struct DepthwisePlaces {
  Divisor units, runs, height, depth;
};
template <class T>
__global__ void __launch_bounds__(kThreads)
    depthwise_kernel(Correlation<T> c, DepthwisePlaces places, const T* weight, Index count) {
  constexpr int unit = kChunk<T>;
  const Axis &depth = c.axes[0], &height = c.axes[1], &width = c.axes[2];
  for_each_item(count, [&](Index i) {
    const int number = static_cast<int>(i), run = places.units.quotient(number);
    const int channel = (number - run * places.units.by) * unit, line = places.runs.quotient(run);
    const int first = (run - line * places.runs.by) * kAlong, slab = places.height.quotient(line);
    const int h = line - slab * places.height.by, image = places.depth.quotient(slab), d = slab - image * depth.out;
    const T* x = c.x + image * c.x_at.image + channel;
    float sums[kAlong][unit] = {};
    for (int jd = 0; jd < depth.taps; ++jd)
      for (int jh = 0; jh < height.taps; ++jh) {
        const int at_d = d * depth.step + jd * depth.tap_step + depth.at;
        const int at_h = h * height.step + jh * height.tap_step + height.at;
        if (static_cast<unsigned>(at_d) >= static_cast<unsigned>(depth.image) ||
            static_cast<unsigned>(at_h) >= static_cast<unsigned>(height.image))
          continue;
        const T* from = x + at_d * c.x_at.pixel[0] + at_h * c.x_at.pixel[1];
        const Index tap = (depth.q + jd * depth.q_step) * c.weight_tap[0] +
                          (height.q + jh * height.q_step) * c.weight_tap[1] + width.q;
#pragma unroll 1
        for (int jw = 0; jw < width.taps; ++jw) {
          const auto factors = load_unit(weight + (tap + jw * width.q_step) * c.groups + channel);
          UnitPack<T> met[kAlong];
#pragma unroll
          for (int r = 0; r < kAlong; ++r) {
            const int w = (first + r) * width.step + jw * width.tap_step + width.at;
            met[r] = static_cast<unsigned>(w) < static_cast<unsigned>(width.image)
                         ? load_unit(from + w * c.x_at.pixel[2])
                         : UnitPack<T>{};
          }
#pragma unroll
          for (int r = 0; r < kAlong; ++r)
#pragma unroll
            for (int j = 0; j < unit; ++j) sums[r][j] = fma(value(factors.of[j]), value(met[r].of[j]), sums[r][j]);
        }
      }
    T* y = c.y + image * c.y_at.image + channel + (depth.origin + d * depth.apart) * c.y_at.pixel[0] +
           (height.origin + h * height.apart) * c.y_at.pixel[1];
#pragma unroll
    for (int r = 0; r < kAlong; ++r) {
      if (first + r >= width.out) continue;
      UnitPack<T> made;
#pragma unroll
      for (int j = 0; j < unit; ++j) {
        float sum = sums[r][j];
        if (c.bias) sum += c.bias[channel + j];
        made.of[j] = element<T>(c.relu && sum < 0 ? 0.0f : sum);
      }
      *reinterpret_cast<UnitPack<T>*>(y + (width.origin + (first + r) * width.apart) * c.y_at.pixel[2]) = made;
    }
  });
}

// The gradient of the filters: the threads of a block share the pixels of its chunk and units of channels, and each has
// the sums of some taps.
constexpr int kSomeTaps = 9;
struct TapPlaces {
  int by[kSpace], kernel[kSpace], count;  // of all taps
};
template <class T>
__global__ void __launch_bounds__(kThreads) depthwise_weight_kernel(Surroundings<T> x, const T* dy, TapPlaces taps,
                                                                    int across, int units, int chunk, float* partial) {
  constexpr int unit = kChunk<T>;
  __shared__ float shared[kThreads][unit + 1];
  const int thread = static_cast<int>(threadIdx.x), lane = thread % across, sharers = kThreads / across;
  const int u = static_cast<int>(blockIdx.x) * across + lane, first_tap = static_cast<int>(blockIdx.y) * kSomeTaps;
  const int channels = units * unit, begin = static_cast<int>(blockIdx.z) * chunk;
  const int end = begin + chunk < x.pixels ? begin + chunk : x.pixels;
  typename Surroundings<T>::Row row[kSomeTaps];
#pragma unroll
  for (int t = 0; t < kSomeTaps; ++t) {
    int tap = first_tap + t;
    row[t] = {.offset = 0, .tap = {tap < taps.count && u < units ? 0 : kOutside, 0, 0}};
    if (row[t].tap[0] == kOutside) continue;
#pragma unroll
    for (int d = kSpace - 1; d >= 0; --d) {
      const int rest = tap / taps.kernel[d];
      row[t].tap[d] = (tap - rest * taps.kernel[d]) * taps.by[d];
      row[t].offset += row[t].tap[d] * x.pixel_step[d];
      tap = rest;
    }
  }
  float sums[kSomeTaps][unit] = {};
#pragma unroll 1
  for (int p = begin + thread / across; p < end && u < units; p += sharers) {
    const auto step = x.step(p);
    const auto slope = load_unit(dy + static_cast<Index>(p) * channels + u * unit);
    UnitPack<T> met[kSomeTaps];
#pragma unroll
    for (int t = 0; t < kSomeTaps; ++t)
      met[t] = x.inside(row[t], step) ? load_unit(x.data + x.offset(row[t], step) + u * unit) : UnitPack<T>{};
#pragma unroll
    for (int t = 0; t < kSomeTaps; ++t)
#pragma unroll
      for (int j = 0; j < unit; ++j) sums[t][j] = fma(value(slope.of[j]), value(met[t].of[j]), sums[t][j]);
  }
#pragma unroll
  for (int t = 0; t < kSomeTaps; ++t) {
    __syncthreads();
#pragma unroll
    for (int j = 0; j < unit; ++j) shared[thread][j] = sums[t][j];
    __syncthreads();
    for (int e = thread; e < across * unit; e += kThreads) {
      const int of = e / unit, j = e - of * unit, channel = (static_cast<int>(blockIdx.x) * across + of) * unit + j;
      float sum = 0;
      for (int i = 0; i < sharers; ++i) sum += shared[of + i * across][j];
      if (channel < channels && first_tap + t < taps.count)
        partial[(static_cast<Index>(blockIdx.z) * taps.count + first_tap + t) * channels + channel] = sum;
    }
  }
}
template <class T>
__global__ void add_depthwise_kernel(const float* partial, Index chunks, Index taps, Index channels, T* dweight) {
  for_each_item(taps * channels, [&](Index i) {
    float sum = 0;
#pragma unroll 8
    for (Index chunk = 0; chunk < chunks; ++chunk) sum += partial[chunk * taps * channels + i];
    const Index tap = quotient(i, channels);
    dweight[(i - tap * channels) * taps + tap] = element<T>(sum);
  });
}

Index taps_of(const ConvSizes& s) { return s.kernel[0] * s.kernel[1] * s.kernel[2]; }
Index out_pixels(const ConvSizes& s) { return s.batch * s.out[0] * s.out[1] * s.out[2]; }
template <class T>
int units_across(const ConvSizes& s) {
  int across = 1;
  while (across < kWarp && across * kChunk<T> < s.groups) across *= 2;
  return across;
}
constexpr Index kDepthwiseBlocks = 1024, kLeastPixels = 256, kMostPixels = 4096;
template <class T>
Index chunk_of(const ConvSizes& s) {  // pixels of a block
  const Index pixels = out_pixels(s), blocks = ceil_div(s.groups, units_across<T>(s) * kChunk<T>);
  const Index chunk = ceil_div(pixels, ceil_div(kDepthwiseBlocks, blocks));
  return chunk < kLeastPixels ? kLeastPixels : chunk < kMostPixels ? chunk : kMostPixels;
}

}  // namespace

template <class T>
bool is_depthwise(const ConvSizes& s, std::initializer_list<const void*> images) {
  constexpr Index most = Index{1} << 29;
  bool is = s.groups > 1 && s.inputs == s.groups && s.outputs == s.groups && s.groups % kChunk<T> == 0;
  is = is && s.x_format == Format::channels_last && s.y_format == Format::channels_last && are_aligned(images);
  const Index of_x = s.image[0] * s.image[1] * s.image[2];
  if (!is || of_x == 0 || out_pixels(s) == 0) return false;
  for (int d = 0; d < kSpace; ++d)
    if (s.padding[d] >= 1 << 15 || s.dilation[d] >= 1 << 15 || s.stride[d] >= 1 << 15 || s.kernel[d] >= 1 << 10)
      return false;
  const Index largest = most / s.groups;
  return s.batch * of_x < largest && out_pixels(s) < largest && taps_of(s) < largest && s.groups < 1 << 20;
}
template <class T>
std::size_t depthwise_workspace(const ConvSizes& s) {
  return static_cast<std::size_t>(taps_of(s) * s.groups) * sizeof(T);
}
template <class T>
std::size_t depthwise_weight_workspace(const ConvSizes& s) {
  return static_cast<std::size_t>(ceil_div(out_pixels(s), chunk_of<T>(s)) * taps_of(s) * s.groups) * sizeof(float);
}

template <class T>
Status arrange_depthwise(const Context& context, const ConvSizes& s, const T* weight) {
  const Images filters{.batch = 1, .channels = s.groups, .pixels = taps_of(s), .is_last = false};
  return to_units(context, filters, weight, static_cast<T*>(context.workspace));
}
template <class T>
Status correlate_depthwise(const Context& context, const Correlation<T>& c) {
  const Index units = c.groups / kChunk<T>, runs = ceil_div(c.axes[2].out, kAlong);
  const Index count = c.batch * c.axes[0].out * c.axes[1].out * runs * units;
  if (count == 0) return Status::ok;
  const DepthwisePlaces places{Divisor(units), Divisor(runs), Divisor(c.axes[1].out), Divisor(c.axes[0].out)};
  return launch_items(context, count, depthwise_kernel<T>, c, places, static_cast<const T*>(context.workspace), count);
}
template <class T>
Status weight_depthwise(const Context& context, const ConvWeight<T>& a) {
  const ConvSizes& s = a.sizes;
  const Surroundings<T> x(a.x, s, Layout(s.x_format, s.inputs, s.image));
  TapPlaces taps{.count = narrow(taps_of(s))};
  for (int d = 0; d < kSpace; ++d) taps.by[d] = narrow(s.dilation[d]), taps.kernel[d] = narrow(s.kernel[d]);
  const int across = units_across<T>(s), units = narrow(s.groups / kChunk<T>);
  const Index chunk = chunk_of<T>(s), chunks = ceil_div(out_pixels(s), chunk);
  auto* partial = static_cast<float*>(context.workspace);
  const dim3 blocks(static_cast<unsigned>(ceil_div(units, across)),
                    static_cast<unsigned>(ceil_div(taps.count, kSomeTaps)), static_cast<unsigned>(chunks));
  const Status status = launch(context, blocks, dim3(kThreads), depthwise_weight_kernel<T>, x, a.dy, taps, across,
                               units, narrow(chunk), partial);
  if (status != Status::ok) return status;
  return launch_items(context, taps.count * s.groups, add_depthwise_kernel<T>, static_cast<const float*>(partial),
                      chunks, Index{taps.count}, s.groups, a.dweight);
}

template bool is_depthwise<float>(const ConvSizes&, std::initializer_list<const void*>);
template bool is_depthwise<bfloat16>(const ConvSizes&, std::initializer_list<const void*>);
template bool is_depthwise<float16>(const ConvSizes&, std::initializer_list<const void*>);
template std::size_t depthwise_workspace<float>(const ConvSizes&);
template std::size_t depthwise_workspace<bfloat16>(const ConvSizes&);
template std::size_t depthwise_workspace<float16>(const ConvSizes&);
template std::size_t depthwise_weight_workspace<float>(const ConvSizes&);
template std::size_t depthwise_weight_workspace<bfloat16>(const ConvSizes&);
template std::size_t depthwise_weight_workspace<float16>(const ConvSizes&);
template Status arrange_depthwise(const Context&, const ConvSizes&, const float*);
template Status arrange_depthwise(const Context&, const ConvSizes&, const bfloat16*);
template Status arrange_depthwise(const Context&, const ConvSizes&, const float16*);
template Status correlate_depthwise(const Context&, const Correlation<float>&);
template Status correlate_depthwise(const Context&, const Correlation<bfloat16>&);
template Status correlate_depthwise(const Context&, const Correlation<float16>&);
template Status weight_depthwise(const Context&, const ConvWeight<float>&);
template Status weight_depthwise(const Context&, const ConvWeight<bfloat16>&);
template Status weight_depthwise(const Context&, const ConvWeight<float16>&);

}  // namespace dd2424::cuda
