#pragma once
// Where windows lie, in tables made once a call; and what maximum and average share.
#include "core/parallel.h"
#include "core/pool.h"
#include "cpu/vec.h"

namespace dd2424::cpu::DD2424_ISA {
namespace {

constexpr int kSpace = PoolSizes::kSpace;
constexpr Index kGrain = 8192;  // elements worth another thread

constexpr Index up(Index a, Index b) { return a <= 0 ? 0 : (a + b - 1) / b; }
constexpr Index lesser(Index a, Index b) { return b < a ? b : a; }
constexpr Index greater(Index a, Index b) { return a < b ? b : a; }

struct Axis : PoolAxis {
  Index* first;   // (out), of the taps, inside or not
  Index* begin;   // (out), first tap inside
  Index* end;     // (out), one behind the last tap inside
  Index* count;   // (out), taps inside the padded image
  Index* lowest;  // (in), first window that may hold the element
  Index* behind;  // (in), one behind the last such window
  void fill() {
    for (Index o = 0; o < out; ++o) {
      first[o] = adaptive ? o * in / out : o * stride - padding;
      const Index size = adaptive ? up((o + 1) * in, out) - first[o] : kernel;
      begin[o] = lesser(up(-first[o], dilation), size);
      end[o] = greater(begin[o], lesser(size, up(in - first[o], dilation)));
      count[o] = lesser(size, in + padding - first[o]);
    }
    for (Index i = 0; i < in; ++i) {
      lowest[i] = adaptive ? i * out / in : up(i + padding - (kernel - 1) * dilation, stride);
      behind[i] = adaptive ? up((i + 1) * out, in) : lesser(out, (i + padding) / stride + 1);
    }
  }
  // The tap of window o that is element i, or -1.
  Index tap_at(Index o, Index i) const {
    Index q = i - first[o];
    if (dilation > 1) {
      if (q % dilation != 0) return -1;
      q /= dilation;
    }
    return q < end[o] ? q : -1;
  }
};

struct Windows {
  Index planes, channels;
  Axis axes[kSpace];
  Windows(const PoolSizes& s, void* workspace) : planes(s.planes), channels(s.channels) {
    Index* p = static_cast<Index*>(workspace);
    for (int d = 0; d < kSpace; ++d) {
      Axis& axis = axes[d];
      static_cast<PoolAxis&>(axis) = s.axes[d];
      axis.first = p, axis.begin = p + axis.out, axis.end = p + 2 * axis.out, axis.count = p + 3 * axis.out;
      axis.lowest = p + 4 * axis.out, axis.behind = axis.lowest + axis.in;
      p = axis.behind + axis.in;
      axis.fill();
    }
  }
  const Axis& width() const { return axes[2]; }
  Index in_plane() const { return axes[0].in * axes[1].in * axes[2].in * channels; }
  Index out_plane() const { return axes[0].out * axes[1].out * axes[2].out * channels; }
  Index in_row(Index d, Index h) const { return (d * axes[1].in + h) * axes[2].in * channels; }
  Index out_row(Index d, Index h) const { return (d * axes[1].out + h) * axes[2].out * channels; }
  Index tap(Index qd, Index qh, Index qw) const { return (qd * axes[1].kernel + qh) * axes[2].kernel + qw; }
};

inline std::size_t pool_workspace(const PoolSizes& s) {
  Index entries = 0;
  for (const PoolAxis& axis : s.axes) entries += 4 * axis.out + 2 * axis.in;
  return static_cast<std::size_t>(entries) * sizeof(Index);
}

struct Row {  // of one plane
  Index plane, d, h;
};
// Calls f with each row of all planes, of `height` rows in each of `depth` slices, on threads.
template <class F>
void for_each_row(Index planes, Index depth, Index height, Index work, const F& f) {
  parallel_for(planes * depth * height, kGrain / greater(work, 1) + 1, [&](Index begin, Index end) {
    Row row{begin / (depth * height), begin / height % depth, begin % height};
    for (Index i = begin; i < end; ++i) {
      f(row);
      if (++row.h < height) continue;
      row.h = 0;
      if (++row.d == depth) row.d = 0, ++row.plane;
    }
  });
}
template <class F>
void for_each_output_row(const Windows& w, const F& f) {
  const Index taps = w.axes[0].kernel * w.axes[1].kernel * w.axes[2].kernel;
  for_each_row(w.planes, w.axes[0].out, w.axes[1].out, w.axes[2].out * w.channels * lesser(taps, kGrain), f);
}
template <class F>
void for_each_input_row(const Windows& w, const F& f) {
  for_each_row(w.planes, w.axes[0].in, w.axes[1].in, w.axes[2].in * w.channels, f);
}

// Calls f(qd, qh, row) with the input rows in reach of an output row: taps and offset in the plane.
template <class F>
inline void for_each_tap_row(const Windows& w, Row out, const F& f) {
  const Axis &depth = w.axes[0], &height = w.axes[1];
  for (Index qd = depth.begin[out.d]; qd < depth.end[out.d]; ++qd)
    for (Index qh = height.begin[out.h]; qh < height.end[out.h]; ++qh)
      f(qd, qh, w.in_row(depth.first[out.d] + qd * depth.dilation, height.first[out.h] + qh * height.dilation));
}
// Calls f(od, oh, qd, qh) with the output rows whose windows hold an input row.
template <class F>
inline void for_each_covering_row(const Windows& w, Row in, const F& f) {
  const Axis &depth = w.axes[0], &height = w.axes[1];
  for (Index od = depth.lowest[in.d]; od < depth.behind[in.d]; ++od) {
    const Index qd = depth.tap_at(od, in.d);
    if (qd < 0) continue;
    for (Index oh = height.lowest[in.h]; oh < height.behind[in.h]; ++oh) {
      const Index qh = height.tap_at(oh, in.h);
      if (qh >= 0) f(od, oh, qd, qh);
    }
  }
}

// Tap numbers are computed in lanes as wide as the elements'.
template <class T>
using TapLane = typename SignedOf<sizeof(Lane<T>)>::Type;
template <class T>
using TapVec = Vec<TapLane<T>>;
template <class T, class Tap>
struct PackedOf {
  typedef Tap Type __attribute__((vector_size(kLanes<Lane<T>> * sizeof(Tap))));
};
template <class T, class Tap>
inline TapVec<T> load_taps(const Tap* p, Index count) {
  typename PackedOf<T, Tap>::Type packed{};
  if (count == kLanes<Lane<T>>)
    __builtin_memcpy(&packed, p, sizeof packed);
  else
    memcpy(&packed, p, static_cast<std::size_t>(count) * sizeof(Tap));
  return widen<TapLane<T>>(packed);
}
template <class T, class Tap>
inline void store_taps(Tap* p, TapVec<T> taps, Index count) {
  const auto packed = __builtin_convertvector(taps, typename PackedOf<T, Tap>::Type);
  if (count == kLanes<Lane<T>>)
    __builtin_memcpy(p, &packed, sizeof packed);
  else
    memcpy(p, &packed, static_cast<std::size_t>(count) * sizeof(Tap));
}

template <class T>
inline Vec<Lane<T>> load_lanes(const T* p, Index count, Lane<T> padding = 0) {
  return count == kLanes<Lane<T>> ? load(p) : load(p, count, padding);
}
template <class T>
inline void store_lanes(T* p, Vec<Lane<T>> v, Index count) {
  if (count == kLanes<Lane<T>>)
    store(p, v);
  else
    store(p, v, count);
}
template <class T>
constexpr bool kFloating = !std::is_integral_v<T>;

inline float to_lane(bfloat16 x) { return to_float(x); }
template <class T>
inline T to_lane(T x) {
  return x;
}
inline void from_lane(float x, bfloat16& y) { y = to_bfloat16(x); }
template <class T>
inline void from_lane(T x, T& y) {
  y = x;
}

}  // namespace
}  // namespace dd2424::cpu::DD2424_ISA
