#pragma once
// Batch norm of rows, (N, C) or channels-last. Rows are read as they lie in memory, a few at a time, while the sums of
// a tile of their channels stay in the first-level cache: going down a group of columns would touch a page a row. What
// a call asks for (ReLU, residual, stores around the caches) is looked at as the loops run: memory is slower than that,
// and each choice made beforehand would double the code.
#include "core/norm.h"
#include "cpu/norm_passed.h"
#include "cpu/norm_walk.h"

namespace dd2424::cpu::DD2424_ISA {
namespace {

// The lowest y may be: 0 with ReLU.
template <class L>
inline Vec<L> floor_of(bool relu) {
  return broadcast(relu ? L(0) : -L(__builtin_huge_val()));
}
template <class V>
inline V at_least(V y, V floor) {
  return y < floor ? floor : y;
}  // NaN stays NaN
// dy where the ReLU that made y let it through
template <class V>
inline V through(V dy, V y) {
  return y <= V{} ? V{} : dy;
}
// Whether y, above 0 where dy counts, is found again from x: neither open to all nor read nor kept in bits.
template <class T>
inline bool is_found_again(const BatchNormBackward<T>& a) {
  return a.relu && !a.y && !a.passed;
}

constexpr Index kTileRows = 128;   // rows that are added up before they join the total
constexpr Index kOriginRows = 16;  // whose mean the first of them are taken about
template <class L>
constexpr Index kTile = 4096 / sizeof(L);  // channels: of a 32 KiB cache, with six or seven such lines, an eighth each

// Calls body(chunk, first channel, channels, first row, end of rows) for every tile of every chunk, on all threads.
template <class L, class Body>
void for_tiles(const Extent& extent, const Chunks& chunks, const Body& body) {
  const Index tiles = (extent.channels + kTile<L> - 1) / kTile<L>;
  const Index work = chunks.size * smaller(extent.channels, kTile<L>);
  parallel_for(chunks.count * tiles, kGrain / work + 1, [&](Index begin, Index end) {
    for (Index k = begin; k < end; ++k) {
      const Index chunk = k / tiles, c = k % tiles * kTile<L>, first = chunk * chunks.size;
      body(chunk, c, smaller(kTile<L>, extent.channels - c), first, smaller(first + chunks.size, extent.outer));
    }
  });
}

// Calls body(Constant<rows>, row) for rows [begin, end), together as many as there are, up to R.
template <int R, class Body>
inline void for_rows(Index begin, Index end, const Body& body) {
  Index row = begin;
  for (; row + R <= end; row += R) body(Constant<R>{}, row);
  for (; row < end; ++row) body(Constant<1>{}, row);
}

// Calls body(channel, lanes) for each vector of a tile's channels.
template <class L, class Body>
inline void for_vectors(Index width, const Body& body) {
  Index c = 0;
  for (; c + kLanes<L> <= width; c += kLanes<L>) body(c, Index(kLanes<L>));
  if (c < width) body(c, width - c);
}

template <int R, class V>
inline V sum_of(const V (&v)[R]) {
  if constexpr (R == 4) return (v[0] + v[1]) + (v[2] + v[3]);
  else if constexpr (R == 2) return v[0] + v[1];
  else return v[0];
}

template <class L>
struct alignas(64) Line {  // a value for each channel of a tile
  L of[kTile<L>];
};

// Adds rows [begin, end) of x, as differences from `origin`, and their squares.
template <class T, class L>
void add_moments(const T* x, Index stride, Index width, Index begin, Index end, const Line<L>& origin, Line<L>& sum,
                 Line<L>& squares) {
  for_rows<4>(begin, end, [&](auto rows, Index row) {
    constexpr int R = decltype(rows)::value;
    const T* from = x + row * stride;
    for_vectors<L>(width, [&](Index c, Index count) {
      const Vec<L> about = load(origin.of + c);
      Vec<L> d[R], square = load(squares.of + c);
#pragma GCC unroll 4
      for (int r = 0; r < R; ++r) {
        d[r] = load_some(from + r * stride + c, count) - about;
        square = fma(d[r], d[r], square);
      }
      store(sum.of + c, load(sum.of + c) + sum_of(d));
      store(squares.of + c, square);
    });
  });
}

// Joins a block of rows to the `before` rows above it. mean counts from `first`, the channel's first element: double
// has bits for no more than that.
template <class L>
void join_block(Index width, Index before, Index rows, const L* first, const Line<L>& origin, const Line<L>& sum,
                const Line<L>& squares, double* mean, double* m2) {
  const double n = static_cast<double>(rows), share = n / static_cast<double>(before + rows),
               weight = static_cast<double>(before) * share;
  for (Index c = 0; c < width; ++c) {
    const double shift = static_cast<double>(sum.of[c]) / n;
    const double of_block = (static_cast<double>(origin.of[c]) - static_cast<double>(first[c])) + shift;
    const double delta = of_block - (before ? mean[c] : 0),
                 own = static_cast<double>(squares.of[c]) - static_cast<double>(sum.of[c]) * shift;
    mean[c] = before ? mean[c] + delta * share : of_block;
    m2[c] = before ? m2[c] + own + delta * delta * weight : own;
  }
}

// Mean and sum of squared differences of a tile's channels over rows [begin, end). The first block is taken about the
// mean of its first rows, for one row alone may be an outlier, and the others about the mean of those before.
template <class T, class L = Lane<T>>
[[gnu::noinline]] void tile_moments(const T* x, Index stride, Index width, Index begin, Index end, double* mean,
                                    double* m2) {
  Line<L> first, origin, sum, squares;
  for_vectors<L>(width, [&](Index c, Index count) {
    store(first.of + c, load_some(x + c, count));
    store(origin.of + c, load_some(x + begin * stride + c, count));
  });
  const auto clear = [&] {
    for_vectors<L>(width, [&](Index c, Index) { store(sum.of + c, Vec<L>{}), store(squares.of + c, Vec<L>{}); });
  };
  const Index rows_before = smaller(kOriginRows, end - begin);
  clear();
  add_moments(x, stride, width, begin, begin + rows_before, origin, sum, squares);
  for_vectors<L>(width, [&](Index c, Index) {
    store(origin.of + c, load(origin.of + c) + load(sum.of + c) / static_cast<L>(rows_before));
  });
  for (Index row = begin; row < end;) {
    const Index stop = smaller(end, row + kTileRows);
    clear();
    add_moments(x, stride, width, row, stop, origin, sum, squares);
    join_block(width, row - begin, stop - row, first.of, origin, sum, squares, mean, m2);
    for (Index c = 0; c < width; ++c) origin.of[c] = static_cast<L>(static_cast<double>(first.of[c]) + mean[c]);
    row = stop;
  }
}

// Where a tile lies in rows of `stride` elements.
struct Tile {
  Index first, width, stride;
};

// What normalises the channels of a tile: y = (x - mean) * scale + shift.
template <class L>
struct TileAffine {
  const L *mean, *scale, *shift;
};

template <class T, class L>
[[gnu::noinline]] void normalize_tile(const BatchNormForward<T>& a, const TileAffine<L> f, const Tile tile, bool around,
                                      Index begin, Index end) {
  const Vec<L> floor = floor_of<L>(a.relu);
  const T *x = a.x, *residual = a.residual;
  T* y = a.y;
  std::uint8_t* passed = a.passed;
  for_rows<2>(begin, end, [&](auto rows, Index row) {
    constexpr int R = decltype(rows)::value;
    const Index at = row * tile.stride + tile.first;
    for_vectors<L>(tile.width, [&](Index c, Index count) {
      const Vec<L> mean = load_some(f.mean + c, count), scale = load_some(f.scale + c, count),
                   shift = load_some(f.shift + c, count);
#pragma GCC unroll 2
      for (int r = 0; r < R; ++r) {
        const Index place = at + r * tile.stride + c;
        Vec<L> v = fma(load_some(x + place, count) - mean, scale, shift);
        if (residual) v += load_some(residual + place, count);
        if (passed) put_passed<L>(passed, place, passed_lanes<L>(v));
        put(around, y + place, at_least(v, floor), count);
      }
    });
  });
}

// Adds rows [begin, end) of g, g * (x - mean) and x - mean, with g = dy where ReLU let it through.
template <class T, class L>
void add_gradients(const BatchNormBackward<T>& a, const TileAffine<L> f, const Tile tile, Index begin, Index end,
                   Line<L> (&sums)[3]) {
  const bool found_again = is_found_again(a);
  const T *x = a.x, *dy = a.dy, *y = a.y;
  T* dresidual = a.dresidual;
  const std::uint8_t* passed = a.passed;
  for_rows<2>(begin, end, [&](auto rows, Index row) {
    constexpr int R = decltype(rows)::value;
    const Index at = row * tile.stride + tile.first;
    for_vectors<L>(tile.width, [&](Index c, Index count) {
      const Vec<L> mean = load_some(f.mean + c, count);
      Vec<L> scale{}, shift = broadcast(L(1));
      if (found_again) scale = load_some(f.scale + c, count), shift = load_some(f.shift + c, count);
      Vec<L> g[R], d[R], product = load(sums[1].of + c);
#pragma GCC unroll 2
      for (int r = 0; r < R; ++r) {
        const Index place = at + r * tile.stride + c;
        d[r] = load_some(x + place, count) - mean;
        g[r] = through(load_some(dy + place, count), fma(d[r], scale, shift));
        if (passed) {
          g[r] = keep_passed<L>(g[r], passed_at<L>(passed, place));
        } else if (y) {
          g[r] = through(g[r], load_some(y + place, count));
          store_some(dresidual + place, g[r], count);
        }
        product = fma(g[r], d[r], product);
      }
      store(sums[0].of + c, load(sums[0].of + c) + sum_of(g));
      store(sums[1].of + c, product);
      store(sums[2].of + c, load(sums[2].of + c) + sum_of(d));
    });
  });
}

// to[s][c]: the sums over rows [begin, end) for channel c of the tile.
template <class T, class L = Lane<T>>
[[gnu::noinline]] void tile_sums(const BatchNormBackward<T>& a, const TileAffine<L>& f, const Tile& tile, Index begin,
                                 Index end, double* const (&to)[3]) {
  Line<L> sums[3];
  for (double* total : to)
    for (Index c = 0; c < tile.width; ++c) total[c] = 0;
  for (Index row = begin; row < end;) {
    const Index stop = smaller(end, row + kTileRows);
    for (Line<L>& sum : sums) for_vectors<L>(tile.width, [&](Index c, Index) { store(sum.of + c, Vec<L>{}); });
    add_gradients(a, f, tile, row, stop, sums);
    for (int s = 0; s < 3; ++s)
      for (Index c = 0; c < tile.width; ++c) to[s][c] += static_cast<double>(sums[s].of[c]);
    row = stop;
  }
}

// dx = g * slope - (x - mean) * tilt - shift, for the channels of a tile
template <class L>
struct TileGradient {
  const L *slope, *tilt, *shift;
};

template <class T, class L>
[[gnu::noinline]] void differentiate_tile(const BatchNormBackward<T>& a, const TileAffine<L> f, const TileGradient<L> d,
                                          const Tile tile, bool around, Index begin, Index end) {
  const bool found_again = is_found_again(a);
  const std::uint8_t* passed = a.passed;
  const T *x = a.x, *from = a.y && !passed ? a.dresidual : a.dy;
  T *dx = a.dx, *dresidual = a.dresidual;
  for_rows<2>(begin, end, [&](auto rows, Index row) {
    constexpr int R = decltype(rows)::value;
    const Index at = row * tile.stride + tile.first;
    for_vectors<L>(tile.width, [&](Index c, Index count) {
      const auto of_channel = [=](const L* p) { return load_some(p + c, count); };
      const Vec<L> mean = of_channel(f.mean), slope = of_channel(d.slope), tilt = of_channel(d.tilt),
                   shift = of_channel(d.shift);
      Vec<L> scale{}, level = broadcast(L(1));
      if (found_again) scale = of_channel(f.scale), level = of_channel(f.shift);
#pragma GCC unroll 2
      for (int r = 0; r < R; ++r) {
        const Index place = at + r * tile.stride + c;
        const Vec<L> distance = load_some(x + place, count) - mean;
        Vec<L> g = through(load_some(from + place, count), fma(distance, scale, level));
        if (passed) {
          g = keep_passed<L>(g, passed_at<L>(passed, place));
          put(around, dresidual + place, g, count);
        }
        put(around, dx + place, fma(g, slope, -fma(distance, tilt, shift)), count);
      }
    });
  });
}

// Images of few pixels, and few rows: tiles of a few whole channels, a row being (channels, inner), each done with
// while it is in the second-level cache.
constexpr Index kOnceRows = 512, kOncePixels = 64;
inline bool is_once(const Extent& extent, const Chunks& chunks) {
  if (extent.in_columns()) return chunks.count == 1;
  return extent.inner <= kOncePixels && extent.outer <= kOnceRows;
}
// Calls body(first channel, channels) for all of them, on all threads.
template <class L, class Body>
void for_whole_channels(const Extent& extent, const Body& body) {
  constexpr Index widest = kTile<L> / 2, least = 64;
  const Index row = extent.channels * extent.inner, eighth = (row / 8 + least - 1) / least * least;
  const Index width = eighth < least ? least : smaller(eighth, widest);
  const Index each = width / extent.inner, tiles = (extent.channels + each - 1) / each;
  parallel_for(tiles, kGrain / (each * extent.count()) + 1, [&](Index begin, Index end) {
    for (Index t = begin; t < end; ++t) body(t * each, smaller(each, extent.channels - t * each));
    end_stores_around();
  });
}
// line[c * inner + i] = values[c]
template <class L>
void spread(const L* values, Index channels, Index inner, Line<L>& line) {
  for (Index c = 0; c < channels; ++c)
    for (Index i = 0; i < inner; ++i) line.of[c * inner + i] = values[c];
}

// Calls body(tile, first row, end of rows) for tiles of all channels of the rows that a thread takes.
template <class L, class Body>
void for_rows_of_tiles(const Extent& extent, const Body& body) {
  parallel_for(extent.outer, kGrain / extent.channels + 1, [&](Index begin, Index end) {
    for (Index row = begin; row < end; row += 8)  // few, so that tiles beside each other meet in the cache
      for (Index c = 0; c < extent.channels; c += kTile<L>)
        body(Tile{c, smaller(kTile<L>, extent.channels - c), extent.channels}, row, smaller(row + 8, end));
    end_stores_around();
  });
}

}  // namespace
}  // namespace dd2424::cpu::DD2424_ISA
