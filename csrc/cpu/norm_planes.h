#pragma once
// Batch norm of planes, NCHW: a channel at a time. A channel's next plane starts on another page, where the hardware's
// prefetchers do not follow, so several planes are read side by side (a walk over 64 channels of 64 planes of 4 kB: 28
// GB/s, one plane after the other 12).
#include "core/norm.h"
#include "cpu/norm_passed.h"
#include "cpu/norm_tiles.h"
#include "cpu/norm_walk.h"

namespace dd2424::cpu::DD2424_ISA {
namespace {

template <class V>
struct Moments {  // of n elements: mean + low is their mean, m2 the sum of squared differences from it
  V mean, low, m2;
};
// Sums over a channel, with g = dy where ReLU let it through: of g, of g * (x - mean), of x - mean.
template <class V>
struct Sums {
  V g, gx, x;
};

constexpr Index kSideBySide = 8;  // planes, in which x alone is read
constexpr Index kTwoByTwo = 4;    // planes, in which x and dy are read
constexpr Index kRunVectors = 16;
constexpr Index kSegmentVectors = 64;

// Calls visit(place, n) for runs of the channel's planes begin ... end - 1, where `place` counts elements from the
// start of the tensor: a run of each of several planes, then the next run of each, to the end of a segment; and
// end_block(n) after n elements.
template <class L, class Visit, class EndBlock>
inline void for_runs(const Extent& extent, Index channel, Index begin, Index end, Index side_by_side,
                     const Visit& visit, const EndBlock& end_block) {
  constexpr Index run = kRunVectors * kLanes<L>, segment = kSegmentVectors * kLanes<L>;
  Index pending = 0;
  for (Index o = begin; o < end; o += side_by_side)
    for (Index first = 0; first < extent.inner; first += segment) {
      const Index planes = smaller(side_by_side, end - o), stop = smaller(extent.inner, first + segment);
      for (Index i = first; i < stop; i += run)
        for (Index p = o; p < o + planes; ++p)
          visit((p * extent.channels + channel) * extent.inner + i, smaller(run, stop - i));
      pending += planes * (stop - first);
      if (pending >= kBlockVectors * 4 * kLanes<L>) end_block(pending), pending = 0;
    }
  if (pending > 0) end_block(pending);
}
// To the second-level cache: the first has room for no more lines on their way.
template <class T>
inline void prefetch_planes(const T* p, const Extent& extent, Index ahead) {
  __builtin_prefetch(p + ahead * extent.channels * extent.inner, 0, 2);
}

// Moments of the channel's planes begin ... end - 1; the mean counts from `first`. They are taken about the mean of
// what came before, at first about that of a few elements, for one alone may be an outlier.
template <class T, class L = Lane<T>>
[[gnu::noinline]] Moments<double> plane_moments(const T* x, L first, const Extent& extent, Index channel, Index begin,
                                                Index end) {
  constexpr Index few = 64;
  const Index tried = smaller(few, extent.inner);
  L near = 0;
  for (Index i = 0; i < tried; ++i)
    near += load_some(x + (begin * extent.channels + channel) * extent.inner + i, 1)[0] - first;
  Vec<L> origin = broadcast(first + near / static_cast<L>(tried)), sums[2]{};
  Moments<double> all{};
  double before = 0;
  for_runs<L>(
      extent, channel, begin, end, kSideBySide,
      [&](Index place, Index n) {
        add_row<L>(n, sums, [&, about = origin](Index i, Index count, Vec<L>* part) {
          Vec<L> d = load_some(x + place + i, count) - about;
          if (count < kLanes<L>) d = keep_lanes<L>(count) ? d : Vec<L>{};
          part[0] += d;
          part[1] = fma(d, d, part[1]);
        });
      },
      [&](Index n) {  // joined as equation 2.1 of Chan, Golub and LeVeque has it, see join_moments
        const double size = static_cast<double>(n), share = size / (before + size);
        const double sum = static_cast<double>(lanes_sum<L>(sums[0])), shift = sum / size;
        const double delta = (static_cast<double>(origin[0]) - static_cast<double>(first)) + shift - all.mean;
        const double m2 = static_cast<double>(lanes_sum<L>(sums[1])) - sum * shift;
        all.mean += delta * share;
        all.m2 += m2 + delta * delta * (before * share);
        before += size;
        origin = broadcast(static_cast<L>(static_cast<double>(first) + all.mean));
        sums[0] = sums[1] = Vec<L>{};
      });
  return all;
}

// y = (x - mean) * scale + shift
template <class V>
struct Affine {
  V mean, scale, shift;
  V operator()(V x) const { return fma(x - mean, scale, shift); }
};

// y of a plane, and which of its elements pass the ReLU; of whole vectors.
template <class T, class L = Lane<T>>
inline void pass_plane(const BatchNormForward<T>& a, const Affine<Vec<L>>& f, bool around, Index plane) {
  const T *x = a.x + plane, *residual = a.residual + plane;
  T* y = a.y + plane;
  std::uint8_t* passed = a.passed;
  for (Index i = 0, n = a.inner; i < n; i += kLanes<L>) {
    const Vec<L> v = f(load(x + i)) + load(residual + i);
    put_passed<L>(passed, plane + i, passed_lanes<L>(v));
    put(around, y + i, at_least(v, Vec<L>{}), kLanes<L>);
  }
}

// y of the channel's planes begin ... end - 1.
template <class T, class L = Lane<T>>
[[gnu::noinline]] void normalize_planes(const BatchNormForward<T>& a, bool around, Index channel, Index begin,
                                        Index end) {
  const Affine<Vec<L>> f{broadcast(a.mean[channel]), broadcast(a.scale[channel]), broadcast(a.shift[channel])};
  const Vec<L> floor = floor_of<L>(a.relu);
  const Extent extent{a.outer, a.channels, a.inner};
  constexpr Index page = 4096 / sizeof(T);  // elements
  for (Index o = begin; o < end; ++o) {
    const Index plane = (o * a.channels + channel) * a.inner;
    if (a.residual) {
      for (Index i = 0; i < smaller(a.inner, page); i += 64 / Index(sizeof(T)))
        prefetch_planes(a.residual + plane + i, extent, 1);
    }
    if (a.passed) {
      pass_plane(a, f, around, plane);
    } else if (a.residual) {
      map_out(
          around, a.y + plane, a.inner, [=](Vec<L> v, Vec<L> rest) { return at_least(f(v) + rest, floor); },
          a.x + plane, a.residual + plane);
    } else {
      map_out(around, a.y + plane, a.inner, [=](Vec<L> v) { return at_least(f(v), floor); }, a.x + plane);
    }
  }
}

// What tells whether an element has passed the ReLU.
enum class Gate : std::uint8_t { x, y, passed };

// The sums over the channel's planes begin ... end - 1.
template <Gate gate, class T, class L = Lane<T>>
[[gnu::noinline]] Sums<double> gated_sums(const BatchNormBackward<T>& a, Index channel, Index begin, Index end) {
  const Extent extent{a.outer, a.channels, a.inner};
  const bool found_again = is_found_again(a);
  const Vec<L> mean = broadcast(a.mean[channel]), scale = broadcast(found_again ? a.scale[channel] : L(0)),
               shift = broadcast(found_again ? a.shift[channel] : L(1));
  Vec<L> sums[kSums]{};
  Sums<double> all{};
  for_runs<L>(
      extent, channel, begin, end, kTwoByTwo,
      [&](Index place, Index n) {
        add_row<L>(n, sums, [&, mean, scale, shift, passed = a.passed](Index i, Index count, Vec<L>* part) {
          prefetch_planes(a.x + place + i, extent, kTwoByTwo);
          prefetch_planes(a.dy + place + i, extent, kTwoByTwo);
          Vec<L> d = load_some(a.x + place + i, count) - mean, g = load_some(a.dy + place + i, count);
          if constexpr (gate == Gate::passed) {
            (void)scale, (void)shift;
            g = keep_passed<L>(g, passed_at<L>(passed, place + i));
          } else if constexpr (gate == Gate::y) {
            (void)scale, (void)shift, (void)passed;
            prefetch_planes(a.y + place + i, extent, kTwoByTwo);
            g = through(g, load_some(a.y + place + i, count));
            store_some(a.dresidual + place + i, g, count);
          } else {
            (void)passed;
            g = through(g, fma(d, scale, shift));
          }
          if (count < kLanes<L>) d = keep_lanes<L>(count) ? d : Vec<L>{};  // of g, a short load has padded with 0
          part[0] += g;
          part[1] = fma(g, d, part[1]);
          part[2] += d;
        });
      },
      [&](Index) {
        all.g += static_cast<double>(lanes_sum<L>(sums[0]));
        all.gx += static_cast<double>(lanes_sum<L>(sums[1]));
        all.x += static_cast<double>(lanes_sum<L>(sums[2]));
        for (Vec<L>& sum : sums) sum = Vec<L>{};
      });
  return all;
}
template <class T>
Sums<double> plane_sums(const BatchNormBackward<T>& a, Index channel, Index begin, Index end) {
  if (a.passed) return gated_sums<Gate::passed>(a, channel, begin, end);
  return a.y ? gated_sums<Gate::y>(a, channel, begin, end) : gated_sums<Gate::x>(a, channel, begin, end);
}

// dx = g * slope - (x - mean) * tilt - shift
template <class V>
struct Gradient {
  V slope, tilt, shift;
};

// dx and dresidual of a plane, by the bits of what has passed.
template <class T, class L>
inline void pass_back_plane(const BatchNormBackward<T>& a, Vec<L> mean, const Gradient<Vec<L>>& f, bool around,
                            Index plane) {
  const T *x = a.x + plane, *dy = a.dy + plane;
  T *dx = a.dx + plane, *dresidual = a.dresidual + plane;
  const std::uint8_t* passed = a.passed;
  for (Index i = 0, n = a.inner; i < n; i += kLanes<L>) {
    const Vec<L> g = keep_passed<L>(load(dy + i), passed_at<L>(passed, plane + i));
    put(around, dresidual + i, g, kLanes<L>);
    put(around, dx + i, fma(g, f.slope, -fma(load(x + i) - mean, f.tilt, f.shift)), kLanes<L>);
  }
}

// dx of the channel's planes begin ... end - 1.
template <class T, class L = Lane<T>>
[[gnu::noinline]] void plane_gradients(const BatchNormBackward<T>& a, const Gradient<L>& of_channel, bool around,
                                       Index channel, Index begin, Index end) {
  const bool found_again = is_found_again(a);
  const T* dy = a.y && !a.passed ? a.dresidual : a.dy;
  const Vec<L> mean = broadcast(a.mean[channel]), slope = broadcast(of_channel.slope),
               tilt = broadcast(of_channel.tilt), shift = broadcast(of_channel.shift);
  const Vec<L> scale = broadcast(found_again ? a.scale[channel] : L(0)),
               level = broadcast(found_again ? a.shift[channel] : L(1));
  for (Index o = begin; o < end; ++o) {
    const Index plane = (o * a.channels + channel) * a.inner;
    if (a.passed) {
      pass_back_plane<T, L>(a, mean, {slope, tilt, shift}, around, plane);
      continue;
    }
    map_out(
        around, a.dx + plane, a.inner,
        [=](Vec<L> x, Vec<L> g) {
          const Vec<L> d = x - mean;
          return fma(through(g, fma(d, scale, level)), slope, -fma(d, tilt, shift));
        },
        a.x + plane, dy + plane);
  }
}

}  // namespace
}  // namespace dd2424::cpu::DD2424_ISA
