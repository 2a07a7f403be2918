#pragma once
// Maximum. An element takes the window over if it is greater than those before it, or NaN: so the first of equals stays.
#include "cpu/pool_row.h"

namespace dd2424::cpu::DD2424_ISA {
namespace {

template <class T>
constexpr Lane<T> lowest_of() {
  if constexpr (kFloating<T>)
    return -Lane<T>(__builtin_inf());
  else if constexpr (std::is_unsigned_v<T>)
    return 0;
  else
    return T(T(1) << (8 * sizeof(T) - 2)) * -2;
}

template <class T, class Tap>
struct MaxPool {
  using L = Lane<T>;
  static constexpr int kStep = kLanes<L>;
  const Windows w;

  Index first_tap(Row row, Index o) const {
    return w.tap(w.axes[0].begin[row.d], w.axes[1].begin[row.h], w.width().begin[o]);
  }

  // One window of a plane of x, whose pixels lie w.channels apart.
  void window(const T* x, Row row, Index o, T& y, Tap& tap) const {
    const Axis& axis = w.width();
    L best = lowest_of<T>();
    Index found = first_tap(row, o);
    for_each_tap_row(w, row, [&](Index qd, Index qh, Index offset) {
      const T* p = x + offset + axis.first[o] * w.channels;
      const Index before = w.tap(qd, qh, 0);
      for (Index q = axis.begin[o]; q < axis.end[o]; ++q) {
        const L v = to_lane(p[q * axis.dilation * w.channels]);
        if (v > best || v != v) best = v, found = before + q;
      }
    });
    from_lane(best, y), tap = static_cast<Tap>(found);
  }

  // `count` channels, at most N vectors of them, of one window.
  template <int N>
  void channels(const T* x, Row row, Index o, T* y, Tap* taps, Index count) const {
    const Axis& axis = w.width();
    Vec<L> best[N];
    TapVec<T> found[N];
    for (int n = 0; n < N; ++n) best[n] = broadcast(lowest_of<T>()), found[n] = broadcast(TapLane<T>(first_tap(row, o)));
    const Index last = count - (N - 1) * kStep;
    for_each_tap_row(w, row, [&](Index qd, Index qh, Index offset) {
      for (Index q = axis.begin[o]; q < axis.end[o]; ++q) {
        const T* p = x + offset + (axis.first[o] + q * axis.dilation) * w.channels;
        const TapVec<T> here = broadcast(TapLane<T>(w.tap(qd, qh, q)));
        for (int n = 0; n < N; ++n) {
          const Vec<L> v = n + 1 < N ? load(p + n * kStep) : load_lanes(p + n * kStep, last);
          const auto wins = (v > best[n]) | (v != v);
          best[n] = wins ? v : best[n], found[n] = wins ? here : found[n];
        }
      }
    });
    for (int n = 0; n < N; ++n) {
      store_lanes(y + n * kStep, best[n], n + 1 < N ? kStep : last);
      store_taps<T>(taps + n * kStep, found[n], n + 1 < N ? kStep : last);
    }
  }
  void pixel(const T* x, Row row, Index o, T* y, Tap* taps) const {
    Index c = 0;
    for (; c + 4 * kStep <= w.channels; c += 4 * kStep) channels<4>(x + c, row, o, y + c, taps + c, 4 * kStep);
    for (; c < w.channels; c += kStep)
      channels<1>(x + c, row, o, y + c, taps + c, lesser(kStep, w.channels - c));
  }

  // `count` neighbouring windows of a channels-first row, from o on.
  void block(const T* x, Row row, Index o, T* y, Tap* taps, Index count) const {
    const Axis& axis = w.width();
    alignas(64) L best[kBlock + kStep];
    alignas(64) TapLane<T> found[kBlock + kStep];
    const auto initial = TapLane<T>(w.tap(w.axes[0].begin[row.d], w.axes[1].begin[row.h], 0));
    for (Index j = 0; j < count; j += kStep) store(best + j, broadcast(lowest_of<T>())), store(found + j, broadcast(initial));
    for (Index j = 0; j < count && axis.begin[o + j] > 0; ++j) found[j] += TapLane<T>(axis.begin[o + j]);
    Phases<T> phases;
    for_each_tap_row(w, row, [&](Index qd, Index qh, Index offset) {
      phases.split(x + offset, axis.in, axis.first[o], axis.stride, count + reach(axis), lowest_of<T>());
      for (Index j = 0; j < count; j += kStep) {
        Vec<L> b = load(best + j);
        TapVec<T> f = load(found + j);
        for (Index q = 0; q < axis.kernel; ++q) {
          const Index at = q * axis.dilation;
          const Vec<L> v = load(phases.at[at % axis.stride] + at / axis.stride + j);
          const auto wins = (v > b) | (v != v);
          b = wins ? v : b, f = wins ? broadcast(TapLane<T>(w.tap(qd, qh, q))) : f;
        }
        store(best + j, b), store(found + j, f);
      }
    });
    for (Index j = 0; j < count; j += kStep) {
      store_lanes(y + j, load(best + j), lesser(kStep, count - j));
      store_taps<T>(taps + j, load(found + j), lesser(kStep, count - j));
    }
  }

  void forward(const MaxPoolForward<T>& a) const {
    const Index out = w.width().out;
    for_each_output_row(w, [&](Row row) {
      const T* x = a.x + row.plane * w.in_plane();
      const Index at = row.plane * w.out_plane() + w.out_row(row.d, row.h);
      T* y = a.y + at;
      Tap* taps = static_cast<Tap*>(a.taps) + at;
      if constexpr (kFloating<T>) {
        if (has_phases(w)) {
          for (Index o = 0; o < out; o += kBlock) block(x, row, o, y + o, taps + o, lesser(kBlock, out - o));
          return;
        }
        if (w.channels >= 4) {
          for (Index o = 0; o < out; ++o) pixel(x, row, o, y + o * w.channels, taps + o * w.channels);
          return;
        }
      }
      for (Index o = 0; o < out; ++o)
        for (Index c = 0; c < w.channels; ++c)
          window(x + c, row, o, y[o * w.channels + c], taps[o * w.channels + c]);
    });
  }

  // Backward, by element of dx: the windows that hold it, in their order, give theirs if it was their greatest.

  void channels_back(const T* dy, const Tap* taps, Row row, Index i, T* dx, Index count) const {
    const Axis& axis = w.width();
    Vec<L> sum{};
    for_each_covering_row(w, row, [&](Index od, Index oh, Index qd, Index qh) {
      for (Index o = axis.lowest[i]; o < axis.behind[i]; ++o) {
        const Index q = axis.tap_at(o, i), at = w.out_row(od, oh) + o * w.channels;
        if (q < 0) continue;
        const auto ours = load_taps<T>(taps + at, count) == broadcast(TapLane<T>(w.tap(qd, qh, q)));
        sum += ours ? load_lanes(dy + at, count) : Vec<L>{};
      }
    });
    store_lanes(dx, sum, count);
  }

  // Elements first + j of the padded row, by phase, for `count` j of each.
  void block_back(const T* dy, const Tap* taps, Row row, Index first, T* dx, Index count) const {
    const Axis& axis = w.width();
    const Index back = reach(axis);
    alignas(64) L line[kBlock + kReach + 64];
    alignas(64) TapLane<T> line_taps[kBlock + kReach + 64];
    PhaseSums<T> phases;
    phases.clear(axis.stride, count);
    for_each_covering_row(w, row, [&](Index od, Index oh, Index qd, Index qh) {
      const Index at = w.out_row(od, oh), length = up(count, kStep) * kStep + back, start = first - back;
      pad_line(line, dy + at, axis.out, start, length, L(0));
      const Index from = lesser(length, greater(0, -start)), to = greater(from, lesser(length, axis.out - start));
      for (Index i = from; i < to; i += kStep)
        store(line_taps + i, load_taps<T>(taps + at + start + i, lesser(kStep, to - i)));
      for (Index q = 0; q < axis.kernel; ++q) {
        const Index tap = q * axis.dilation, shift = back - tap / axis.stride;
        const TapVec<T> ours = broadcast(TapLane<T>(w.tap(qd, qh, q)));
        L* sums = phases.sums[tap % axis.stride];
        for (Index j = 0; j < count; j += kStep) {
          const Vec<L> v = load(line + shift + j);
          store(sums + j, load(sums + j) + (load(line_taps + shift + j) == ours ? v : Vec<L>{}));
        }
      }
    });
    phases.weave(dx, axis.in, first * axis.stride - axis.padding, axis.stride, count);
  }

  // Elements [first, first + count) of one channel's row.
  void scatter_back(const T* dy, const Tap* taps, Row row, Index first, T* dx, Index count) const {
    const Axis& axis = w.width();
    L sums[kBlock]{};
    for_each_covering_row(w, row, [&](Index od, Index oh, Index qd, Index qh) {
      const Index at = w.out_row(od, oh), before = w.tap(qd, qh, 0);
      for (Index o = axis.lowest[first]; o < axis.behind[first + count - 1]; ++o) {
        const Index q = Index(taps[at + o * w.channels]) - before, i = axis.first[o] + q * axis.dilation - first;
        if (q >= 0 && q < axis.kernel && i >= 0 && i < count) sums[i] += to_lane(dy[at + o * w.channels]);
      }
    });
    for (Index i = 0; i < count; ++i) from_lane(sums[i], dx[i * w.channels]);
  }

  void backward(const MaxPoolBackward<T>& a) const {
    const Axis& axis = w.width();
    const Index padded = up(axis.in + axis.padding, axis.stride);
    for_each_input_row(w, [&](Row row) {
      const T* dy = a.dy + row.plane * w.out_plane();
      const Tap* taps = static_cast<const Tap*>(a.taps) + row.plane * w.out_plane();
      T* dx = a.dx + row.plane * w.in_plane() + w.in_row(row.d, row.h);
      if (has_phases(w)) {
        for (Index j = 0; j < padded; j += kBlock) block_back(dy, taps, row, j, dx, lesser(kBlock, padded - j));
      } else if (w.channels >= 4) {
        for (Index i = 0; i < axis.in; ++i)
          for (Index c = 0; c < w.channels; c += kStep)
            channels_back(dy + c, taps + c, row, i, dx + i * w.channels + c, lesser(kStep, w.channels - c));
      } else {
        for (Index c = 0; c < w.channels; ++c)
          for (Index i = 0; i < axis.in; i += kBlock)
            scatter_back(dy + c, taps + c, row, i, dx + i * w.channels + c, lesser(kBlock, axis.in - i));
      }
    });
  }

  void locate(const MaxPoolLocate& a) const {
    const Axis &depth = w.axes[0], &height = w.axes[1], &width = w.axes[2];
    for_each_output_row(w, [&](Row row) {
      const Index at = row.plane * w.out_plane() + w.out_row(row.d, row.h);
      const Tap* taps = static_cast<const Tap*>(a.taps) + at;
      for (Index i = 0; i < width.out * w.channels; ++i) {
        const Index tap = taps[i], o = i / w.channels;
        const Index d = depth.first[row.d] + tap / (height.kernel * width.kernel) * depth.dilation;
        const Index h = height.first[row.h] + tap / width.kernel % height.kernel * height.dilation;
        const Index column = width.first[o] + tap % width.kernel * width.dilation;
        a.index[at + i] = (d * height.in + h) * width.in + column;
      }
    });
  }
};

}  // namespace
}  // namespace dd2424::cpu::DD2424_ISA
