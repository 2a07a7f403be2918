#pragma once
// Batch norm's way back. Forward has left a rounded mean; the sum of differences from it gives what was left out.
#include "core/float_mode.h"
#include "core/norm.h"
#include "cpu/norm_columns.h"
#include "cpu/norm_planes.h"

namespace dd2424::cpu::DD2424_ISA {
namespace {

template <class T>
using Backward = BatchNormBackward<T>;

template <class T, class L = Lane<T>>
[[gnu::noinline]] Gradient<Vec<L>> finish(const Backward<T>& a, const Sums<Vec<L>>& s, Index channel, Index count) {
  const Vec<L> rstd = load_some(a.rstd + channel, count), slope = load_some(a.scale + channel, count);
  const L n = static_cast<L>(a.outer * a.inner);
  const Vec<L> low = a.training ? s.x / n : Vec<L>{};
  const Vec<L> dweight = rstd * (s.gx - low * s.g);
  if (a.dweight) store_some(a.dweight + channel, dweight, count);
  if (a.dbias) store_some(a.dbias + channel, s.g, count);
  if (!a.training) return {slope, Vec<L>{}, Vec<L>{}};
  const Vec<L> tilt = slope * rstd * (dweight / n);
  return {slope, tilt, slope * (s.g / n) - tilt * low};
}

template <class T>
inline bool goes_around(const Backward<T>& a) {
  const Index elements = a.outer * a.channels * a.inner, stride = a.inner > 1 ? a.inner : a.channels;
  return goes_around(a.dx, elements, stride) && (!a.passed || goes_around(a.dresidual, elements, stride));
}

// Gradients of a channel at a time.
template <class T, class L = Lane<T>>
void backward_channels(const Backward<T>& a, Index begin, Index end) {
  const bool around = goes_around(a);
  for (Index c = begin; c < end; ++c) {
    const Sums<double> s = plane_sums(a, c, 0, a.outer);
    const auto of = [](double sum) { return broadcast(static_cast<L>(sum)); };
    const Gradient<Vec<L>> f = finish<T>(a, {of(s.g), of(s.gx), of(s.x)}, c, 1);
    if (a.dx) plane_gradients(a, Gradient<L>{f.slope[0], f.tilt[0], f.shift[0]}, around, c, 0, a.outer);
  }
  end_stores_around();
}

// The same for all channels of narrow rows.
template <class L>
void backward_columns(const Backward<L>& a) {
  for_column_groups<L>(a.channels, [&](auto vectors, Index c, Index last) {
    constexpr int N = decltype(vectors)::value;
    const Columns<L, N> at{c, a.channels, last};
    Vec<L> sums[N][kSums];
    Gradient<Vec<L>> f[N];
    column_sums(a, at, 0, a.outer, sums);
    for (int k = 0; k < N; ++k) f[k] = finish<L>(a, {sums[k][0], sums[k][1], sums[k][2]}, at.channel(k), at.count(k));
    if (a.dx) column_gradients(a, at, f, false, 0, a.outer);
  });
}

// The same for a tile of whole channels of few pixels.
template <class T, class L = Lane<T>>
void backward_tile(const Backward<T>& a, Index channel, Index channels) {
  const Tile tile{channel * a.inner, channels * a.inner, a.channels * a.inner};
  double sums[kSums][kTile<L>];
  Line<L> lines[kSums];
  TileAffine<L> f{a.mean + channel, a.scale + channel, a.shift + channel};
  if (a.inner > 1) {
    const L** values[] = {&f.mean, &f.scale, &f.shift};
    for (int i = 0; i < kSums; ++i) spread(*values[i], channels, a.inner, lines[i]), *values[i] = lines[i].of;
  }
  tile_sums<T>(a, f, tile, 0, a.outer, {sums[0], sums[1], sums[2]});
  for (auto& sum : sums)
    for (Index c = 0; c < channels; ++c) {
      double total = 0;
      for (Index i = 0; i < a.inner; ++i) total += sum[c * a.inner + i];
      sum[c] = total;
    }
  Line<L> slope, tilt, shift, spreads[kSums];
  for (Index c = 0; c < channels; c += kLanes<L>) {
    const Index count = smaller(kLanes<L>, channels - c);
    const auto g =
        finish<T>(a, {narrow<L>(sums[0] + c, count), narrow<L>(sums[1] + c, count), narrow<L>(sums[2] + c, count)},
                  channel + c, count);
    store(slope.of + c, g.slope);
    store(tilt.of + c, g.tilt);
    store(shift.of + c, g.shift);
  }
  if (!a.dx) return;
  TileGradient<L> d{slope.of, tilt.of, shift.of};
  if (a.inner > 1) {
    const L** values[] = {&d.slope, &d.tilt, &d.shift};
    for (int i = 0; i < kSums; ++i) spread(*values[i], channels, a.inner, spreads[i]), *values[i] = spreads[i].of;
  }
  differentiate_tile(a, f, d, tile, false, 0, a.outer);
}

template <class L>
void chunk_column_sums(const Backward<L>& a, const Chunks& chunks, const Parts& parts) {
  for_row_chunks(chunks, a.outer, a.channels, [&](Index chunk, Index begin, Index end) {
    for_column_groups<L>(a.channels, [&](auto vectors, Index c, Index last) {
      constexpr int N = decltype(vectors)::value;
      const Columns<L, N> at{c, a.channels, last};
      Vec<L> sums[N][kSums];
      column_sums(a, at, begin, end, sums);
      for (int k = 0; k < N; ++k)
        for (int s = 0; s < kSums; ++s)
          widen_lanes<L>(parts.at(chunk, s) + at.channel(k), sums[k][s], Vec<L>{}, at.count(k));
    });
  });
}
template <class T, class L = Lane<T>>
void chunk_sums(const Backward<T>& a, const Extent& extent, const Chunks& chunks, const Parts& parts) {
  if constexpr (std::is_same_v<T, L>) {
    if (is_narrow<T>(extent)) return chunk_column_sums(a, chunks, parts);
  }
  if (extent.in_columns()) {
    return for_tiles<L>(extent, chunks, [&](Index chunk, Index c, Index width, Index begin, Index end) {
      tile_sums<T>(a, {a.mean + c, a.scale + c, a.shift + c}, {c, width, a.channels}, begin, end,
                   {parts.at(chunk, 0) + c, parts.at(chunk, 1) + c, parts.at(chunk, 2) + c});
    });
  }
  for_chunks(extent, chunks, [&](Index chunk, Index channel, Index begin, Index end) {
    const Sums<double> s = plane_sums(a, channel, begin, end);
    parts.at(chunk, 0)[channel] = s.g;
    parts.at(chunk, 1)[channel] = s.gx;
    parts.at(chunk, 2)[channel] = s.x;
  });
}

// Turns the chunks' sums into the slope, tilt and shift of each channel, which the workspace holds from then on, each
// at the start of its sum's place.
template <class T, class L = Lane<T>>
void join_sums(const Backward<T>& a, const Chunks& chunks, const Parts& parts) {
  for (Index width = 1; width < chunks.count; width *= 2)
    for (Index i = 0; i + width < chunks.count; i += 2 * width)
      for (int s = 0; s < kSums; ++s) {
        double* sum = parts.at(i, s);
        const double* other = parts.at(i + width, s);
        for (Index c = 0; c < a.channels; ++c) sum[c] += other[c];
      }
  double *g = parts.at(0, 0), *gx = parts.at(0, 1), *x = parts.at(0, 2);
  for (Index c = 0; c < a.channels; c += kLanes<L>) {
    const Index count = smaller(kLanes<L>, a.channels - c);
    const auto f = finish<T>(a, {narrow<L>(g + c, count), narrow<L>(gx + c, count), narrow<L>(x + c, count)}, c, count);
    store_some(reinterpret_cast<L*>(g) + c, f.slope, count);
    store_some(reinterpret_cast<L*>(gx) + c, f.tilt, count);
    store_some(reinterpret_cast<L*>(x) + c, f.shift, count);
  }
}

template <class T, class L = Lane<T>>
void gradients_all(const Backward<T>& a, const Parts& parts) {
  const auto values = [&](int sum) { return reinterpret_cast<const L*>(parts.at(0, sum)); };
  const TileGradient<L> f{values(0), values(1), values(2)};
  const bool around = goes_around(a);
  if constexpr (std::is_same_v<T, L>) {
    if (is_narrow<T>({a.outer, a.channels, a.inner})) {
      return parallel_for(a.outer, kGrain / a.channels + 1, [&](Index begin, Index end) {
        for_column_groups<L>(a.channels, [&](auto vectors, Index c, Index last) {
          constexpr int N = decltype(vectors)::value;
          const Columns<L, N> at{c, a.channels, last};
          Gradient<Vec<L>> of[N];
          for (int k = 0; k < N; ++k)
            of[k] = {at.of_channel(f.slope, k), at.of_channel(f.tilt, k), at.of_channel(f.shift, k)};
          column_gradients(a, at, of, around, begin, end);
        });
        end_stores_around();
      });
    }
  }
  if (a.inner == 1) {
    return for_rows_of_tiles<L>({a.outer, a.channels, 1}, [&](const Tile& tile, Index begin, Index end) {
      const Index c = tile.first;
      differentiate_tile(a, TileAffine<L>{a.mean + c, a.scale + c, a.shift + c},
                         TileGradient<L>{f.slope + c, f.tilt + c, f.shift + c}, tile, around, begin, end);
    });
  }
  parallel_for(a.outer * a.channels, kGrain / a.inner + 1, [&](Index begin, Index end) {
    for (Index k = begin; k < end; ++k) {
      const Index c = k % a.channels;
      plane_gradients(a, Gradient<L>{f.slope[c], f.tilt[c], f.shift[c]}, around, c, k / a.channels, k / a.channels + 1);
    }
    end_stores_around();
  });
}

template <class T, class L = Lane<T>>
Status batch_norm_backward(const Context& context, const Backward<T>& a) {
  const FloatMode mode;
  const Extent extent{a.outer, a.channels, a.inner};
  if (extent.count() == 0) {
    for (Index c = 0; c < a.channels; ++c) {
      if (a.dweight) a.dweight[c] = 0;
      if (a.dbias) a.dbias[c] = 0;
    }
    return Status::ok;
  }
  if (a.channels == 0) return Status::ok;
  const Chunks chunks = extent.chunks();
  if constexpr (std::is_same_v<T, L>) {
    if (is_narrow<T>(extent) && chunks.count == 1) return backward_columns(a), Status::ok;
  }
  if (is_once(extent, chunks)) {
    for_whole_channels<L>(extent, [&](Index channel, Index channels) { backward_tile(a, channel, channels); });
    return Status::ok;
  }
  if (chunks.count == 1) {
    parallel_for(a.channels, kGrain / extent.count() + 1,
                 [&](Index begin, Index end) { backward_channels(a, begin, end); });
    return Status::ok;
  }
  const Parts parts{static_cast<double*>(context.workspace), a.channels};
  chunk_sums(a, extent, chunks, parts);
  join_sums(a, chunks, parts);
  if (a.dx) gradients_all(a, parts);
  return Status::ok;
}

}  // namespace
}  // namespace dd2424::cpu::DD2424_ISA
