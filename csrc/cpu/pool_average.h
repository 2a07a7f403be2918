#pragma once
// Averages: sums along the width, of those the sum, divided once.
#include "cpu/pool_row.h"

namespace dd2424::cpu::DD2424_ISA {
namespace {

template <class T>
struct AverageKernel {
  using L = Lane<T>;
  static constexpr int kStep = kLanes<L>;
  const Windows w;
  const AveragePool<T>& a;

  Index counted(const Axis& axis, Index o) const {
    return a.counts_padding ? axis.count[o] : axis.end[o] - axis.begin[o];
  }
  // Of window o, without the width's part.
  L outer_divisor(Index od, Index oh) const {
    return L(a.divisor ? a.divisor : counted(w.axes[0], od) * counted(w.axes[1], oh));
  }
  L inner_divisor(Index o) const { return L(a.divisor ? 1 : counted(w.width(), o)); }

  L run_sum(const T* p, Index count) const {
    L sum = 0;
    if (count < kStep / 2) {
      for (Index i = 0; i < count; ++i) sum += to_lane(p[i]);
      return sum;
    }
    Vec<L> even{}, odd{};
    Index i = 0;
    for (; i + 2 * kStep <= count; i += 2 * kStep) even += load(p + i), odd += load(p + i + kStep);
    for (; i < count; i += kStep) even += load_lanes(p + i, smaller(kStep, count - i));
    return lanes_sum<L>(even + odd);
  }
  // One window of a channels-first plane.
  void window(const T* x, Row row, Index o, T& y) const {
    const Axis& axis = w.width();
    L sum = 0;
    for_each_tap_row(w, row, [&](Index, Index, Index offset) {
      sum += run_sum(x + offset + axis.first[o] + axis.begin[o], axis.end[o] - axis.begin[o]);
    });
    from_lane(sum / (outer_divisor(row.d, row.h) * inner_divisor(o)), y);
  }

  template <int N>
  void channels(const T* x, Row row, Index o, T* y, Index count) const {
    const Axis& axis = w.width();
    const Index last = count - (N - 1) * kStep;
    Vec<L> sum[N]{};
    for_each_tap_row(w, row, [&](Index, Index, Index offset) {
      Vec<L> part[N]{};
      for (Index q = axis.begin[o]; q < axis.end[o]; ++q) {
        const T* p = x + offset + (axis.first[o] + q) * w.channels;
        for (int n = 0; n < N; ++n) part[n] += n + 1 < N ? load(p + n * kStep) : load_lanes(p + n * kStep, last);
      }
      for (int n = 0; n < N; ++n) sum[n] += part[n];
    });
    const Vec<L> divisor = broadcast(outer_divisor(row.d, row.h) * inner_divisor(o));
    for (int n = 0; n < N; ++n) store_lanes(y + n * kStep, sum[n] / divisor, n + 1 < N ? kStep : last);
  }
  void pixel(const T* x, Row row, Index o, T* y) const {
    Index c = 0;
    for (; c + 4 * kStep <= w.channels; c += 4 * kStep) channels<4>(x + c, row, o, y + c, 4 * kStep);
    for (; c < w.channels; c += kStep) channels<1>(x + c, row, o, y + c, smaller(kStep, w.channels - c));
  }

  // The divisors of `count` windows from o on.
  void divisors(L* to, Index od, Index oh, Index o, Index count) const {
    const L outer = outer_divisor(od, oh);
    const Index kernel = w.width().kernel;
    const bool alike = a.divisor || (counted(w.width(), o) == kernel && counted(w.width(), o + count - 1) == kernel);
    for (Index j = 0; j < count; j += kStep) store(to + j, broadcast(outer * inner_divisor(o)));
    for (Index j = 0; !alike && j < count; ++j) to[j] = outer * inner_divisor(o + j);
  }
  // `count` neighbouring windows of a channels-first row, from o on.
  void block(const T* x, Row row, Index o, T* y, Index count) const {
    const Axis& axis = w.width();
    alignas(64) L sums[kBlock + kStep], divisor[kBlock + kStep];
    for (Index j = 0; j < count; j += kStep) store(sums + j, Vec<L>{});
    Phases<T> phases;
    for_each_tap_row(w, row, [&](Index, Index, Index offset) {
      phases.split(x + offset, axis.in, axis.first[o], axis.stride, count + w.taps.reach, L(0));
      for (Index j = 0; j < count; j += kStep) {
        Vec<L> part{};
        for (Index q = 0; q < axis.kernel; ++q) part += load(phases.at[w.taps.phase[q]] + w.taps.offset[q] + j);
        store(sums + j, load(sums + j) + part);
      }
    });
    divisors(divisor, row.d, row.h, o, count);
    for (Index j = 0; j < count; j += kStep)
      store_lanes(y + j, load(sums + j) / load(divisor + j), smaller(kStep, count - j));
  }

  void forward() const {
    const Index out = w.width().out;
    for_each_output_row(w, [&](Row row) {
      const T* x = a.x + row.plane * w.in_plane();
      T* y = a.y + row.plane * w.out_plane() + w.out_row(row.d, row.h);
      if (w.by_phases) {
        for (Index o = 0; o < out; o += kBlock) block(x, row, o, y + o, smaller(kBlock, out - o));
      } else if (w.channels > 1) {
        for (Index o = 0; o < out; ++o) pixel(x, row, o, y + o * w.channels);
      } else {
        for (Index o = 0; o < out; ++o) window(x, row, o, y[o]);
      }
    });
  }

  // Backward, by element of dx: the sum of what its windows give, in their order.

  template <int N>
  void channels_back(const T* dy, Row row, Index i, T* dx, Index count) const {
    const Axis& axis = w.width();
    const Index last = count - (N - 1) * kStep;
    Vec<L> sum[N]{};
    for_each_covering_row(w, row, [&](Index od, Index oh, Index, Index) {
      const L outer = outer_divisor(od, oh);
      for (Index o = axis.lowest[i]; o < axis.behind[i]; ++o) {
        if (axis.tap_at(o, i) < 0) continue;
        const T* p = dy + w.out_row(od, oh) + o * w.channels;
        const Vec<L> share = broadcast(1 / (outer * inner_divisor(o)));
        for (int n = 0; n < N; ++n) sum[n] += load_lanes(p + n * kStep, n + 1 < N ? kStep : last) * share;
      }
    });
    for (int n = 0; n < N; ++n) store_lanes(dx + n * kStep, sum[n], n + 1 < N ? kStep : last);
  }
  void pixel_back(const T* dy, Row row, Index i, T* dx) const {
    Index c = 0;
    for (; c + 4 * kStep <= w.channels; c += 4 * kStep) channels_back<4>(dy + c, row, i, dx + c, 4 * kStep);
    for (; c < w.channels; c += kStep) channels_back<1>(dy + c, row, i, dx + c, smaller(kStep, w.channels - c));
  }

  void block_back(const T* dy, Row row, Index first, T* dx, Index count) const {
    const Axis& axis = w.width();
    const Index back = w.taps.reach;
    alignas(64) L line[kBlock + kReach + 128], divisor[kBlock + kReach + 128];
    PhaseSums<T> phases;
    phases.clear(axis.stride, count);
    for_each_covering_row(w, row, [&](Index od, Index oh, Index, Index) {
      const Index length = up(up(count, kStep) * kStep + back, kStep) * kStep, start = first - back;
      pad_line(line, dy + w.out_row(od, oh), axis.out, start, length, L(0));
      const Index from = smaller(length, larger(0, -start)), to = larger(from, smaller(length, axis.out - start));
      if (from < to) divisors(divisor, od, oh, start + from, to - from);
      for (Index i = 0; i < to - from; i += kStep) {  // behind `to`, zero is divided by what divides the last
        const Vec<L> v = load(line + from + i) / load(divisor + i);
        store(line + from + i, v);
      }
      for (Index q = 0; q < axis.kernel; ++q) {
        L* sums = phases.sums[w.taps.phase[q]];
        const L* p = line + back - w.taps.offset[q];
        for (Index j = 0; j < count; j += kStep) store(sums + j, load(sums + j) + load(p + j));
      }
    });
    phases.weave(dx, axis.in, first * axis.stride - axis.padding, axis.stride, count);
  }

  // Elements [first, first + count) of a channels-first row, run by run.
  void runs_back(const T* dy, Row row, Index first, T* dx, Index count) const {
    const Axis& axis = w.width();
    alignas(64) L sums[kBlock];
    for (Index j = 0; j < count; j += kStep) store(sums + j, Vec<L>{});  // all of them take longer than a short row
    for_each_covering_row(w, row, [&](Index od, Index oh, Index, Index) {
      const L outer = outer_divisor(od, oh);
      for (Index o = axis.lowest[first]; o < axis.behind[first + count - 1]; ++o) {
        const L v = to_lane(dy[w.out_row(od, oh) + o]) / (outer * inner_divisor(o));
        const Index begin = larger(0, axis.first[o] + axis.begin[o] - first),
                    end = smaller(count, axis.first[o] + axis.end[o] - first);
        if (begin < end) map(sums + begin, end - begin, [v](auto s) { return s + v; }, sums + begin);
      }
    });
    map(dx, count, [](auto v) { return v; }, sums);
  }

  void backward() const {
    const Axis& axis = w.width();
    const Index padded = up(axis.in + axis.padding, axis.stride);
    for_each_input_row(w, [&](Row row) {
      const T* dy = a.x + row.plane * w.out_plane();
      T* dx = a.y + row.plane * w.in_plane() + w.in_row(row.d, row.h);
      if (w.by_phases) {
        for (Index j = 0; j < padded; j += kBlock) block_back(dy, row, j, dx, smaller(kBlock, padded - j));
      } else if (w.channels > 1) {
        for (Index i = 0; i < axis.in; ++i) pixel_back(dy, row, i, dx + i * w.channels);
      } else {
        for (Index i = 0; i < axis.in; i += kBlock) runs_back(dy, row, i, dx + i, smaller(kBlock, axis.in - i));
      }
    });
  }
};

}  // namespace
}  // namespace dd2424::cpu::DD2424_ISA
