#include "cuda/conv_few.h"

#include "cuda/cooperative.h"
#include "cuda/pack.h"

namespace dd2424::cuda {
namespace {

// A block makes a tile of y: a warp has lines of 32 pixels, a thread one of them in each of its lines. What the tile
// meets of x stands in shared memory, some channels at a time, and so do their weights.
constexpr int kFewThreads = 128, kLines = 4, kHigh = kFewThreads / kWarp * kLines, kWide = kWarp;
constexpr int kSome = 16, kPixel = kSome + 4;  // channels at a time; of a pixel, so that neighbours are in other banks
constexpr int kFour = 4;                       // channels that are read together

struct FewTile {
  int high, wide;        // pixels of x
  int first_h, first_w;  // beside those that the first pixel of y meets
  int across, down;      // tiles of y
  bool has_fours;        // channels can be loaded four at a time
};
template <class T>
FewTile few_tile(const Correlation<T>& c) {
  const auto reach = [](const Axis& axis) { return (axis.taps > 0 ? axis.taps - 1 : 0) * axis.tap_step; };
  const int h = reach(c.axes[1]), w = reach(c.axes[2]);
  FewTile tile{.high = kHigh + (h < 0 ? -h : h), .wide = kWide + (w < 0 ? -w : w)};
  tile.first_h = c.axes[1].at + (h < 0 ? h : 0), tile.first_w = c.axes[2].at + (w < 0 ? w : 0);
  tile.across = narrow(ceil_div(c.axes[2].out, kWide)), tile.down = narrow(ceil_div(c.axes[1].out, kHigh));
  tile.has_fours = c.x_at.channel == 1 && c.inputs % kFour == 0 && can_load(c.x, kFour, c.x_at.image);
  for (int d = 0; d < kSpace; ++d) tile.has_fours = tile.has_fours && can_load(c.x, kFour, c.x_at.pixel[d]);
  return tile;
}
template <class C>
std::size_t few_bytes(const FewTile& tile, int taps, int outputs) {
  return static_cast<std::size_t>(tile.high * tile.wide * kPixel + taps * outputs * kSome) * sizeof(C);
}

template <class T>
struct FewBlock {
  using C = Computed<T>;
  const Correlation<T>& c;
  const FewTile& tile;
  C *x, *weights;  // shared: (high, wide, kPixel) and (taps, outputs, kSome)
  int top, left;   // in x

  __device__ void load_x(const T* from, Index first) const {  // some channels of one depth of an image
    const int pixels = tile.high * tile.wide, groups = kSome / kFour;
    const bool is_last = c.x_at.channel == 1;
    for (int e = static_cast<int>(threadIdx.x); e < pixels * groups; e += kFewThreads) {
      const int pixel = is_last ? e / groups : e % pixels, group = is_last ? e % groups : e / pixels;
      const int i = pixel / tile.wide, h = top + i, w = left + pixel - i * tile.wide;
      const bool inside = static_cast<unsigned>(h) < static_cast<unsigned>(c.axes[1].image) &&
                          static_cast<unsigned>(w) < static_cast<unsigned>(c.axes[2].image);
      const Index channel = first + group * kFour;
      const T* at = from + channel * c.x_at.channel + h * c.x_at.pixel[1] + w * c.x_at.pixel[2];
      Pack<C, kFour> y{};
      if (inside && tile.has_fours && channel < c.inputs) {
        const auto four = *reinterpret_cast<const Pack<T, kFour>*>(at);
#pragma unroll
        for (int j = 0; j < kFour; ++j) y.of[j] = value(four.of[j]);
      } else if (inside) {
#pragma unroll
        for (int j = 0; j < kFour; ++j)
          if (channel + j < c.inputs) y.of[j] = value(at[j * c.x_at.channel]);
      }
      *reinterpret_cast<Pack<C, kFour>*>(x + pixel * kPixel + group * kFour) = y;
    }
  }
  template <int outputs>
  __device__ void load_weights(int depth, Index first) const {
    const Axis &d = c.axes[0], &h = c.axes[1], &w = c.axes[2];
    const T* from = c.weight + (d.q + depth * d.q_step) * c.weight_tap[0];
    for (int e = static_cast<int>(threadIdx.x); e < h.taps * w.taps * outputs * kSome; e += kFewThreads) {
      const int some = e % kSome, output = e / kSome % outputs, tap = e / kSome / outputs;
      const int jh = tap / w.taps, jw = tap - jh * w.taps;
      const Index channel = first + some;
      const T* at = from + (h.q + jh * h.q_step) * c.weight_tap[1] + (w.q + jw * w.q_step) * c.weight_tap[2] +
                    output * c.weight_output + channel * c.weight_input;
      weights[e] = channel < c.inputs ? value(*at) : C(0);
    }
  }
  template <int outputs>
  __device__ void multiply(C (&sums)[kLines][outputs]) const {
    const Axis &h = c.axes[1], &w = c.axes[2];
    const int line = static_cast<int>(threadIdx.x) / kWarp * kLines, column = static_cast<int>(threadIdx.x) % kWarp;
    const C* weight = weights;
    for (int jh = 0; jh < h.taps; ++jh)
      for (int jw = 0; jw < w.taps; ++jw, weight += outputs * kSome) {
        const int i = line + (h.tap_step < 0 ? h.taps - 1 - jh : jh) * (h.tap_step < 0 ? -h.tap_step : h.tap_step);
        const int k = column + (w.tap_step < 0 ? w.taps - 1 - jw : jw) * (w.tap_step < 0 ? -w.tap_step : w.tap_step);
        const C* at = x + (i * tile.wide + k) * kPixel;
#pragma unroll
        for (int some = 0; some < kSome; some += kFour) {
          Pack<C, kFour> factors[outputs];
#pragma unroll
          for (int o = 0; o < outputs; ++o)
            factors[o] = *reinterpret_cast<const Pack<C, kFour>*>(weight + o * kSome + some);
#pragma unroll
          for (int r = 0; r < kLines; ++r) {
            const auto four = *reinterpret_cast<const Pack<C, kFour>*>(at + r * tile.wide * kPixel + some);
#pragma unroll
            for (int o = 0; o < outputs; ++o)
#pragma unroll
              for (int j = 0; j < kFour; ++j) sums[r][o] = fma(factors[o].of[j], four.of[j], sums[r][o]);
          }
        }
      }
  }
};

template <class T, int outputs>
__global__ void __launch_bounds__(kFewThreads) correlate_few_kernel(Correlation<T> c, FewTile tile, Index items) {
  using C = Computed<T>;
  auto* shared = reinterpret_cast<C*>(asked_shared());
  const Axis &depth = c.axes[0], &height = c.axes[1], &width = c.axes[2];
  const int line = static_cast<int>(threadIdx.x) / kWarp * kLines, column = static_cast<int>(threadIdx.x) % kWarp;
  for (Index item = blockIdx.x; item < items; item += gridDim.x) {
    Index rest = quotient(item, tile.across);
    const int left = static_cast<int>(item - rest * tile.across) * kWide;
    const Index after = quotient(rest, tile.down);
    const int top = static_cast<int>(rest - after * tile.down) * kHigh;
    const Index image = quotient(after, depth.out);
    const int d = static_cast<int>(after - image * depth.out);
    const FewBlock<T> block{c,
                            tile,
                            shared,
                            shared + tile.high * tile.wide * kPixel,
                            top * height.step + tile.first_h,
                            left * width.step + tile.first_w};
    C sums[kLines][outputs] = {};
    for (int jd = 0; jd < depth.taps; ++jd) {
      const int met = d * depth.step + jd * depth.tap_step + depth.at;
      if (static_cast<unsigned>(met) >= static_cast<unsigned>(depth.image)) continue;
      for (Index first = 0; first < c.inputs; first += kSome) {
        __syncthreads();
        block.load_x(c.x + image * c.x_at.image + met * c.x_at.pixel[0], first);
        block.template load_weights<outputs>(jd, first);
        __syncthreads();
        block.template multiply<outputs>(sums);
      }
    }
    T* y = c.y + image * c.y_at.image + (depth.origin + d * depth.apart) * c.y_at.pixel[0];
#pragma unroll
    for (int r = 0; r < kLines; ++r) {
      const int h = top + line + r, w = left + column;
      if (h >= height.out || w >= width.out) continue;
      T* at =
          y + (height.origin + h * height.apart) * c.y_at.pixel[1] + (width.origin + w * width.apart) * c.y_at.pixel[2];
#pragma unroll
      for (int o = 0; o < outputs; ++o) {
        C sum = sums[r][o];
        if (c.bias) sum += c.bias[o];
        at[o * c.y_at.channel] = element<T>(c.relu && sum < 0 ? C(0) : sum);
      }
    }
  }
}

template <class T, int outputs>
Status run_few(const Context& context, const Correlation<T>& c) {
  const FewTile tile = few_tile(c);
  const Index items = c.batch * c.axes[0].out * tile.across * tile.down;
  if (items == 0) return Status::ok;
  constexpr Index most = Index{1} << 30;
  return launch_asking(context, dim3(static_cast<unsigned>(items < most ? items : most)), dim3(kFewThreads),
                       few_bytes<Computed<T>>(tile, c.axes[1].taps * c.axes[2].taps, outputs), false,
                       correlate_few_kernel<T, outputs>, c, tile, items);
}

}  // namespace

template <class T>
bool has_few_outputs(const Correlation<T>& c) {
  if (c.groups != 1 || c.outputs > kFew || c.inputs < 2 * kFour) return false;
  for (const Axis& axis : c.axes)
    if (axis.step != 1 || axis.taps > 16 || axis.tap_step < -2 || axis.tap_step > 2) return false;
  const FewTile tile = few_tile(c);  // not mostly beyond the image
  const Index tiled = Index{tile.across} * kWide * tile.down * kHigh, has = Index{c.axes[1].out} * c.axes[2].out;
  const std::size_t bytes = few_bytes<Computed<T>>(tile, c.axes[1].taps * c.axes[2].taps, narrow(c.outputs));
  return tiled <= 4 * has && bytes <= 96 << 10;
}

template <class T>
Status correlate_few(const Context& context, const Correlation<T>& c) {
  switch (c.outputs) {
    case 1: return run_few<T, 1>(context, c);
    case 2: return run_few<T, 2>(context, c);
    case 3: return run_few<T, 3>(context, c);
    default: return run_few<T, 4>(context, c);
  }
}

template bool has_few_outputs(const Correlation<float>&);
template bool has_few_outputs(const Correlation<bfloat16>&);
template bool has_few_outputs(const Correlation<float16>&);
template Status correlate_few(const Context&, const Correlation<float>&);
template Status correlate_few(const Context&, const Correlation<bfloat16>&);
template Status correlate_few(const Context&, const Correlation<float16>&);

}  // namespace dd2424::cuda
