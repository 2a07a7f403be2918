#pragma once
#include <math.h>

#include "core/resample.h"
#include "cuda/launch.h"

// Images at the places of a grid, as in cpu/resample_grid_taps.h: which pixels, with which weights, by dimension.
namespace dd2424::cuda {
namespace {

constexpr int kMostTaps = 4;       // along one dimension
constexpr int kMostProducts = 16;  // 4 * 4, or 2 * 2 * 2
constexpr int kSpace = GridSizes::kSpace;

// A coordinate in pixels and its derivative by the grid's.
template <class T>
struct Pixel {
  T at, slope;
};
template <class T>
__device__ inline Pixel<T> to_pixels(T grid, Index size, bool align_corners) {
  const T n = static_cast<T>(size);
  if (align_corners) return {(grid + T(1)) / T(2) * (n - 1), (n - 1) / 2};
  return {((grid + T(1)) * n - T(1)) / T(2), n / 2};
}
template <class T>
__device__ inline Pixel<T> clipped(const Pixel<T>& p, Index size) {  // not a number is 0
  const T most = static_cast<T>(size - 1);
  if (!(p.at > 0)) return {T(0), T(0)};
  return p.at < most ? p : Pixel<T>{most, T(0)};
}
// Mirrored about the centres of the border's pixels, or about their outer sides, as often as it takes.
template <class T>
__device__ inline Pixel<T> reflected(const Pixel<T>& p, Index size, bool align_corners) {
  const T low = align_corners ? T(0) : T(-0.5), span = static_cast<T>(align_corners ? size - 1 : size);
  if (span == 0) return {T(0), T(0)};
  const T from = p.at - low, distance = from < 0 ? -from : from, flips = floor(distance / span);
  const T rest = fma(-flips, span, distance);
  const bool is_even = floor(flips / 2) * 2 == flips;
  return {is_even ? rest + low : span - rest + low, (from < 0) == is_even ? -p.slope : p.slope};
}
template <class T>
__device__ inline Pixel<T> padded(const Pixel<T>& p, Index size, const GridSizes& s) {
  if (s.padding == GridPadding::zeros) return p;
  return clipped(s.padding == GridPadding::border ? p : reflected(p, size, s.align_corners), size);
}

// Derivatives of Keys' cubic kernel with slope -3/4, up to the third: for distances below 1, and below 2.
template <class T>
__device__ inline T near_cubic(T x, int order) {
  constexpr T a = T(-0.75);
  if (order == 0) return ((a + 2) * x - (a + 3)) * x * x + T(1);
  if (order == 1) return (3 * (a + 2) * x - 2 * (a + 3)) * x;
  return order == 2 ? 6 * (a + 2) * x - 2 * (a + 3) : order == 3 ? 6 * (a + 2) : T(0);
}
template <class T>
__device__ inline T far_cubic(T x, int order) {
  constexpr T a = T(-0.75);
  if (order == 0) return (((x - T(5)) * x + T(8)) * x - T(4)) * a;
  if (order == 1) return ((T(3) * x - T(10)) * x + T(8)) * a;
  return order == 2 ? (T(6) * x - T(10)) * a : order == 3 ? 6 * a : T(0);
}

// What a coordinate reads along its dimension; what is outside weighs nothing.
template <class T>
struct Taps {
  Index index[kMostTaps];
  T weight[kMostTaps];
  __device__ void put(int tap, T at, Index size, T w) {
    const bool is_inside = at >= 0 && at < static_cast<T>(size);
    index[tap] = is_inside ? static_cast<Index>(at) : 0;
    weight[tap] = is_inside ? w : T(0);
  }
};
template <class T>
__device__ inline void find_taps(Taps<T>& taps, const GridSizes& s, T grid, int d, int order) {
  const Index size = s.image[d];
  const Pixel<T> pixel = to_pixels(grid, size, s.align_corners);
  if (s.kernel == GridKernel::cubic) {
    const T low = floor(pixel.at), t = pixel.at - low;
    T scale = 1;
    for (int i = 0; i < order; ++i) scale *= pixel.slope;
    const T back = order % 2 ? -scale : scale;
    const T weight[] = {scale * far_cubic(T(1) + t, order), scale * near_cubic(t, order),
                        back * near_cubic(T(1) - t, order), back * far_cubic(T(2) - t, order)};
#pragma unroll
    for (int k = 0; k < 4; ++k)
      taps.put(k, padded<T>({low + static_cast<T>(k - 1), T(0)}, size, s).at, size, weight[k]);
    return;
  }
  const Pixel<T> p = padded(pixel, size, s);
  if (s.kernel == GridKernel::nearest) return taps.put(0, rint(p.at), size, T(order == 0));
  const T low = floor(p.at), t = p.at - low, slope = order == 1 ? p.slope : T(0);
  taps.put(0, low, size, order == 0 ? T(1) - t : -slope);
  taps.put(1, low + T(1), size, order == 0 ? t : slope);
}

constexpr int taps_along(GridKernel kernel) {
  return kernel == GridKernel::cubic ? 4 : kernel == GridKernel::linear ? 2 : 1;
}
constexpr int taps_in_all(const GridSizes& s) {
  const int along = taps_along(s.kernel);
  return along * along * (s.space == 3 ? along : 1);
}
constexpr Index product_of(const Index (&sizes)[kSpace]) { return sizes[0] * sizes[1] * sizes[2]; }

// All that place p (of all images) reads: f(tap, index in a plane, weight), by taps.
template <class T, class F>
__device__ inline void for_pixels(const GridSizes& s, const T* grid, Index p, const int* order, const F& f) {
  Taps<T> taps[kSpace];
  const int along = taps_along(s.kernel), deep = s.space == 3 ? along : 1;
  taps[0].index[0] = 0;
  taps[0].weight[0] = 1;
#pragma unroll
  for (int d = 0; d < kSpace; ++d)
    if (d >= kSpace - s.space) find_taps(taps[d], s, grid[p * s.space + kSpace - 1 - d], d, order[d]);
  int t = 0;
  for (int i = 0; i < deep; ++i)
    for (int j = 0; j < along; ++j)
      for (int k = 0; k < along; ++k, ++t)
        f(t, (taps[0].index[i] * s.image[1] + taps[1].index[j]) * s.image[2] + taps[2].index[k],
          taps[0].weight[i] * taps[1].weight[j] * taps[2].weight[k]);
}

template <class T>
__global__ void grid_sample_kernel(GridSample<T> a, Index n) {
  const GridSizes& s = a.sizes;
  const Index places = product_of(s.out), plane = product_of(s.image);
  for_each_item(n, [&](Index i) {  // a place of an image, and a channel
    const Index row = quotient(i, places), image = quotient(row, s.channels);
    T sum = 0;
    for_pixels(s, a.grid, image * places + i - row * places, s.order, [&](int, Index index, T weight) {
      if (weight != 0) sum = fma(weight, a.x[row * plane + index], sum);
    });
    a.y[i] = sum;
  });
}
template <class T>
Status grid_sample(const Context& context, const GridSample<T>& a) {
  const Index n = a.sizes.batch * a.sizes.channels * product_of(a.sizes.out);
  return launch_items(context, n, grid_sample_kernel<T>, a, n);
}

template <class T>
__global__ void grid_gradient_kernel(GridGradient<T> a, Index n) {
  const GridSizes& s = a.sizes;
  const Index places = product_of(s.out), plane = product_of(s.image);
  for_each_item(n * s.space, [&](Index i) {  // a place, and a dimension
    const Index p = quotient(i, s.space), image = quotient(p, places);
    const int d = kSpace - 1 - static_cast<int>(i - p * s.space);
    int order[kSpace];
    for (int e = 0; e < kSpace; ++e) order[e] = s.order[e] + (e == d);
    T sum = 0;
    for_pixels(s, a.grid, p, order, [&](int, Index index, T weight) {
      if (weight == 0) return;
      for (Index c = image * s.channels; c < (image + 1) * s.channels; ++c)
        sum = fma(weight, a.dy[c * places + p - image * places] * a.x[c * plane + index], sum);
    });
    a.dgrid[i] = sum;
  });
}
template <class T>
Status grid_gradient(const Context& context, const GridGradient<T>& a) {
  const Index n = a.sizes.batch * product_of(a.sizes.out);
  return launch_items(context, n * a.sizes.space, grid_gradient_kernel<T>, a, n);
}

}  // namespace
}  // namespace dd2424::cuda
