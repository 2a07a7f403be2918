#pragma once
// Batch norm's way there. Moments are taken about a mean that has itself been rounded; what that left out, the mean
// difference, is measured in the same pass and made good. So a large common offset costs no precision.
#include "core/float_mode.h"
#include "core/norm.h"
#include "cpu/norm_tiles.h"
#include "cpu/norm_walk.h"

namespace dd2424::cpu::DD2424_ISA {
namespace {

template <class T>
using Forward = BatchNormForward<T>;

template <class V>
struct Moments {  // of n elements: mean + low is their mean, m2 the sum of squared differences from it
  V mean, low, m2;
};

template <class T, int N, class L = Lane<T>>
inline void column_moments(const Columns<const T, N>& x, Index rows, Moments<Vec<L>> (&m)[N]) {
  Vec<L> origin[N], sum[1][N], sums[2][N];
  const L n = static_cast<L>(rows);
  for (int k = 0; k < N; ++k) origin[k] = x.at(0, k);
  sum_rows<L>(rows, sum, [&](Index row, int k, Vec<L>* part) { part[0] += x.at(row, k) - origin[k]; });
  for (int k = 0; k < N; ++k) m[k].mean = origin[k] + sum[0][k] / n;
  sum_rows<L>(rows, sums, [&](Index row, int k, Vec<L>* part) {
    const Vec<L> d = x.at(row, k) - m[k].mean;
    part[0] += d;
    part[1] = fma(d, d, part[1]);
  });
  for (int k = 0; k < N; ++k) {
    m[k].low = sums[0][k] / n;
    m[k].m2 = sums[1][k] - sums[0][k] * m[k].low;
  }
}

template <class T, class L = Lane<T>>
inline Moments<L> plane_moments(const T* x, const Extent& extent, Index channel, Index begin, Index end) {
  L origin[kLanes<L>], sum[1], sums[2];
  store(origin, load_some(x + (begin * extent.channels + channel) * extent.inner, 1));
  const L n = static_cast<L>((end - begin) * extent.inner);
  const auto from = [&](Index place, Index count, Vec<L> about) {
    if (count == kLanes<L>) return load(x + place) - about;
    return keep_lanes<L>(count) ? load(x + place, count) - about : Vec<L>{};
  };
  sum_planes<L>(extent, channel, begin, end, sum, [&](Index place, Index count, Vec<L>* part) {
    prefetch_plane(x + place, extent);
    part[0] += from(place, count, broadcast(origin[0]));
  });
  const L mean = origin[0] + sum[0] / n;
  sum_planes<L>(extent, channel, begin, end, sums, [&](Index place, Index count, Vec<L>* part) {
    const Vec<L> d = from(place, count, broadcast(mean));
    part[0] += d;
    part[1] = fma(d, d, part[1]);
  });
  return {mean, sums[0] / n, sums[1] - sums[0] * (sums[0] / n)};
}

// y = (x - mean) * scale + shift
template <class V>
struct Affine {
  V mean, scale, shift;
  V operator()(V x) const { return fma(x - mean, scale, shift); }
};

template <class T, class L = Lane<T>>
inline Affine<Vec<L>> stored(const Forward<T>& a, Index channel, Index count) {
  return {load_some(a.mean + channel, count), load_some(a.scale + channel, count), load_some(a.shift + channel, count)};
}
template <class T, class L = Lane<T>>
inline Affine<Vec<L>> stored_for_one(const Forward<T>& a, Index channel) {
  return {broadcast(a.mean[channel]), broadcast(a.scale[channel]), broadcast(a.shift[channel])};
}

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
inline void finish(const Forward<T>& a, Moments<Vec<L>> m, Index channel, Index count) {
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

template <class T, int N, class L = Lane<T>>
inline void normalize_columns(const Forward<T>& a, Index channel, Index last, Index begin, Index end) {
  const auto from = [&](const T* p) { return Columns<const T, N>{p + channel, a.channels, last}; };
  const auto x = from(a.x), rest = from(a.residual ? a.residual : a.x);
  const Columns<T, N> y{a.y + channel, a.channels, last};
  Affine<Vec<L>> f[N];
  for (int k = 0; k < N; ++k) f[k] = stored<T>(a, channel + k * kLanes<L>, k == N - 1 ? last : kLanes<L>);
  const auto rows = [&](auto relu, auto residual, auto around) {
    for (Index row = begin; row < end; ++row)
#pragma GCC unroll 4
      for (int k = 0; k < N; ++k) {
        Vec<L> v = f[k](x.at(row, k));
        if constexpr (decltype(residual)::value != 0) v += rest.at(row, k);
        y.template put<decltype(around)::value != 0>(row, k, rectified<decltype(relu)::value != 0>(v));
      }
  };
  choose(rows, a.relu, a.residual != nullptr, goes_around(a));
}
template <class T, class L = Lane<T>>
inline void normalize_planes(const Forward<T>& a, Index channel, Index begin, Index end) {
  const Affine<Vec<L>> f = stored_for_one<T>(a, channel);
  const Extent extent{a.outer, a.channels, a.inner};
  constexpr Index kAhead = 4096 / sizeof(T);  // of elements: a page
  const auto planes = [&](auto relu, auto residual, auto past) {
    constexpr bool rectify = decltype(relu)::value != 0, around = decltype(past)::value != 0;
    for (Index o = begin; o < end; ++o) {
      const Index plane = (o * a.channels + channel) * a.inner;
      if constexpr (decltype(residual)::value != 0) {
        for (Index i = 0; i < smaller(a.inner, kAhead); i += 64 / Index(sizeof(T)))
          prefetch_plane(a.residual + plane + i, extent);
        map_out<around>(
            a.y + plane, a.inner, [=](Vec<L> v, Vec<L> rest) { return rectified<rectify>(f(v) + rest); }, a.x + plane,
            a.residual + plane);
      } else {
        map_out<around>(a.y + plane, a.inner, [=](Vec<L> v) { return rectified<rectify>(f(v)); }, a.x + plane);
      }
    }
  };
  choose(planes, a.relu, a.residual != nullptr, goes_around(a));
}

// Statistics and result of units begin ... end - 1, each while its channels are in the cache.
template <class T, class L = Lane<T>>
void forward_at_once(const Forward<T>& a, Index begin, Index end) {
  const Extent extent{a.outer, a.channels, a.inner};
  if (!extent.in_columns()) {
    for (Index c = begin; c < end; ++c) {
      const Moments<L> m = plane_moments(a.x, extent, c, 0, a.outer);
      finish<T>(a, {broadcast(m.mean), broadcast(m.low), broadcast(m.m2)}, c, 1);
      normalize_planes<T>(a, c, 0, a.outer);
    }
    return end_stores_around();
  }
  for_column_groups<L>(a.channels, begin, end, [&](auto vectors, Index c, Index last) {
    constexpr int N = decltype(vectors)::value;
    Moments<Vec<L>> m[N]{};
    column_moments<T, N>({a.x + c, a.channels, last}, a.outer, m);
    for (int k = 0; k < N; ++k) finish<T>(a, m[k], c + k * kLanes<L>, k == N - 1 ? last : kLanes<L>);
    normalize_columns<T, N>(a, c, last, 0, a.outer);
  });
  end_stores_around();
}

// The same for a tile of whole channels: the moments of its columns, joined to those of channels.
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
    mean[c] = static_cast<double>(static_cast<L>(origin + offset));
    low[c] = (origin - mean[c]) + offset;
    m2[c] = within + n * between;
  }
  for (Index c = 0; c < channels; c += kLanes<L>) {
    const Index count = smaller(kLanes<L>, channels - c);
    finish<T>(a, {narrow<L>(mean + c, count), narrow<L>(low + c, count), narrow<L>(m2 + c, count)}, channel + c, count);
  }
  Line<L> lines[3];
  TileAffine<L> f{a.mean + channel, a.scale + channel, a.shift + channel};
  if (a.inner > 1) {
    const L** values[] = {&f.mean, &f.scale, &f.shift};
    for (int i = 0; i < 3; ++i) spread(*values[i], channels, a.inner, lines[i]), *values[i] = lines[i].of;
  }
  choose(
      [&](auto relu, auto residual) {
        normalize_tile<decltype(relu)::value != 0, decltype(residual)::value != 0, false>(a, f, tile, 0, a.outer);
      },
      a.relu, a.residual != nullptr);
}

template <class T>
inline Lane<T> first_of(const Forward<T>& a, Index channel) {
  return load_some(a.x + channel * a.inner, 1)[0];
}

// Chunks' means are kept as differences from the channel's first element: double has bits for no more than that.
template <class T, class L = Lane<T>>
void chunk_moments(const Forward<T>& a, const Extent& extent, const Chunks& chunks, const Parts& parts) {
  if (has_tiles(extent)) {
    return for_tiles<L>(extent, chunks, [&](Index chunk, Index c, Index width, Index begin, Index end) {
      tile_moments<T>(a.x + c, a.channels, width, begin, end, parts.at(chunk, 0) + c, parts.at(chunk, 1) + c);
    });
  }
  for_chunks(extent, chunks, [&](Index chunk, Index unit, Index begin, Index end) {
    double *mean = parts.at(chunk, 0), *m2 = parts.at(chunk, 1);
    if (!extent.in_columns()) {
      const Moments<L> m = plane_moments(a.x, extent, unit, begin, end);
      mean[unit] = static_cast<double>(m.mean - first_of(a, unit)) + static_cast<double>(m.low);
      m2[unit] = static_cast<double>(m.m2);
      return;
    }
    for_column_groups<L>(a.channels, unit, unit + 1, [&](auto vectors, Index c, Index last) {
      constexpr int N = decltype(vectors)::value;
      Moments<Vec<L>> m[N]{};
      column_moments<T, N>({a.x + begin * a.channels + c, a.channels, last}, end - begin, m);
      for (int k = 0; k < N; ++k) {
        const Index first = c + k * kLanes<L>, count = k == N - 1 ? last : kLanes<L>;
        widen_lanes<L>(mean + first, m[k].mean - load_some(a.x + first, count), m[k].low, count);
        widen_lanes<L>(m2 + first, m[k].m2, Vec<L>{}, count);
      }
    });
  });
}

// Joins the chunks' moments in the order of a binary tree. Source: Chan, Golub and LeVeque, "Algorithms for computing
// the sample variance", 1983, equation 2.1.
void join_moments(const Extent& extent, const Chunks& chunks, const Parts& parts) {
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

template <class T, class L = Lane<T>>
void finish_all(const Forward<T>& a, const Parts& parts) {
  double *mean = parts.at(0, 0), *low = parts.at(0, 2);
  const double* m2 = parts.at(0, 1);
  for (Index c = 0; c < a.channels; ++c) {
    const double origin = static_cast<double>(first_of(a, c)), offset = mean[c];
    mean[c] = static_cast<double>(static_cast<L>(origin + offset));
    low[c] = (origin - mean[c]) + offset;
  }
  for (Index c = 0; c < a.channels; c += kLanes<L>) {
    const Index count = smaller(kLanes<L>, a.channels - c);
    finish<T>(a, {narrow<L>(mean + c, count), narrow<L>(low + c, count), narrow<L>(m2 + c, count)}, c, count);
  }
}

// y of all elements from the channels' mean, scale and shift.
template <class T, class L = Lane<T>>
void normalize_tiles(const Forward<T>& a) {
  const bool around = goes_around(a);
  for_rows_of_tiles<L>({a.outer, a.channels, 1}, [&](const Tile& tile, Index begin, Index end) {
    const TileAffine<L> f{a.mean + tile.first, a.scale + tile.first, a.shift + tile.first};
    choose(
        [&](auto relu, auto residual, auto past) {
          normalize_tile<decltype(relu)::value != 0, decltype(residual)::value != 0, decltype(past)::value != 0>(
              a, f, tile, begin, end);
        },
        a.relu, a.residual != nullptr, around);
  });
}
template <class T, class L = Lane<T>>
void normalize_all(const Forward<T>& a) {
  const Extent extent{a.outer, a.channels, a.inner};
  if (has_tiles(extent)) return normalize_tiles(a);
  if (a.inner > 1) {
    parallel_for(a.outer * a.channels, kGrain / a.inner + 1, [&](Index begin, Index end) {
      for (Index k = begin; k < end; ++k) normalize_planes<T>(a, k % a.channels, k / a.channels, k / a.channels + 1);
      end_stores_around();
    });
    return;
  }
  parallel_for(a.outer, kGrain / a.channels + 1, [&](Index begin, Index end) {
    for_column_groups<L>(a.channels, 0, extent.units(), [&](auto vectors, Index c, Index last) {
      normalize_columns<T, decltype(vectors)::value>(a, c, last, begin, end);
    });
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
  if (is_once(extent, chunks)) {
    for_whole_channels<L>(extent, [&](Index channel, Index channels) { forward_tile(a, channel, channels); });
    return Status::ok;
  }
  if (chunks.count == 1) {
    const Index units = extent.units(), work = extent.count() * a.channels / units + 1;
    parallel_for(units, kGrain / work + 1, [&](Index begin, Index end) { forward_at_once(a, begin, end); });
    return Status::ok;
  }
  const Parts parts{static_cast<double*>(context.workspace), a.channels};
  chunk_moments(a, extent, chunks, parts);
  join_moments(extent, chunks, parts);
  finish_all(a, parts);
  normalize_all(a);
  return Status::ok;
}

}  // namespace
}  // namespace dd2424::cpu::DD2424_ISA
