#pragma once
// Batch norm's way back. Forward has left a rounded mean; the sum of differences from it gives what was left out.
#include "core/float_mode.h"
#include "core/norm.h"
#include "cpu/norm_tiles.h"
#include "cpu/norm_walk.h"

namespace dd2424::cpu::DD2424_ISA {
namespace {

template <class T>
using Backward = BatchNormBackward<T>;

// Sums over a channel, with g = dy where ReLU let it through: of g, of g * (x - mean), of x - mean.
template <class V>
struct Sums {
  V g, gx, x;
};
// dx = g * slope - (x - mean) * tilt - shift
template <class V>
struct Gradient {
  V mean, slope, tilt, shift;
};

template <class T, class L = Lane<T>>
inline Gradient<Vec<L>> finish(const Backward<T>& a, const Sums<Vec<L>>& s, Index channel, Index count) {
  const Vec<L> mean = load_some(a.mean + channel, count), rstd = load_some(a.rstd + channel, count);
  const Vec<L> slope = load_some(a.scale + channel, count);
  const L n = static_cast<L>(a.outer * a.inner);
  const Vec<L> low = a.training ? s.x / n : Vec<L>{};
  const Vec<L> dweight = rstd * (s.gx - low * s.g);
  if (a.dweight) store_some(a.dweight + channel, dweight, count);
  if (a.dbias) store_some(a.dbias + channel, s.g, count);
  if (!a.training) return {mean, slope, Vec<L>{}, Vec<L>{}};
  const Vec<L> tilt = slope * rstd * (dweight / n);
  return {mean, slope, tilt, slope * (s.g / n) - tilt * low};
}

// What passes the ReLU of a channel, d being x - mean.
template <class V>
struct Recomputed {
  V scale, shift;
  V operator()(V g, V d) const { return through(g, fma(d, scale, shift)); }
};

template <class T>
inline bool goes_around(const Backward<T>& a) {
  return goes_around(a.dx, a.outer * a.channels * a.inner, a.inner > 1 ? a.inner : a.channels);
}

template <class T, int N, class L = Lane<T>>
inline void column_sums(const Backward<T>& a, Index c, Index last, Index begin, Index end, Sums<Vec<L>> (&s)[N]) {
  const auto from = [&](auto* p) { return Columns<std::remove_pointer_t<decltype(p)>, N>{p + c, a.channels, last}; };
  const auto x = from(a.x + begin * a.channels), dy = from(a.dy + begin * a.channels);
  Vec<L> mean[N], total[kSums][N];
  Recomputed<Vec<L>> relu[N];
  for (int k = 0; k < N; ++k) {
    const Index at = c + k * kLanes<L>, count = k == N - 1 ? last : kLanes<L>;
    mean[k] = load_some(a.mean + at, count);
    relu[k] = {load_some(a.scale + at, count), load_some(a.shift + at, count)};
  }
  const auto add = [&](const auto& gate) {
    sum_rows<L>(end - begin, total, [&](Index row, int k, Vec<L>* part) {
      const Vec<L> d = x.at(row, k) - mean[k], g = gate(row, k, dy.at(row, k), d);
      part[0] += g;
      part[1] = fma(g, d, part[1]);
      part[2] += d;
    });
  };
  const Gate gate = gate_of(a);
  if (gate == Gate::open) {
    add([](Index, int, Vec<L> g, Vec<L>) { return g; });
  } else if (gate == Gate::by_x) {
    add([&](Index, int k, Vec<L> g, Vec<L> d) { return relu[k](g, d); });
  } else {
    const auto y = from(a.y + begin * a.channels);
    const auto dresidual = from(a.dresidual + begin * a.channels);
    add([&](Index row, int k, Vec<L> g, Vec<L>) {
      const Vec<L> passed = through(g, y.at(row, k));
      dresidual.template put<false>(row, k, passed);
      return passed;
    });
  }
  for (int k = 0; k < N; ++k) s[k] = {total[0][k], total[1][k], total[2][k]};
}

template <class T, class L = Lane<T>>
inline Sums<L> plane_sums(const Backward<T>& a, const Extent& extent, Index channel, Index begin, Index end) {
  L total[kSums];
  const Vec<L> mean = broadcast(a.mean[channel]);
  const auto add = [&](const auto& gate) {
    sum_planes<L>(extent, channel, begin, end, total, [&](Index place, Index count, Vec<L>* part) {
      prefetch_plane(a.x + place, extent);
      prefetch_plane(a.dy + place, extent);
      Vec<L> d = load_some(a.x + place, count) - mean;
      const Vec<L> g = gate(place, count, load_some(a.dy + place, count), d);  // a short load pads with 0
      if (count < kLanes<L>) d = keep_lanes<L>(count) ? d : Vec<L>{};
      part[0] += g;
      part[1] = fma(g, d, part[1]);
      part[2] += d;
    });
  };
  const Gate gate = gate_of(a);
  if (gate == Gate::open) {
    add([](Index, Index, Vec<L> g, Vec<L>) { return g; });
  } else if (gate == Gate::by_x) {
    const Recomputed<Vec<L>> relu{broadcast(a.scale[channel]), broadcast(a.shift[channel])};
    add([=](Index, Index, Vec<L> g, Vec<L> d) { return relu(g, d); });
  } else {
    add([&](Index place, Index count, Vec<L> g, Vec<L>) {
      prefetch_plane(a.y + place, extent);
      const Vec<L> passed = through(g, load_some(a.y + place, count));
      store_some(a.dresidual + place, passed, count);
      return passed;
    });
  }
  return {total[0], total[1], total[2]};
}

// The second pass: where dy has passed a ReLU that was read, it lies in dresidual.
template <class T, int N, class L = Lane<T>>
inline void column_gradients(const Backward<T>& a, Index c, Index last, Index begin, Index end,
                             const Gradient<Vec<L>> (&f)[N]) {
  const auto from = [&](const T* p) { return Columns<const T, N>{p + c, a.channels, last}; };
  const auto x = from(a.x), dy = from(a.y ? a.dresidual : a.dy);
  const Columns<T, N> dx{a.dx + c, a.channels, last};
  Recomputed<Vec<L>> relu[N];
  for (int k = 0; k < N; ++k) {
    const Index at = c + k * kLanes<L>, count = k == N - 1 ? last : kLanes<L>;
    relu[k] = {load_some(a.scale + at, count), load_some(a.shift + at, count)};
  }
  choose(
      [&](auto by_x, auto around) {
        for (Index row = begin; row < end; ++row)
#pragma GCC unroll 4
          for (int k = 0; k < N; ++k) {
            const Vec<L> d = x.at(row, k) - f[k].mean;
            Vec<L> g = dy.at(row, k);
            if constexpr (decltype(by_x)::value != 0) g = relu[k](g, d);
            dx.template put<decltype(around)::value != 0>(row, k, fma(g, f[k].slope, -fma(d, f[k].tilt, f[k].shift)));
          }
      },
      gate_of(a) == Gate::by_x, goes_around(a));
}

template <class T, class L = Lane<T>>
inline void plane_gradients(const Backward<T>& a, Index channel, Index begin, Index end, const Gradient<Vec<L>>& one) {
  const Vec<L> mean = broadcast(one.mean[0]), slope = broadcast(one.slope[0]);
  const Vec<L> tilt = broadcast(one.tilt[0]), shift = broadcast(one.shift[0]);
  const Recomputed<Vec<L>> relu{broadcast(a.scale[channel]), broadcast(a.shift[channel])};
  const T* dy = a.y ? a.dresidual : a.dy;
  choose(
      [&](auto by_x, auto around) {
        for (Index o = begin; o < end; ++o) {
          const Index at = (o * a.channels + channel) * a.inner;
          map_out<decltype(around)::value != 0>(
              a.dx + at, a.inner,
              [=](Vec<L> x, Vec<L> g) {
                const Vec<L> d = x - mean;
                if constexpr (decltype(by_x)::value != 0) g = relu(g, d);
                return fma(g, slope, -fma(d, tilt, shift));
              },
              a.x + at, dy + at);
        }
      },
      gate_of(a) == Gate::by_x, goes_around(a));
}

template <class T, class L = Lane<T>>
void backward_at_once(const Backward<T>& a, Index begin, Index end) {
  const Extent extent{a.outer, a.channels, a.inner};
  if (!extent.in_columns()) {
    for (Index c = begin; c < end; ++c) {
      const Sums<L> s = plane_sums(a, extent, c, 0, a.outer);
      const auto f = finish<T>(a, {broadcast(s.g), broadcast(s.gx), broadcast(s.x)}, c, 1);
      if (a.dx) plane_gradients<T>(a, c, 0, a.outer, f);
    }
    return end_stores_around();
  }
  for_column_groups<L>(a.channels, begin, end, [&](auto vectors, Index c, Index last) {
    constexpr int N = decltype(vectors)::value;
    Sums<Vec<L>> s[N]{};
    Gradient<Vec<L>> f[N];
    column_sums<T, N>(a, c, last, 0, a.outer, s);
    for (int k = 0; k < N; ++k) f[k] = finish<T>(a, s[k], c + k * kLanes<L>, k == N - 1 ? last : kLanes<L>);
    if (a.dx) column_gradients<T, N>(a, c, last, 0, a.outer, f);
  });
  end_stores_around();
}

// The same for a tile of whole channels.
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
  if (gate_of(a) == Gate::by_x) differentiate_tile<true, false>(a, f, d, tile, 0, a.outer);
  else differentiate_tile<false, false>(a, f, d, tile, 0, a.outer);
}

template <class T, class L = Lane<T>>
void chunk_sums(const Backward<T>& a, const Extent& extent, const Chunks& chunks, const Parts& parts) {
  if (has_tiles(extent)) {
    return for_tiles<L>(extent, chunks, [&](Index chunk, Index c, Index width, Index begin, Index end) {
      tile_sums<T>(a, {a.mean + c, a.scale + c, a.shift + c}, {c, width, a.channels}, begin, end,
                   {parts.at(chunk, 0) + c, parts.at(chunk, 1) + c, parts.at(chunk, 2) + c});
    });
  }
  for_chunks(extent, chunks, [&](Index chunk, Index unit, Index begin, Index end) {
    if (!extent.in_columns()) {
      const Sums<L> s = plane_sums(a, extent, unit, begin, end);
      parts.at(chunk, 0)[unit] = static_cast<double>(s.g);
      parts.at(chunk, 1)[unit] = static_cast<double>(s.gx);
      parts.at(chunk, 2)[unit] = static_cast<double>(s.x);
      return;
    }
    for_column_groups<L>(a.channels, unit, unit + 1, [&](auto vectors, Index c, Index last) {
      constexpr int N = decltype(vectors)::value;
      Sums<Vec<L>> s[N]{};
      column_sums<T, N>(a, c, last, begin, end, s);
      for (int k = 0; k < N; ++k) {
        const Index first = c + k * kLanes<L>, count = k == N - 1 ? last : kLanes<L>;
        widen_lanes<L>(parts.at(chunk, 0) + first, s[k].g, Vec<L>{}, count);
        widen_lanes<L>(parts.at(chunk, 1) + first, s[k].gx, Vec<L>{}, count);
        widen_lanes<L>(parts.at(chunk, 2) + first, s[k].x, Vec<L>{}, count);
      }
    });
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
  if (has_tiles({a.outer, a.channels, a.inner})) {
    return for_rows_of_tiles<L>({a.outer, a.channels, 1}, [&](const Tile& tile, Index begin, Index end) {
      const Index c = tile.first;
      choose(
          [&](auto by_x, auto around) {
            differentiate_tile<decltype(by_x)::value != 0, decltype(around)::value != 0>(
                a, TileAffine<L>{a.mean + c, a.scale + c, a.shift + c},
                TileGradient<L>{f.slope + c, f.tilt + c, f.shift + c}, tile, begin, end);
          },
          gate_of(a) == Gate::by_x, goes_around(a));
    });
  }
  const auto at = [&](Index c, Index count) {
    return Gradient<Vec<L>>{load_some(a.mean + c, count), load_some(f.slope + c, count), load_some(f.tilt + c, count),
                            load_some(f.shift + c, count)};
  };
  if (a.inner > 1) {
    parallel_for(a.outer * a.channels, kGrain / a.inner + 1, [&](Index begin, Index end) {
      for (Index k = begin; k < end; ++k)
        plane_gradients<T>(a, k % a.channels, k / a.channels, k / a.channels + 1, at(k % a.channels, 1));
      end_stores_around();
    });
    return;
  }
  parallel_for(a.outer, kGrain / a.channels + 1, [&](Index begin, Index end) {
    for_column_groups<L>(a.channels, 0, Extent{a.outer, a.channels, 1}.units(), [&](auto vectors, Index c, Index last) {
      constexpr int N = decltype(vectors)::value;
      Gradient<Vec<L>> f[N];
      for (int k = 0; k < N; ++k) f[k] = at(c + k * kLanes<L>, k == N - 1 ? last : kLanes<L>);
      column_gradients<T, N>(a, c, last, begin, end, f);
    });
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
  if (is_once(extent, chunks)) {
    for_whole_channels<L>(extent, [&](Index channel, Index channels) { backward_tile(a, channel, channels); });
    return Status::ok;
  }
  if (chunks.count == 1) {
    const Index units = extent.units(), work = extent.count() * a.channels / units + 1;
    parallel_for(units, kGrain / work + 1, [&](Index begin, Index end) { backward_at_once(a, begin, end); });
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
