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
  sum_planes<L>(extent, channel, begin, end, sum,
                [&](Index place, Index count, Vec<L>* part) { part[0] += from(place, count, broadcast(origin[0])); });
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
  V operator()(V x, bool relu) const {
    const V y = fma(x - mean, scale, shift);
    if (!relu) return y;
    return y < V{} ? V{} : y;  // NaN stays NaN
  }
};

template <class T, class L = Lane<T>>
inline Affine<Vec<L>> affine(const Forward<T>& a, Vec<L> mean, Vec<L> low, Vec<L> rstd, Index channel, Index count) {
  const Vec<L> scale = rstd * load_or(a.weight ? a.weight + channel : nullptr, count, L(1));
  return {mean, scale, load_or(a.bias ? a.bias + channel : nullptr, count, L(0)) - low * scale};
}

// Writes what training leaves behind for the channels of a vector.
template <class T, class L = Lane<T>>
inline Affine<Vec<L>> finish(const Forward<T>& a, Moments<Vec<L>> m, Index channel, Index count) {
  const L n = static_cast<L>(a.outer * a.inner), moved = static_cast<L>(a.momentum),
          stays = static_cast<L>(1 - a.momentum);
  const Vec<L> mean = m.mean + m.low, low = (m.mean - mean) + m.low;
  const Vec<L> rstd = L(1) / sqrt(m.m2 / n + static_cast<L>(a.eps));
  store_some(a.mean + channel, mean, count);
  store_some(a.rstd + channel, rstd, count);
  if (a.running_mean)
    store_some(a.running_mean + channel, stays * load_some(a.running_mean + channel, count) + moved * mean, count);
  if (a.running_var)
    store_some(a.running_var + channel, stays * load_some(a.running_var + channel, count) + moved * (m.m2 / (n - L(1))),
               count);
  return affine<T>(a, mean, low, rstd, channel, count);
}

template <class T, int N, class L = Lane<T>>
inline void normalize_columns(const Forward<T>& a, Index channel, Index last, Index begin, Index end,
                              const Affine<Vec<L>> (&f)[N]) {
  const Columns<const T, N> x{a.x + channel, a.channels, last};
  const Columns<T, N> y{a.y + channel, a.channels, last};
  const auto rows = [&](bool relu) {
    for (Index row = begin; row < end; ++row)
#pragma GCC unroll 4
      for (int k = 0; k < N; ++k) y.put(row, k, f[k](x.at(row, k), relu));
  };
  a.relu ? rows(true) : rows(false);
}
template <class T, class L = Lane<T>>
inline void normalize_planes(const Forward<T>& a, Index channel, Index begin, Index end, const Affine<Vec<L>>& f) {
  for (Index o = begin; o < end; ++o) {
    const Index plane = (o * a.channels + channel) * a.inner;
    if (a.relu) map(a.y + plane, a.inner, [&](Vec<L> v) { return f(v, true); }, a.x + plane);
    else map(a.y + plane, a.inner, [&](Vec<L> v) { return f(v, false); }, a.x + plane);
  }
}

// Statistics and result of units begin ... end - 1, each while its channels are in the cache.
template <class T, class L = Lane<T>>
void forward_at_once(const Forward<T>& a, Index begin, Index end) {
  const Extent extent{a.outer, a.channels, a.inner};
  if (!extent.in_columns()) {
    for (Index c = begin; c < end; ++c) {
      const Moments<L> m = plane_moments(a.x, extent, c, 0, a.outer);
      const Affine<Vec<L>> one = finish<T>(a, {broadcast(m.mean), broadcast(m.low), broadcast(m.m2)}, c, 1);
      normalize_planes<T>(a, c, 0, a.outer, {broadcast(one.mean[0]), broadcast(one.scale[0]), broadcast(one.shift[0])});
    }
    return;
  }
  for_column_groups<L>(a.channels, begin, end, [&](auto vectors, Index c, Index last) {
    constexpr int N = decltype(vectors)::value;
    Moments<Vec<L>> m[N]{};
    Affine<Vec<L>> f[N];
    column_moments<T, N>({a.x + c, a.channels, last}, a.outer, m);
    for (int k = 0; k < N; ++k) f[k] = finish<T>(a, m[k], c + k * kLanes<L>, k == N - 1 ? last : kLanes<L>);
    normalize_columns<T, N>(a, c, last, 0, a.outer, f);
  });
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

// Leaves in the workspace, as sums 0 and 2, the rounded mean and what rounding it left out.
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

// From a.mean and a.rstd; `low` may be null. The workspace is given up to scale and shift of the channels.
template <class T, class L = Lane<T>>
void normalize_tiles(const Forward<T>& a, const double* low, const Parts& parts) {
  L *scale = reinterpret_cast<L*>(parts.at(0, 0)), *shift = scale + a.channels;  // which ends where `low` begins
  for (Index c = 0; c < a.channels; c += kLanes<L>) {
    const Index count = smaller(kLanes<L>, a.channels - c);
    const auto f = affine<T>(a, load_some(a.mean + c, count), low ? narrow<L>(low + c, count) : Vec<L>{},
                             load_some(a.rstd + c, count), c, count);
    store_some(scale + c, f.scale, count);
    store_some(shift + c, f.shift, count);
  }
  const TileAffine<L> f{a.mean, scale, shift};
  const bool around = goes_around(a.y, a.outer * a.channels, a.channels);
  for_rows_of_tiles<L>({a.outer, a.channels, 1}, [&](Index c, Index width, Index begin, Index end) {
    const auto run = [&](auto relu, auto past) {
      normalize_tile<decltype(relu)::value, decltype(past)::value>(a, f, c, width, begin, end);
    };
    using Yes = Constant<1>;
    using No = Constant<0>;
    if (around) a.relu ? run(Yes{}, Yes{}) : run(No{}, Yes{});
    else a.relu ? run(Yes{}, No{}) : run(No{}, No{});
  });
}

// y of all elements from a.mean and a.rstd; `low` may be null
template <class T, class L = Lane<T>>
void normalize_all(const Forward<T>& a, const double* low) {
  const auto at = [&](Index c, Index count) {
    const Vec<L> rest = low ? narrow<L>(low + c, count) : Vec<L>{};
    return affine<T>(a, load_some(a.mean + c, count), rest, load_some(a.rstd + c, count), c, count);
  };
  if (a.inner > 1) {
    parallel_for(a.outer * a.channels, kGrain / a.inner + 1, [&](Index begin, Index end) {
      for (Index k = begin; k < end; ++k) {
        const Affine<Vec<L>> one = at(k % a.channels, 1);
        normalize_planes<T>(a, k % a.channels, k / a.channels, k / a.channels + 1,
                            {broadcast(one.mean[0]), broadcast(one.scale[0]), broadcast(one.shift[0])});
      }
    });
    return;
  }
  parallel_for(a.outer, kGrain / a.channels + 1, [&](Index begin, Index end) {
    for_column_groups<L>(a.channels, 0, Extent{a.outer, a.channels, 1}.units(), [&](auto vectors, Index c, Index last) {
      constexpr int N = decltype(vectors)::value;
      Affine<Vec<L>> f[N];
      for (int k = 0; k < N; ++k) f[k] = at(c + k * kLanes<L>, k == N - 1 ? last : kLanes<L>);
      normalize_columns<T, N>(a, c, last, begin, end, f);
    });
  });
}

template <class T>
Status batch_norm_forward(const Context& context, const Forward<T>& a) {
  const FloatMode mode;
  const Extent extent{a.outer, a.channels, a.inner};
  if (extent.count() == 0 || a.channels == 0) return Status::ok;
  const Chunks chunks = extent.chunks();
  const Parts parts{static_cast<double*>(context.workspace), a.channels};
  if (!a.training) {
    if (chunks.count > 1 && has_tiles(extent)) normalize_tiles(a, nullptr, parts);
    else normalize_all(a, nullptr);
    return Status::ok;
  }
  if (chunks.count == 1) {
    const Index units = extent.units(), work = extent.count() * a.channels / units + 1;
    parallel_for(units, kGrain / work + 1, [&](Index begin, Index end) { forward_at_once(a, begin, end); });
    return Status::ok;
  }
  chunk_moments(a, extent, chunks, parts);
  join_moments(extent, chunks, parts);
  finish_all(a, parts);
  if (has_tiles(extent)) normalize_tiles(a, parts.at(0, 2), parts);
  else normalize_all(a, parts.at(0, 2));
  return Status::ok;
}

}  // namespace
}  // namespace dd2424::cpu::DD2424_ISA
