#pragma once
// Batch norm's way there. Moments are taken about a mean that has itself been rounded; what that left out, the mean
// difference, is measured in the same pass and made good. So a large common offset costs no precision.
#include "core/float_mode.h"
#include "core/norm.h"
#include "cpu/norm_columns.h"
#include "cpu/norm_planes.h"

namespace dd2424::cpu::DD2424_ISA {
namespace {

template <class T>
using Forward = BatchNormForward<T>;

template <class T, class L = Lane<T>>
inline void store_affine(const Forward<T>& a, Vec<L> mean, Vec<L> low, Vec<L> var, Index channel, Index count) {
  const Vec<L> rstd = L(1) / sqrt(var + static_cast<L>(a.eps));
  const Vec<L> scale = rstd * load_or(a.weight ? a.weight + channel : nullptr, count, L(1));
  store_some(a.mean + channel, mean, count);
  store_some(a.rstd + channel, rstd, count);
  store_some(a.scale + channel, scale, count);
  store_some(a.shift + channel, load_or(a.bias ? a.bias + channel : nullptr, count, L(0)) - low * scale, count);
}

// Writes what training leaves behind for the channels of a vector.
template <class T, class L = Lane<T>>
[[gnu::noinline]] void finish(const Forward<T>& a, Moments<Vec<L>> m, Index channel, Index count) {
  const L n = static_cast<L>(a.outer * a.inner), moved = static_cast<L>(a.momentum),
          stays = static_cast<L>(1 - a.momentum);
  const Vec<L> mean = m.mean + m.low, low = (m.mean - mean) + m.low;
  if (a.running_mean)
    store_some(a.running_mean + channel, stays * load_some(a.running_mean + channel, count) + moved * mean, count);
  if (a.running_var)
    store_some(a.running_var + channel, stays * load_some(a.running_var + channel, count) + moved * (m.m2 / (n - L(1))),
               count);
  store_affine<T>(a, mean, low, m.m2 / n, channel, count);
}
template <class T, class L = Lane<T>>
void finish_given(const Forward<T>& a) {
  for (Index c = 0; c < a.channels; c += kLanes<L>) {
    const Index count = smaller(kLanes<L>, a.channels - c);
    store_affine<T>(a, load_some(a.running_mean + c, count), Vec<L>{}, load_some(a.running_var + c, count), c, count);
  }
}

template <class T>
inline bool goes_around(const Forward<T>& a) {
  return goes_around(a.y, a.outer * a.channels * a.inner, a.inner > 1 ? a.inner : a.channels);
}

template <class T>
inline Lane<T> first_of(const Forward<T>& a, Index channel) {
  return load_some(a.x + channel * a.inner, 1)[0];
}

// Turns moments of channels, their means counted from the channels' first elements, into what normalises them; they
// are overwritten.
template <class T, class L = Lane<T>>
void finish_channels(const Forward<T>& a, double* mean, double* low, const double* m2, Index channel, Index channels) {
  for (Index c = 0; c < channels; ++c) {
    const double origin = static_cast<double>(first_of(a, channel + c)), offset = mean[c];
    mean[c] = static_cast<double>(static_cast<L>(origin + offset));
    low[c] = (origin - mean[c]) + offset;
  }
  for (Index c = 0; c < channels; c += kLanes<L>) {
    const Index count = smaller(kLanes<L>, channels - c);
    finish<T>(a, {narrow<L>(mean + c, count), narrow<L>(low + c, count), narrow<L>(m2 + c, count)}, channel + c, count);
  }
}

// Statistics and result of a channel at a time.
template <class T, class L = Lane<T>>
void forward_channels(const Forward<T>& a, Index begin, Index end) {
  const Extent extent{a.outer, a.channels, a.inner};
  const bool around = goes_around(a);
  for (Index c = begin; c < end; ++c) {
    Moments<double> m = plane_moments(a.x, first_of(a, c), extent, c, 0, a.outer);
    finish_channels(a, &m.mean, &m.low, &m.m2, c, 1);
    normalize_planes(a, around, c, 0, a.outer);
  }
  end_stores_around();
}

// The same for all channels of narrow rows.
template <class L>
void forward_columns(const Forward<L>& a) {
  for_column_groups<L>(a.channels, [&](auto vectors, Index c, Index last) {
    constexpr int N = decltype(vectors)::value;
    const Columns<L, N> at{c, a.channels, last};
    Moments<Vec<L>> m[N]{};
    column_moments(a.x, at, 0, a.outer, m);
    for (int k = 0; k < N; ++k) finish<L>(a, m[k], at.channel(k), at.count(k));
    normalize_columns(a, at, false, 0, a.outer);
  });
}

// The same for a tile of whole channels of few pixels: the moments of its columns, joined to those of channels.
template <class T, class L = Lane<T>>
void forward_tile(const Forward<T>& a, Index channel, Index channels) {
  const Tile tile{channel * a.inner, channels * a.inner, a.channels * a.inner};
  double mean[kTile<L>], low[kTile<L>], m2[kTile<L>];
  tile_moments<T>(a.x + tile.first, tile.stride, tile.width, 0, a.outer, mean, m2);
  const double n = static_cast<double>(a.outer);
  for (Index c = 0; c < channels; ++c) {  // what of column i is written has been read
    const T* x = a.x + tile.first + c * a.inner;
    const double origin = static_cast<double>(load_some(x, 1)[0]);
    double *of = mean + c * a.inner, sum = 0, within = 0, between = 0;
    for (Index i = 0; i < a.inner; ++i) {
      of[i] += static_cast<double>(load_some(x + i, 1)[0]) - origin;
      sum += of[i];
      within += m2[c * a.inner + i];
    }
    const double offset = sum / static_cast<double>(a.inner);
    for (Index i = 0; i < a.inner; ++i) between += (of[i] - offset) * (of[i] - offset);
    mean[c] = offset;
    m2[c] = within + n * between;
  }
  finish_channels(a, mean, low, m2, channel, channels);
  Line<L> lines[3];
  TileAffine<L> f{a.mean + channel, a.scale + channel, a.shift + channel};
  if (a.inner > 1) {
    const L** values[] = {&f.mean, &f.scale, &f.shift};
    for (int i = 0; i < 3; ++i) spread(*values[i], channels, a.inner, lines[i]), *values[i] = lines[i].of;
  }
  normalize_tile(a, f, tile, false, 0, a.outer);
}

// Chunks' means are kept as differences from the channel's first element: double has bits for no more than that.
template <class L>
void chunk_column_moments(const Forward<L>& a, const Chunks& chunks, const Parts& parts) {
  for_row_chunks(chunks, a.outer, a.channels, [&](Index chunk, Index begin, Index end) {
    for_column_groups<L>(a.channels, [&](auto vectors, Index c, Index last) {
      constexpr int N = decltype(vectors)::value;
      const Columns<L, N> at{c, a.channels, last};
      Moments<Vec<L>> m[N]{};
      column_moments(a.x, at, begin, end, m);
      for (int k = 0; k < N; ++k) {
        widen_lanes<L>(parts.at(chunk, 0) + at.channel(k), m[k].mean - at.of_row(a.x, 0, k), m[k].low, at.count(k));
        widen_lanes<L>(parts.at(chunk, 1) + at.channel(k), m[k].m2, Vec<L>{}, at.count(k));
      }
    });
  });
}
template <class T, class L = Lane<T>>
void chunk_moments(const Forward<T>& a, const Extent& extent, const Chunks& chunks, const Parts& parts) {
  if constexpr (std::is_same_v<T, L>) {
    if (is_narrow<T>(extent)) return chunk_column_moments(a, chunks, parts);
  }
  if (extent.in_columns()) {
    return for_tiles<L>(extent, chunks, [&](Index chunk, Index c, Index width, Index begin, Index end) {
      tile_moments<T>(a.x + c, a.channels, width, begin, end, parts.at(chunk, 0) + c, parts.at(chunk, 1) + c);
    });
  }
  for_chunks(extent, chunks, [&](Index chunk, Index channel, Index begin, Index end) {
    const Moments<double> m = plane_moments(a.x, first_of(a, channel), extent, channel, begin, end);
    parts.at(chunk, 0)[channel] = m.mean;
    parts.at(chunk, 1)[channel] = m.m2;
  });
}

// Joins the chunks' moments in the order of a binary tree. Source: Chan, Golub and LeVeque, "Algorithms for computing
// the sample variance", 1983, equation 2.1.
inline void join_moments(const Extent& extent, const Chunks& chunks, const Parts& parts) {
  const auto elements = [&](Index chunk, Index width) {
    return static_cast<double>(smaller((chunk + width) * chunks.size, extent.outer) - chunk * chunks.size) *
           static_cast<double>(extent.inner);
  };
  for (Index width = 1; width < chunks.count; width *= 2)
    for (Index i = 0; i + width < chunks.count; i += 2 * width) {
      const double n1 = elements(i, width), n2 = elements(i + width, width), share = n2 / (n1 + n2);
      double *mean = parts.at(i, 0), *m2 = parts.at(i, 1);
      const double *other = parts.at(i + width, 0), *other_m2 = parts.at(i + width, 1);
      for (Index c = 0; c < extent.channels; ++c) {
        const double delta = other[c] - mean[c];
        mean[c] += delta * share;
        m2[c] += other_m2[c] + delta * delta * (n1 * share);
      }
    }
}

// y of all elements from the channels' mean, scale and shift.
template <class T, class L = Lane<T>>
void normalize_all(const Forward<T>& a) {
  const bool around = goes_around(a);
  if constexpr (std::is_same_v<T, L>) {
    if (is_narrow<T>({a.outer, a.channels, a.inner})) {
      return parallel_for(a.outer, kGrain / a.channels + 1, [&](Index begin, Index end) {
        for_column_groups<L>(a.channels, [&](auto vectors, Index c, Index last) {
          const Columns<L, decltype(vectors)::value> at{c, a.channels, last};
          normalize_columns(a, at, around, begin, end);
        });
        end_stores_around();
      });
    }
  }
  if (a.inner == 1) {
    return for_rows_of_tiles<L>({a.outer, a.channels, 1}, [&](const Tile& tile, Index begin, Index end) {
      const TileAffine<L> f{a.mean + tile.first, a.scale + tile.first, a.shift + tile.first};
      normalize_tile(a, f, tile, around, begin, end);
    });
  }
  parallel_for(a.outer * a.channels, kGrain / a.inner + 1, [&](Index begin, Index end) {
    for (Index k = begin; k < end; ++k) normalize_planes(a, around, k % a.channels, k / a.channels, k / a.channels + 1);
    end_stores_around();
  });
}

template <class T, class L = Lane<T>>
Status batch_norm_forward(const Context& context, const Forward<T>& a) {
  const FloatMode mode;
  const Extent extent{a.outer, a.channels, a.inner};
  if (a.channels == 0) return Status::ok;
  if (!a.training) {
    finish_given(a);
    if (extent.count() > 0) normalize_all(a);
    return Status::ok;
  }
  if (extent.count() == 0) return Status::ok;
  const Chunks chunks = extent.chunks();
  if constexpr (std::is_same_v<T, L>) {
    if (is_narrow<T>(extent) && chunks.count == 1) return forward_columns(a), Status::ok;
  }
  if (is_once(extent, chunks)) {
    for_whole_channels<L>(extent, [&](Index channel, Index channels) { forward_tile(a, channel, channels); });
    return Status::ok;
  }
  if (chunks.count == 1) {
    parallel_for(a.channels, kGrain / extent.count() + 1,
                 [&](Index begin, Index end) { forward_channels(a, begin, end); });
    return Status::ok;
  }
  const Parts parts{static_cast<double*>(context.workspace), a.channels};
  chunk_moments(a, extent, chunks, parts);
  join_moments(extent, chunks, parts);
  finish_channels(a, parts.at(0, 0), parts.at(0, 2), parts.at(0, 1), 0, a.channels);
  normalize_all(a);
  return Status::ok;
}

}  // namespace
}  // namespace dd2424::cpu::DD2424_ISA
