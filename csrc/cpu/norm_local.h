#pragma once
// Local response normalisation: with s = k + slope * (sum of x^2 over neighbouring channels), y = x * s^-beta. Channels
// stand in a tile, rows of `step` pixels or, channels-last, elements of one row: their neighbours are a step away, and
// zeros stand beyond the edges.
#include "core/float_mode.h"
#include "core/norm.h"
#include "cpu/math.h"
#include "cpu/norm_walk.h"

namespace dd2424::cpu::DD2424_ISA {
namespace {

constexpr Index kPixelVectors = 4;  // of a tile's row

struct LocalExtent {
  Index outer, channels, inner, before, after;
  Index pixels(Index lanes) const { return inner == 1 ? 1 : kPixelVectors * lanes; }  // side by side in a tile
  Index tiles(Index lanes) const { return (inner + pixels(lanes) - 1) / pixels(lanes); }
  Index room(Index lanes) const { return (channels + before + after) * pixels(lanes) + lanes; }
};
template <class T>
inline LocalExtent extent_of(const LocalResponse<T>& a) {
  return {a.outer, a.channels, a.inner, a.before, a.after};
}

// A tile in memory: rows of `length` elements, `stride` apart.
struct TileRows {
  Index first, rows, length, stride;
};
template <class T, class L = Lane<T>>
void read_tile(const T* x, const TileRows& at, Index step, L* to) {
  for (Index r = 0; r < at.rows; ++r)
    for (Index i = 0; i < at.length; i += kLanes<L>)
      store(to + r * step + i, load_some(x + at.first + r * at.stride + i, at.length - i));
}
template <class T, class L = Lane<T>>
void write_tile(const L* from, const TileRows& at, Index step, T* y) {
  for (Index r = 0; r < at.rows; ++r)
    for (Index i = 0; i < at.length; i += kLanes<L>)
      store_some(y + at.first + r * at.stride + i, load(from + r * step + i), at.length - i);
}

template <class L>
struct LocalTile {
  Index n, step, size;    // elements; from channel to channel; channels of a window
  L *x, *other, *result;  // (before + channels + after) rows each, zeros at the ends of x
  L slope, beta, k;
  Vec<L> scale(Index i) const {  // s of element i
    Vec<L> sum{};
    for (Index j = 0; j < size; ++j) {
      const Vec<L> v = load(x + i + j * step);
      sum = fma(v, v, sum);
    }
    return fma(sum, broadcast(slope), broadcast(k));
  }
  Vec<L> power(Vec<L> s) const { return exp(log(s) * -beta); }
};

// result = y
template <class L>
void respond(const LocalTile<L>& t, Index before) {
  for (Index i = 0; i < t.n; i += kLanes<L>) store(t.result + i, load(t.x + before * t.step + i) * t.power(t.scale(i)));
}
// result = dy * s^-beta - 2 beta slope x * (sum of dy x s^(-beta - 1) over the windows that x is in); dy stands in
// result
template <class L>
void respond_back(const LocalTile<L>& t, Index before, Index after) {
  for (Index i = 0; i < after * t.step; ++i) t.other[i] = 0;
  for (Index i = 0; i < t.n; i += kLanes<L>) {
    const Vec<L> s = t.scale(i), passed = load(t.result + i) * t.power(s);
    store(t.other + after * t.step + i, passed * load(t.x + before * t.step + i) / s);
    store(t.result + i, passed);
  }
  for (Index i = 0; i < before * t.step; ++i) t.other[after * t.step + t.n + i] = 0;
  const Vec<L> factor = broadcast(-2 * t.beta * t.slope);
  for (Index i = 0; i < t.n; i += kLanes<L>) {
    Vec<L> sum{};
    for (Index j = 0; j < t.size; ++j) sum += load(t.other + i + j * t.step);
    store(t.result + i, fma(factor * load(t.x + before * t.step + i), sum, load(t.result + i)));
  }
}

template <class T, class L = Lane<T>>
void local_tile(const LocalResponse<T>& a, const TileRows& at, L* room) {
  const LocalExtent extent = extent_of(a);
  const Index size = extent.room(kLanes<L>),
              step = a.inner == 1 ? 1 : (at.length + kLanes<L> - 1) / kLanes<L> * kLanes<L>;
  const LocalTile<L> t{.n = a.channels * step,
                       .step = step,
                       .size = a.before + 1 + a.after,
                       .x = room,
                       .other = room + size,
                       .result = room + 2 * size,
                       .slope = static_cast<L>(a.slope),
                       .beta = static_cast<L>(a.beta),
                       .k = static_cast<L>(a.k)};
  read_tile(a.x, at, step, t.x + a.before * step);
  for (Index i = 0; i < a.before * step; ++i) t.x[i] = 0;
  for (Index i = 0; i < a.after * step; ++i) t.x[a.before * step + t.n + i] = 0;
  if (a.dy) {
    read_tile(a.dy, at, step, t.result);
    respond_back(t, a.before, a.after);
  } else {
    respond(t, a.before);
  }
  write_tile(t.result, at, step, a.y);
}

template <class T, class L = Lane<T>>
Status local_response(const Context& context, const LocalResponse<T>& a) {
  const FloatMode mode;
  const LocalExtent extent = extent_of(a);
  const Index tiles = extent.tiles(kLanes<L>), pixels = extent.pixels(kLanes<L>), room = 3 * extent.room(kLanes<L>);
  parallel_for(a.outer * tiles, kGrain / (a.channels * pixels) + 1, [&](Index begin, Index end, int slot) {
    L* const own = static_cast<L*>(context.workspace) + slot * room;
    for (Index k = begin; k < end; ++k) {
      const Index pixel = k % tiles * pixels, first = k / tiles * a.channels * a.inner + pixel;
      const TileRows at = a.inner == 1 ? TileRows{first, 1, a.channels, 0}
                                       : TileRows{first, a.channels, smaller(pixels, a.inner - pixel), a.inner};
      local_tile(a, at, own);
    }
  });
  return Status::ok;
}
template <class T>
std::size_t local_response_workspace(const LocalResponse<T>& a) {
  constexpr Index lanes = kLanes<Lane<T>>;
  return static_cast<std::size_t>(3 * extent_of(a).room(lanes) * num_threads()) * sizeof(Lane<T>);
}

}  // namespace
}  // namespace dd2424::cpu::DD2424_ISA
