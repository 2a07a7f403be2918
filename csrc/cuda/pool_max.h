#pragma once
#include "cuda/pool_window.h"

// The greatest of the square windows that networks have, all of whose taps are read before they are compared. Where
// channels lie side by side, a thread has a few of them; else, on the way back, a few places of a line.
namespace dd2424::cuda {
namespace {

template <int K, int S>
bool has_window(const PoolSizes& s) {
  const auto fits = [](const PoolAxis& a) { return !a.adaptive && a.kernel == K && a.stride == S && a.dilation == 1; };
  return s.axes[0].in == 1 && s.axes[0].kernel == 1 && s.axes[0].padding == 0 && fits(s.axes[1]) && fits(s.axes[2]);
}

template <class T, int K, int S, int W>
__global__ void max_window_kernel(const T* x, T* y, std::uint8_t* taps, Sizes s, Divider packs) {
  for_each_item(s.outputs / W, [&](Index i) {
    const Numbers at(static_cast<int>(i), packs, s.width.by_out, s.height.by_out, s.depth.by_out);
    const int h = at.h * S - s.height.padding, w = at.w * S - s.width.padding;
    const T* from = x + ((at.plane * s.height.in + h) * s.width.in + w) * s.channels + at.channel * W;
    Pack<T, W> v[K * K];
#pragma unroll
    for (int q = 0; q < K * K; ++q) {
      const bool is_inside = h + q / K >= 0 && h + q / K < s.height.in && w + q % K >= 0 && w + q % K < s.width.in;
      if (is_inside) v[q] = load_pack<W>(from + (q / K * s.width.in + q % K) * s.channels, true);
      else
        for (int c = 0; c < W; ++c) v[q].of[c] = element<T>(lowest<T>());
    }
    const int first = (h < 0 ? -h : 0) * K + (w < 0 ? -w : 0);
    Pack<T, W> greatest;
    Pack<std::uint8_t, W> tap;
#pragma unroll
    for (int c = 0; c < W; ++c) {
      Computed<T> best = lowest<T>();
      int number = first;
#pragma unroll
      for (int q = 0; q < K * K; ++q) {
        const Computed<T> u = value(v[q].of[c]);
        if (u > best || u != u) best = u, number = q;
      }
      greatest.of[c] = element<T>(best);
      tap.of[c] = static_cast<std::uint8_t>(number);
    }
    store_pack<W>(y + i * W, greatest, true);
    store_pack<W>(taps + i * W, tap, true);
  });
}

// V places of a line or W channels of one place: dy of the windows whose tap they are, in the windows' order.
template <class T, int K, int S, int V, int W>
__global__ void max_window_backward_kernel(const std::uint8_t* taps, const T* dy, T* dx, Sizes s, Divider packs,
                                           Divider line) {
  constexpr int kRows = (K - 1) / S + 1, kColumns = (V + K - 2) / S + 1;  // windows that may hold them
  for_each_item(s.inputs / (V * W), [&](Index i) {
    const Numbers at(static_cast<int>(i), packs, line, s.height.by_in, s.depth.by_in);
    const int h = at.h + s.height.padding, w = at.w * V + s.width.padding;  // in the padded image
    const int row = h < K ? 0 : (h - K + S) / S, column = w < K ? 0 : (w - K + S) / S;
    Pack<std::uint8_t, W> tap[kRows * kColumns];
    Pack<T, W> d[kRows * kColumns];
#pragma unroll
    for (int k = 0; k < kRows * kColumns; ++k) {
      const int oh = row + k / kColumns, ow = column + k % kColumns;
      const int place = ((at.plane * s.height.out + oh) * s.width.out + ow) * s.channels + at.channel * W;
      const bool is_inside = oh < s.height.out && ow < s.width.out;
      tap[k] = is_inside ? load_pack<W>(taps + place, true) : Pack<std::uint8_t, W>{};
      d[k] = is_inside ? load_pack<W>(dy + place, true) : Pack<T, W>{};
      const bool is_row = is_inside && oh * S <= h;
#pragma unroll
      for (int c = 0; c < W; ++c)
        if (!is_row) tap[k].of[c] = 255;  // no tap
    }
    Computed<T> sum[V * W] = {};
#pragma unroll
    for (int k = 0; k < kRows * kColumns; ++k) {
      const int above = (h - (row + k / kColumns) * S) * K, before = (column + k % kColumns) * S - w;
#pragma unroll
      for (int c = 0; c < W; ++c) {
        const int along = tap[k].of[c] - above;  // the line of the tap is this one
        const int place = along >= 0 && along < K ? along + before : -1;
#pragma unroll
        for (int v = 0; v < V; ++v)
          if (place == v) sum[v * W + c] += value(d[k].of[c]);
      }
    }
    Pack<T, V * W> total;
#pragma unroll
    for (int v = 0; v < V * W; ++v) total.of[v] = element<T>(sum[v]);
    store_pack<V * W>(dx + i * (V * W), total, true);
  });
}

template <class T>
constexpr int kChannelPack = 16 / sizeof(T);

template <class T, int K, int S>
Status max_window(const Context& context, const MaxPoolForward<T>& a) {
  constexpr int W = kChannelPack<T>;
  auto* taps = static_cast<std::uint8_t*>(a.taps);
  const bool wide = a.sizes.channels % W == 0 && are_aligned({a.x, a.y, a.taps});
  return for_planes(a.sizes, [&](const PoolSizes& some, Index in, Index out) {
    const Sizes s(some);
    if (wide)
      return launch_items(context, s.outputs / W, max_window_kernel<T, K, S, W>, a.x + in, a.y + out, taps + out, s,
                          Divider(s.channels / W));
    return launch_items(context, Index{s.outputs}, max_window_kernel<T, K, S, 1>, a.x + in, a.y + out, taps + out, s,
                        s.by_channels);
  });
}
template <class T, int K, int S>
Status max_window_backward(const Context& context, const MaxPoolBackward<T>& a) {
  constexpr int W = kChannelPack<T>, V = 4;
  const auto* taps = static_cast<const std::uint8_t*>(a.taps);
  const bool wide = a.sizes.channels % W == 0 && are_aligned({a.dy, a.dx, a.taps});
  const bool in_lines = a.sizes.channels == 1 && a.sizes.axes[2].in % V == 0 && are_aligned({a.dx});
  return for_planes(a.sizes, [&](const PoolSizes& some, Index in, Index out) {
    const Sizes s(some);
    const T* dy = a.dy + out;
    T* dx = a.dx + in;
    if (wide)
      return launch_items(context, s.inputs / W, max_window_backward_kernel<T, K, S, 1, W>, taps + out, dy, dx, s,
                          Divider(s.channels / W), s.width.by_in);
    if (in_lines)
      return launch_items(context, s.inputs / V, max_window_backward_kernel<T, K, S, V, 1>, taps + out, dy, dx, s,
                          s.by_channels, Divider(s.width.in / V));
    return launch_items(context, Index{s.inputs}, max_window_backward_kernel<T, K, S, 1, 1>, taps + out, dy, dx, s,
                        s.by_channels, s.width.by_in);
  });
}

}  // namespace
}  // namespace dd2424::cuda
