#pragma once
// How a loss walks (outer, classes, inner). Where rows are short, or inner > 1, a lane holds a row and nothing is ever
// summed across lanes; long contiguous rows go a vector at a time. Which of the two depends on sizes alone.
#include "core/parallel.h"
#include "cpu/math.h"
#include "cpu/shuffle.h"

namespace dd2424::cpu::DD2424_ISA {
namespace {

constexpr Index kGrain = 1 << 14;  // elements worth a second thread
constexpr Index kShort = 64;       // rows of up to so many classes are turned on their side
constexpr Index kClassBlock = 64;  // sums run over blocks, so that the error grows with their number
constexpr Index kLineBlock = 16;   // likewise along a line, in steps of four vectors
constexpr Index kTileBytes = 1 << 14;
constexpr int kTiles = 3;  // two inputs and the output, at most

struct Rows {
  Index outer, classes, inner;
  Index count() const { return outer * inner; }
  bool are_lines() const { return inner == 1 && classes > kShort; }
};

inline Index smaller(Index a, Index b) { return a < b ? a : b; }

template <class T>
inline Vec<Lane<T>> load_some(const T* p, Index count) {
  return count < kLanes<Lane<T>> ? load(p, count) : load(p);
}
template <class T>
inline void store_some(T* p, Vec<Lane<T>> v, Index count) {
  if (count < kLanes<Lane<T>>) store(p, v, count);
  else store(p, v);
}

// A vector's worth of rows: class c of all of them, in a tile. Lanes beyond the rows hold what is never looked at.
template <class L>
struct Strip {
  L* p;
  Index step;  // from class to class
  Vec<std::remove_const_t<L>> at(Index c) const { return load(p + c * step); }
  void put(Index c, Vec<std::remove_const_t<L>> v) const { store(p + c * step, v); }
};

// tile[c][lane] = x[lane][c]. Reads past a row's end where `end` allows it, which is faster than a short load.
template <class T>
[[gnu::noinline]] void turn_in(const T* x, const T* end, Index rows, Index classes, Lane<T>* tile) {
  constexpr int lanes = kLanes<Lane<T>>;
  for (Index c = 0; c < classes; c += lanes) {
    Vec<Lane<T>> v[lanes];
    const Index width = smaller(lanes, classes - c);
    for (int r = 0; r < lanes; ++r) {
      const T* p = x + (r < rows ? r : rows - 1) * classes + c;
      v[r] = end - p >= lanes ? load(p) : load(p, width);
    }
    transpose(v);
    for (int i = 0; i < lanes; ++i) store(tile + (c + i) * lanes, v[i]);
  }
}
template <class T>
[[gnu::noinline]] void turn_out(const Lane<T>* tile, Index rows, Index classes, T* y) {
  constexpr int lanes = kLanes<Lane<T>>;
  for (Index c = 0; c < classes; c += lanes) {
    Vec<Lane<T>> v[lanes];
    for (int i = 0; i < lanes; ++i) v[i] = load(tile + (c + i) * lanes);
    transpose(v);
    const Index width = smaller(lanes, classes - c);
    for (Index r = 0; r < rows; ++r) store_some(y + r * classes + c, v[r], width);
  }
}

// tile[c][i] = x[c * step + i], rows of the tile being `width` long. Classes lie far apart, often by a power of two:
// their lines would push each other out of the cache, were they read where they are, or fetched long before: the row a
// few classes on is, and towards the end the first rows of the next tile.
constexpr Index kClassesAhead = 4;
template <class T>
[[gnu::noinline]] void copy_in(const T* x, Index step, Index classes, Index count, Index width, Lane<T>* tile) {
  constexpr Index lanes = kLanes<Lane<T>>;
  for (Index c = 0; c < classes; ++c, x += step, tile += width) {
    const Index ahead = c + kClassesAhead < classes ? kClassesAhead * step : (kClassesAhead - classes) * step + count;
    for (Index i = 0; i < count; i += lanes) {
      __builtin_prefetch(x + i + ahead);
      store(tile + i, load_some(x + i, count - i));
    }
  }
}
template <class T>
[[gnu::noinline]] void copy_out(const Lane<T>* tile, Index step, Index classes, Index count, Index width, T* y) {
  constexpr Index lanes = kLanes<Lane<T>>;
  for (Index c = 0; c < classes; ++c, y += step, tile += width)
    for (Index i = 0; i < count; i += lanes) store_some(y + i, load(tile + i), count - i);
}

// Tiles are on the stack, or, of many classes, in the workspace.
inline std::size_t loss_workspace(Index classes, Index inner) {
  const std::size_t tile = static_cast<std::size_t>(classes) * kVectorBytes;
  return inner > 1 && tile > kTileBytes ? tile * kTiles * static_cast<std::size_t>(num_threads()) : 0;
}

// Calls body(strips of in, strip of y, first row, rows) for rows begin ... end - 1. y may be null: then nothing is put.
template <class T, int N, class Body>
void for_strips(const Rows& rows, const T* const (&in)[N], T* y, Index begin, Index end, void* workspace,
                const Body& body) {
  using L = Lane<T>;
  constexpr Index lanes = kLanes<L>, room = kTileBytes / sizeof(L);
  alignas(64) L on_stack[N + 1][room];
  const bool is_turned = rows.inner == 1, is_large = !is_turned && rows.classes * lanes > room;
  const Index width = is_turned || is_large ? lanes : room / (rows.classes + (rows.classes == 0)) / lanes * lanes;
  L* tiles[N + 1];
  for (int k = 0; k <= N; ++k)
    tiles[k] = is_large ? static_cast<L*>(workspace) + k * rows.classes * lanes : on_stack[k];
  for (Index row = begin; row < end;) {
    const Index o = row / rows.inner, i = row % rows.inner, at = o * rows.classes * rows.inner + i;
    const Index left = is_turned ? end - row : smaller(end - row, rows.inner - i), count = smaller(width, left);
    for (int k = 0; k < N; ++k) {
      if (is_turned) turn_in(in[k] + at, in[k] + rows.outer * rows.classes, count, rows.classes, tiles[k]);
      else copy_in(in[k] + at, rows.inner, rows.classes, count, width, tiles[k]);
    }
    for (Index s = 0; s < count; s += lanes) {
      Strip<const L> from[N];
      for (int k = 0; k < N; ++k) from[k] = {tiles[k] + s, width};
      body(from, Strip<L>{tiles[N] + s, width}, row + s, smaller(lanes, count - s));
    }
    if (y && is_turned) turn_out(tiles[N], count, rows.classes, y + at);
    else if (y) copy_out(tiles[N], rows.inner, rows.classes, count, width, y + at);
    row += count;
  }
}

// Runs line(row) for each row where rows are lines, else strip(...) as for_strips does.
template <class T, int N, class Line, class Body>
void for_rows(const Rows& rows, const T* const (&in)[N], T* y, Index begin, Index end, void* workspace,
              const Line& line, const Body& strip) {
  if (!rows.are_lines()) return for_strips(rows, in, y, begin, end, workspace, strip);
  for (Index row = begin; row < end; ++row) line(row);
}
// The part of the workspace that is the thread's in `slot`.
inline void* tiles_of(const Context& context, const Rows& rows, int slot) {
  const Index bytes = rows.classes * kVectorBytes * kTiles;
  return context.workspace ? static_cast<char*>(context.workspace) + slot * bytes : nullptr;
}
template <class T, int N, class Line, class Body>
void for_rows(const Context& context, const Rows& rows, const T* const (&in)[N], T* y, const Line& line,
              const Body& strip) {
  if (rows.classes == 0) return;
  parallel_for(rows.count(), kGrain / rows.classes + 1, [&](Index begin, Index end, int slot) {
    for_rows(rows, in, y, begin, end, tiles_of(context, rows, slot), line, strip);
  });
}

// Over the classes of a strip.

template <class L>
inline auto highest(const Strip<L>& x, Index classes) {
  auto m = x.at(0);
  for (Index c = 1; c < classes; ++c) m = larger(m, x.at(c));
  return m;
}
template <class V, class F>
inline V sum_classes(Index classes, const F& f) {
  V total{};
  for (Index c = 0; c < classes;) {
    const Index end = smaller(classes, c + kClassBlock);
    V part = f(c);
    while (++c < end) part += f(c);
    total += part;
  }
  return total;
}

// Along a line.

template <class L>
inline Vec<L> lane_numbers() {
  L lanes[kLanes<L>];
  for (int i = 0; i < kLanes<L>; ++i) lanes[i] = static_cast<L>(i);
  return load(lanes);
}
template <class T>
inline Lane<T> highest(const T* x, Index n) {
  using L = Lane<T>;
  constexpr L lowest = -__builtin_huge_val();
  Vec<L> m[4];
  for (Vec<L>& each : m) each = broadcast(lowest);
  constexpr Index step = kLanes<L>;
  Index i = 0;
  for (; i + 4 * step <= n; i += 4 * step)
    for (int k = 0; k < 4; ++k) m[k] = larger(m[k], load(x + i + k * step));
  for (; i + step <= n; i += step) m[0] = larger(m[0], load(x + i));
  if (i < n) m[1] = larger(m[1], load(x + i, n - i, lowest));
  L lanes[step], best = lowest;
  store(lanes, larger(larger(m[0], m[1]), larger(m[2], m[3])));
  for (L lane : lanes) best = lane > best ? lane : best;
  return best;
}

// The sum over i of f(x[i], ...); each term is handed to put(i, terms, count) as well.
template <class L, class Put, class F, class... X>
inline L sum_line(Index n, const Put& put, const F& f, const X*... x) {
  constexpr Index step = kLanes<L>;
  Vec<L> total{};
  Index i = 0;
  while (i + 4 * step <= n) {
    Vec<L> part[4]{};
    const Index end = smaller(n, i + kLineBlock * 4 * step);
    for (; i + 4 * step <= end; i += 4 * step)
      for (int k = 0; k < 4; ++k) {
        const Vec<L> v = f(load(x + i + k * step)...);
        put(i + k * step, v, step);
        part[k] += v;
      }
    total += (part[0] + part[1]) + (part[2] + part[3]);
  }
  for (; i < n; i += step) {
    const Index count = smaller(step, n - i);
    const Vec<L> v = f(load_some(x + i, count)...);
    put(i, v, count);
    total += lane_numbers<L>() < static_cast<L>(count) ? v : Vec<L>{};
  }
  return lanes_sum<L>(total);
}
constexpr auto kPutNowhere = [](Index, auto, Index) {};

}  // namespace
}  // namespace dd2424::cpu::DD2424_ISA
