#pragma once
// Where the places of a grid lie in an image: which pixels, with which weights, by dimension.
#include "core/resample.h"
#include "cpu/resample_pick.h"

namespace dd2424::cpu::DD2424_ISA {
namespace {

constexpr int kMostTaps = 4;  // along one dimension

inline float floor_of(float x) { return __builtin_floorf(x); }
inline double floor_of(double x) { return __builtin_floor(x); }
inline float nearest_of(float x) { return __builtin_nearbyintf(x); }  // halves go to the even number
inline double nearest_of(double x) { return __builtin_nearbyint(x); }

// A coordinate in pixels and its derivative by the grid's.
template <class T>
struct Place {
  T at, slope;
};

template <class T>
inline Place<T> to_pixels(T grid, Index size, bool align_corners) {
  const T n = static_cast<T>(size);
  if (align_corners) return {(grid + 1) / 2 * (n - 1), (n - 1) / 2};
  return {((grid + 1) * n - 1) / 2, n / 2};
}

template <class T>
inline Place<T> clipped(const Place<T>& p, Index size) {  // not a number is 0
  const T most = static_cast<T>(size - 1);
  if (!(p.at > 0)) return {0, 0};
  return p.at < most ? p : Place<T>{most, 0};
}

// Mirrored about the centres of the border's pixels, or about their outer sides, as often as it takes.
template <class T>
inline Place<T> reflected(const Place<T>& p, Index size, bool align_corners) {
  const T low = align_corners ? T(0) : T(-0.5), span = static_cast<T>(align_corners ? size - 1 : size);
  if (span == 0) return {0, 0};
  const T from = p.at - low, distance = from < 0 ? -from : from;
  const T flips = floor_of(distance / span), rest = fma(-flips, span, distance);
  const bool is_even = floor_of(flips / 2) * 2 == flips;
  const T slope = (from < 0) == is_even ? -p.slope : p.slope;
  return {is_even ? rest + low : span - rest + low, slope};
}

template <class T>
inline Place<T> padded(const Place<T>& p, Index size, const GridSizes& s) {
  if (s.padding == GridPadding::zeros) return p;
  return clipped(s.padding == GridPadding::border ? p : reflected(p, size, s.align_corners), size);
}

// Derivatives of Keys' cubic kernel with slope -3/4, up to the third: for distances below 1, and below 2.
template <class T>
inline T near_cubic(T x, int order) {
  constexpr T a = T(-0.75);
  if (order == 0) return ((a + 2) * x - (a + 3)) * x * x + 1;
  if (order == 1) return (3 * (a + 2) * x - 2 * (a + 3)) * x;
  return order == 2 ? 6 * (a + 2) * x - 2 * (a + 3) : order == 3 ? 6 * (a + 2) : T(0);
}
template <class T>
inline T far_cubic(T x, int order) {
  constexpr T a = T(-0.75);
  if (order == 0) return (((x - 5) * x + 8) * x - 4) * a;
  if (order == 1) return ((3 * x - 10) * x + 8) * a;
  return order == 2 ? (6 * x - 10) * a : order == 3 ? 6 * a : T(0);
}

// What one coordinate reads along its dimension; an index of -1 is outside, and weighs nothing.
template <class T>
struct Taps {
  Index index[kMostTaps];
  T weight[kMostTaps];
};

template <class T>
inline Index inside(T at, Index size) {
  return at >= 0 && at < static_cast<T>(size) ? static_cast<Index>(at) : -1;
}

template <class T>
inline Taps<T> taps_of(const GridSizes& s, T grid, int d, int order) {
  const Index size = s.image[d];
  const Place<T> pixel = to_pixels(grid, size, s.align_corners);
  Taps<T> taps;
  T scale = 1;
  if (s.kernel == GridKernel::cubic) {
    const T floor = floor_of(pixel.at), t = pixel.at - floor, sign = order % 2 ? T(-1) : T(1);
    for (int i = 0; i < order; ++i) scale *= pixel.slope;
    taps.weight[0] = scale * far_cubic(1 + t, order), taps.weight[1] = scale * near_cubic(t, order);
    taps.weight[2] = scale * sign * near_cubic(1 - t, order), taps.weight[3] = scale * sign * far_cubic(2 - t, order);
    for (int k = 0; k < 4; ++k)
      taps.index[k] = inside(padded(Place<T>{floor + static_cast<T>(k - 1), 0}, size, s).at, size);
    return taps;
  }
  const Place<T> p = padded(pixel, size, s);
  if (s.kernel == GridKernel::nearest) {
    taps.index[0] = inside(nearest_of(p.at), size), taps.weight[0] = order == 0 ? 1 : 0;
    return taps;
  }
  const T floor = floor_of(p.at), t = p.at - floor;
  taps.index[0] = inside(floor, size), taps.index[1] = inside(floor + 1, size);
  if (order == 0) {
    taps.weight[0] = 1 - t, taps.weight[1] = t;
  } else {
    taps.weight[0] = order == 1 ? -p.slope : T(0), taps.weight[1] = order == 1 ? p.slope : T(0);
  }
  return taps;
}

constexpr int taps_along(GridKernel kernel) {
  return kernel == GridKernel::cubic ? 4 : kernel == GridKernel::linear ? 2 : 1;
}

}  // namespace
}  // namespace dd2424::cpu::DD2424_ISA
