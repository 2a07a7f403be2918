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

// A vector's worth of rows: class c of all of them.
template <class T>
struct Strip {
  using V = Vec<Lane<std::remove_const_t<T>>>;
  T* p;
  Index step, count;  // from class to class; rows, the lanes beyond them hold zeros
  V at(Index c) const { return load_some(p + c * step, count); }
  void put(Index c, V v) const { store_some(p + c * step, v, count); }
};

// tile[c][lane] = x[lane][c]. Reads past a row's end where `end` allows it, which is faster than a short load.
template <class T>
inline void turn_in(const T* x, const T* end, Index rows, Index classes, Lane<T>* tile) {
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
inline void turn_out(const Lane<T>* tile, Index rows, Index classes, T* y) {
  constexpr int lanes = kLanes<Lane<T>>;
  for (Index c = 0; c < classes; c += lanes) {
    Vec<Lane<T>> v[lanes];
    for (int i = 0; i < lanes; ++i) v[i] = load(tile + (c + i) * lanes);
    transpose(v);
    const Index width = smaller(lanes, classes - c);
    for (Index r = 0; r < rows; ++r) store_some(y + r * classes + c, v[r], width);
  }
}

// Calls body(strips of in, strip of y, first row, rows) for rows begin ... end - 1. y may be null: then nothing is put.
template <class T, int N, class Body>
void for_strips(const Rows& rows, const T* const (&in)[N], T* y, Index begin, Index end, const Body& body) {
  using L = Lane<T>;
  constexpr Index lanes = kLanes<L>;
  if (rows.inner == 1) {
    alignas(64) L tiles[N + 1][kShort * lanes];
    for (Index row = begin; row < end; row += lanes) {
      const Index count = smaller(lanes, end - row);
      Strip<const L> from[N];
      for (int k = 0; k < N; ++k) {
        turn_in(in[k] + row * rows.classes, in[k] + rows.outer * rows.classes, count, rows.classes, tiles[k]);
        from[k] = {tiles[k], lanes, lanes};
      }
      body(from, Strip<L>{tiles[N], lanes, lanes}, row, count);
      if (y) turn_out(tiles[N], count, rows.classes, y + row * rows.classes);
    }
    return;
  }
  for (Index row = begin; row < end;) {
    const Index o = row / rows.inner, i = row % rows.inner, at = o * rows.classes * rows.inner + i;
    const Index count = smaller(lanes, smaller(end - row, rows.inner - i));
    Strip<const T> from[N];
    for (int k = 0; k < N; ++k) from[k] = {in[k] + at, rows.inner, count};
    body(from, Strip<T>{y + at, rows.inner, count}, row, count);
    row += count;
  }
}

// Runs line(row) for each row where rows are lines, else strip(...) as for_strips does.
template <class T, int N, class Line, class Body>
void for_rows(const Rows& rows, const T* const (&in)[N], T* y, Index begin, Index end, const Line& line,
              const Body& strip) {
  if (!rows.are_lines()) return for_strips(rows, in, y, begin, end, strip);
  for (Index row = begin; row < end; ++row) line(row);
}
template <class T, int N, class Line, class Body>
void for_rows(const Rows& rows, const T* const (&in)[N], T* y, const Line& line, const Body& strip) {
  if (rows.classes == 0) return;
  parallel_for(rows.count(), kGrain / rows.classes + 1,
               [&](Index begin, Index end) { for_rows(rows, in, y, begin, end, line, strip); });
}

// Over the classes of a strip.

template <class T>
inline auto highest(const Strip<T>& x, Index classes) {
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
