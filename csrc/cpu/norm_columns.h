#pragma once
// Batch norm of narrow rows: a few vectors hold all channels, and sums stay in registers on the way down.
#include "core/norm.h"
#include "cpu/norm_planes.h"
#include "cpu/norm_tiles.h"
#include "cpu/norm_walk.h"

namespace dd2424::cpu::DD2424_ISA {
namespace {

constexpr Index kNarrow = 64;  // channels
template <class T>
inline bool is_narrow(const Extent& extent) {  // bfloat16 goes by tiles, however narrow: it has less code then
  return extent.in_columns() && extent.channels <= kNarrow && std::is_same_v<T, Lane<T>>;
}

// Calls body(Constant<vectors>, first channel, lanes of the last vector) for 4, 2 or 1 vectors of channels at a time.
template <class L, class Body>
inline void for_column_groups(Index channels, const Body& body) {
  constexpr Index lanes = kLanes<L>;
  for (Index c = 0; c < channels;) {
    const Index left = channels - c, vectors = (left + lanes - 1) / lanes;
    const auto call = [&](auto taken) {
      constexpr Index n = decltype(taken)::value;
      body(taken, c, smaller(lanes, left - (n - 1) * lanes));
      return n * lanes;
    };
    c += vectors >= 4 ? call(Constant<4>{}) : vectors >= 2 ? call(Constant<2>{}) : call(Constant<1>{});
  }
}

// A row's elements in N vectors of neighbouring channels; the last may be short. Functions take it by value, and copy
// the pointers that they walk along: after each store of a vector, what is behind a reference would be read again.
template <class L, int N>
struct Columns {
  Index first, stride, last;  // channel, from row to row, lanes of the last vector
  Index count(int k) const { return k == N - 1 ? last : kLanes<L>; }
  Index channel(int k) const { return first + k * kLanes<L>; }
  Index place(Index row, int k) const { return row * stride + channel(k); }
  Vec<L> of_row(const L* p, Index row, int k) const { return of_channel(p + row * stride, k); }
  Vec<L> of_channel(const L* p, int k) const {
    return k == N - 1 ? load_some(p + channel(k), last) : load(p + channel(k));
  }
};

// total[k][s] = the sum over rows begin ... end - 1 of what add(row, k, part) adds to part[s], for K sums of N columns
template <class L, int K, int N, class F>
inline void sum_rows(Index begin, Index end, Vec<L> (&total)[N][K], const F& add) {
  for (auto& sums : total)
    for (Vec<L>& sum : sums) sum = Vec<L>{};
  for (Index row = begin; row < end;) {
    Vec<L> part[N][K]{};
    for (const Index stop = smaller(end, row + kBlockRows); row < stop; ++row)
#pragma GCC unroll 4
      for (int k = 0; k < N; ++k) add(row, k, part[k]);
    for (int k = 0; k < N; ++k)
      for (int s = 0; s < K; ++s) total[k][s] += part[k][s];
  }
}

template <class L, int N>
[[gnu::noinline]] void column_moments(const L* x, const Columns<L, N> at, Index begin, Index end,
                                      Moments<Vec<L>> (&m)[N]) {
  Vec<L> origin[N], sum[N][1], sums[N][2];
  const L n = static_cast<L>(end - begin);
  for (int k = 0; k < N; ++k) origin[k] = at.of_row(x, begin, k);
  sum_rows<L>(begin, end, sum, [&](Index row, int k, Vec<L>* part) { part[0] += at.of_row(x, row, k) - origin[k]; });
  for (int k = 0; k < N; ++k) m[k].mean = origin[k] + sum[k][0] / n;
  sum_rows<L>(begin, end, sums, [&](Index row, int k, Vec<L>* part) {
    const Vec<L> d = at.of_row(x, row, k) - m[k].mean;
    part[0] += d;
    part[1] = fma(d, d, part[1]);
  });
  for (int k = 0; k < N; ++k) {
    m[k].low = sums[k][0] / n;
    m[k].m2 = sums[k][1] - sums[k][0] * m[k].low;
  }
}

template <class L, int N>
[[gnu::noinline]] void normalize_columns(const BatchNormForward<L>& a, const Columns<L, N> at, bool around, Index begin,
                                         Index end) {
  Affine<Vec<L>> f[N];
  for (int k = 0; k < N; ++k) f[k] = {at.of_channel(a.mean, k), at.of_channel(a.scale, k), at.of_channel(a.shift, k)};
  const Vec<L> floor = floor_of<L>(a.relu);
  const L *x = a.x, *residual = a.residual;
  L* y = a.y;
  std::uint8_t* passed = a.passed;
  for (Index row = begin; row < end; ++row)
#pragma GCC unroll 4
    for (int k = 0; k < N; ++k) {
      Vec<L> v = f[k](at.of_row(x, row, k));
      if (residual) v += at.of_row(residual, row, k);
      if (passed) put_passed<L>(passed, at.place(row, k), passed_lanes<L>(v));
      put(around, y + at.place(row, k), at_least(v, floor), at.count(k));
    }
}

// What finds out whether x has passed the ReLU: all have where it need not be found again.
template <class L, int N>
void load_gate(const BatchNormBackward<L>& a, const Columns<L, N>& at, Affine<Vec<L>> (&gate)[N]) {
  const bool found_again = is_found_again(a);
  for (int k = 0; k < N; ++k)
    gate[k] = {at.of_channel(a.mean, k), found_again ? at.of_channel(a.scale, k) : Vec<L>{},
               found_again ? at.of_channel(a.shift, k) : broadcast(L(1))};
}

template <class L, int N>
[[gnu::noinline]] void column_sums(const BatchNormBackward<L>& a, const Columns<L, N> at, Index begin, Index end,
                                   Vec<L> (&total)[N][kSums]) {
  Affine<Vec<L>> gate[N];
  load_gate(a, at, gate);
  const L *x = a.x, *dy = a.dy, *y = a.y;
  L* dresidual = a.dresidual;
  const std::uint8_t* passed = a.passed;
  sum_rows<L>(begin, end, total, [&](Index row, int k, Vec<L>* part) {
    const Vec<L> d = at.of_row(x, row, k) - gate[k].mean;
    Vec<L> g = through(at.of_row(dy, row, k), fma(d, gate[k].scale, gate[k].shift));
    if (passed) {
      g = keep_passed<L>(g, passed_at<L>(passed, at.place(row, k)));
    } else if (y) {
      g = through(g, at.of_row(y, row, k));
      store_some(dresidual + at.place(row, k), g, at.count(k));
    }
    part[0] += g;
    part[1] = fma(g, d, part[1]);
    part[2] += d;
  });
}

template <class L, int N>
[[gnu::noinline]] void column_gradients(const BatchNormBackward<L>& a, const Columns<L, N> at,
                                        const Gradient<Vec<L>> (&f)[N], bool around, Index begin, Index end) {
  Affine<Vec<L>> gate[N];
  load_gate(a, at, gate);
  const std::uint8_t* passed = a.passed;
  const L *x = a.x, *dy = a.y && !passed ? a.dresidual : a.dy;
  L *dx = a.dx, *dresidual = a.dresidual;
  for (Index row = begin; row < end; ++row)
#pragma GCC unroll 4
    for (int k = 0; k < N; ++k) {
      const Vec<L> d = at.of_row(x, row, k) - gate[k].mean;
      Vec<L> g = through(at.of_row(dy, row, k), fma(d, gate[k].scale, gate[k].shift));
      if (passed) {
        g = keep_passed<L>(g, passed_at<L>(passed, at.place(row, k)));
        put(around, dresidual + at.place(row, k), g, at.count(k));
      }
      put(around, dx + at.place(row, k), fma(g, f[k].slope, -fma(d, f[k].tilt, f[k].shift)), at.count(k));
    }
}

// to[i] = high[i] + low[i]
template <class L>
inline void widen_lanes(double* to, Vec<L> high, Vec<L> low, Index count) {
  L lanes[kLanes<L>], rest[kLanes<L>];
  store(lanes, high);
  store(rest, low);
  for (Index i = 0; i < count; ++i) to[i] = static_cast<double>(lanes[i]) + static_cast<double>(rest[i]);
}

}  // namespace
}  // namespace dd2424::cpu::DD2424_ISA
