#pragma once
// Where the places of a grid lie in an image: which pixels, with which weights, by dimension.
#include "core/resample.h"
#include "cpu/resample_pick.h"

namespace dd2424::cpu::DD2424_ISA {
namespace {

constexpr int kMostTaps = 4;  // along one dimension

template <class T>
using Whole = Vec<typename SignedOf<sizeof(T)>::Type>;

// The nearest whole number, halves going to the even one, and the one below. From `whole` on every number is one.
template <class T>
constexpr T kWholeFrom = sizeof(T) == 4 ? T(0x1p23) : T(0x1p52);
template <class T>
inline Vec<T> nearest_of(Vec<T> x) {
  const Vec<T> zero{}, big = broadcast(kWholeFrom<T>);
  const Vec<T> rounded = x < zero ? (x - big) + big : (x + big) - big;
  return ((x < big) & (x > -big)) ? rounded : x;
}
template <class T>
inline Vec<T> floor_of(Vec<T> x) {
  const Vec<T> r = nearest_of<T>(x);
  return r - (r > x ? broadcast(T(1)) : Vec<T>{});
}

// Coordinates in pixels and their derivatives by the grid's, of a vector of places, as all that follows.
template <class T>
struct Place {
  Vec<T> at, slope;
};

template <class T>
inline Place<T> to_pixels(Vec<T> grid, Index size, bool align_corners) {
  const T n = static_cast<T>(size);
  if (align_corners) return {(grid + T(1)) / T(2) * (n - 1), broadcast((n - 1) / 2)};
  return {((grid + T(1)) * n - T(1)) / T(2), broadcast(n / 2)};
}

template <class T>
inline Place<T> clipped(const Place<T>& p, Index size) {  // not a number is 0
  const Vec<T> zero{}, most = broadcast(static_cast<T>(size - 1));
  const Vec<T> at = p.at < most ? p.at : most, slope = p.at < most ? p.slope : zero;
  return {p.at > zero ? at : zero, p.at > zero ? slope : zero};
}

// Mirrored about the centres of the border's pixels, or about their outer sides, as often as it takes.
template <class T>
inline Place<T> reflected(const Place<T>& p, Index size, bool align_corners) {
  const T low = align_corners ? T(0) : T(-0.5), span = static_cast<T>(align_corners ? size - 1 : size);
  const Vec<T> zero{};
  if (span == 0) return {zero, zero};
  const Vec<T> from = p.at - low, distance = from < zero ? -from : from;
  const Vec<T> flips = floor_of<T>(distance / span), rest = fma(-flips, broadcast(span), distance);
  const auto is_even = floor_of<T>(flips / T(2)) * T(2) == flips;
  const Vec<T> turned = (from < zero) == is_even ? -p.slope : p.slope;
  return {is_even ? rest + low : span - rest + low, turned};
}

template <class T>
inline Place<T> padded(const Place<T>& p, Index size, const GridSizes& s) {
  if (s.padding == GridPadding::zeros) return p;
  return clipped<T>(s.padding == GridPadding::border ? p : reflected<T>(p, size, s.align_corners), size);
}

// Derivatives of Keys' cubic kernel with slope -3/4, up to the third: for distances below 1, and below 2.
template <class T>
inline Vec<T> near_cubic(Vec<T> x, int order) {
  constexpr T a = T(-0.75);
  if (order == 0) return ((a + 2) * x - (a + 3)) * x * x + T(1);
  if (order == 1) return (3 * (a + 2) * x - 2 * (a + 3)) * x;
  return order == 2 ? 6 * (a + 2) * x - 2 * (a + 3) : broadcast(order == 3 ? 6 * (a + 2) : T(0));
}
template <class T>
inline Vec<T> far_cubic(Vec<T> x, int order) {
  constexpr T a = T(-0.75);
  if (order == 0) return (((x - T(5)) * x + T(8)) * x - T(4)) * a;
  if (order == 1) return ((T(3) * x - T(10)) * x + T(8)) * a;
  return order == 2 ? (T(6) * x - T(10)) * a : broadcast(order == 3 ? 6 * a : T(0));
}

// What coordinates read along their dimension; what is outside weighs nothing, whatever stands at the index.
template <class T>
struct Taps {
  Whole<T> index[kMostTaps], is_inside[kMostTaps];
  Vec<T> weight[kMostTaps];
  void put(int tap, Vec<T> at, Index size, Vec<T> w) {
    is_inside[tap] = (at >= T(0)) & (at < static_cast<T>(size));
    index[tap] = __builtin_convertvector(is_inside[tap] ? at : Vec<T>{}, Whole<T>);
    weight[tap] = w;
  }
};

template <class T>
inline Taps<T> taps_of(const GridSizes& s, Vec<T> grid, int d, int order) {
  const Index size = s.image[d];
  const Place<T> pixel = to_pixels<T>(grid, size, s.align_corners);
  Taps<T> taps;
  if (s.kernel == GridKernel::cubic) {
    const Vec<T> floor = floor_of<T>(pixel.at), t = pixel.at - floor;
    Vec<T> scale = broadcast(T(1));
    for (int i = 0; i < order; ++i) scale *= pixel.slope;
    const Vec<T> back = order % 2 ? -scale : scale;
    const Vec<T> weight[] = {scale * far_cubic<T>(T(1) + t, order), scale * near_cubic<T>(t, order),
                             back * near_cubic<T>(T(1) - t, order), back * far_cubic<T>(T(2) - t, order)};
    for (int k = 0; k < 4; ++k)
      taps.put(k, padded<T>({floor + static_cast<T>(k - 1), Vec<T>{}}, size, s).at, size, weight[k]);
    return taps;
  }
  const Place<T> p = padded<T>(pixel, size, s);
  if (s.kernel == GridKernel::nearest) {
    taps.put(0, nearest_of<T>(p.at), size, broadcast(T(order == 0)));
    return taps;
  }
  const Vec<T> floor = floor_of<T>(p.at), t = p.at - floor, slope = order == 1 ? p.slope : Vec<T>{};
  taps.put(0, floor, size, order == 0 ? T(1) - t : -slope);
  taps.put(1, floor + T(1), size, order == 0 ? t : slope);
  return taps;
}

constexpr int taps_along(GridKernel kernel) {
  return kernel == GridKernel::cubic ? 4 : kernel == GridKernel::linear ? 2 : 1;
}

}  // namespace
}  // namespace dd2424::cpu::DD2424_ISA
