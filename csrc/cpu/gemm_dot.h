#pragma once
// Skinny products: both operands lie along k, and so do the vectors. No lane is lost to a narrow c and nothing is
// packed; the price is one sum over the lanes for each element of c, worth paying where k is long.
#include "core/parallel.h"
#include "cpu/gemm_output.h"
#include "cpu/gemm_pack.h"

namespace dd2424::cpu::DD2424_ISA {
namespace {

constexpr int kDotTile = kVectorBytes == 64 ? 5 : 3;  // rows and columns of c whose sums stay in registers
constexpr Index kDotBlockBytes = 4096;                // of k: a tile's rows of a stay in a first-level cache of 32 KB
template <class T>
constexpr Index kDotWidth = kWidestTile * kLanes<Accumulator<T>> / kDotTile * kDotTile;  // columns of a row of tiles
template <class T>
constexpr Index kDotBlock = kDotBlockBytes / Index(sizeof(Accumulator<T>));

template <class T>
struct Dot {
  const T* a;  // (m, k), row i at a + i * a_row
  const T* b;  // (n, k), row j at b + j * b_row
  Index m, n, k, a_row, b_row;
  bool copies_a;  // a tile's rows of one block of k at a time, in the caller's own cache
};

// What a tile reads; A is T, or Accumulator<T> where that is the copy.
template <class T, class A>
struct DotInput {
  const A* a;
  Index a_row, rows;
  const T* b;
  Index b_row, depth;
  const T* ahead;        // what will be read when this block of k is done
  Accumulator<T>* copy;  // of the rows of a, kDotBlock<T> apart
};

// Rows beyond the end repeat the last one.
template <class T, int Columns, bool Copies, class A>
void dot_tile(const DotInput<T, A>& in, bool is_first, Vec<Accumulator<T>>* sums) {
  using Acc = Accumulator<T>;
  const A* a[kDotTile];
  const T* b[Columns];
#pragma GCC unroll 5
  for (Index r = 0; r < kDotTile; ++r) a[r] = in.a + (!Copies || r < in.rows ? r : in.rows - 1) * in.a_row;
#pragma GCC unroll 5
  for (int c = 0; c < Columns; ++c) b[c] = in.b + c * in.b_row;
  Vec<Acc> sum[kDotTile][Columns] = {};
  if (!is_first) {
#pragma GCC unroll 5
    for (int r = 0; r < kDotTile; ++r)
#pragma GCC unroll 5
      for (int c = 0; c < Columns; ++c) sum[r][c] = sums[r * Columns + c];
  }
  const auto step = [&](Index p, const auto& read) {
    Vec<Acc> column[Columns];
#pragma GCC unroll 5
    for (int c = 0; c < Columns; ++c) column[c] = read(b[c] + p);
#pragma GCC unroll 5
    for (int r = 0; r < kDotTile; ++r) {
      const Vec<Acc> row = read(a[r] + p);
      if constexpr (Copies) store(in.copy + r * kDotBlock<T> + p, row);
#pragma GCC unroll 5
      for (int c = 0; c < Columns; ++c) sum[r][c] = fma(row, column[c], sum[r][c]);
    }
  };
  Index p = 0;
#pragma GCC unroll 1
  for (; p + kLanes<Acc> <= in.depth; p += kLanes<Acc>) {
    __builtin_prefetch(in.ahead + p, 0, 2);
    step(p, [](const auto* x) { return load(x); });
  }
  if (const Index left = in.depth - p; left > 0) step(p, [left](const auto* x) { return load(x, left); });
#pragma GCC unroll 5
  for (int r = 0; r < kDotTile; ++r)
#pragma GCC unroll 5
    for (int c = 0; c < Columns; ++c) sums[r * Columns + c] = sum[r][c];
}
template <bool Copies, class T, class A, int Columns = kDotTile>
void dot_tile(Index columns, const DotInput<T, A>& in, bool is_first, Vec<Accumulator<T>>* sums) {
  if constexpr (Columns > 1) {
    if (columns < Columns) return dot_tile<Copies, T, A, Columns - 1>(columns, in, is_first, sums);
  }
  dot_tile<T, Columns, Copies>(in, is_first, sums);
}

// The sums over the lanes of each vector, in the order of a binary tree: lane i belongs to v[i].
template <class T>
inline Vec<T> sums_over_lanes(const Vec<T>* vectors) {
  Vec<T> v[kLanes<T>];
  for (int i = 0; i < kLanes<T>; ++i) v[i] = vectors[i];
#pragma GCC unroll 4
  for (int half = kLanes<T> / 2; half > 0; half /= 2)
#pragma GCC unroll 8
    for (int i = 0; i < half; ++i) v[i] = interleave<false>(v[i], v[i + half]) + interleave<true>(v[i], v[i + half]);
  return v[0];
}

// Brings the sums of a row of tiles into the order of c.
template <class T>
void finish_dot(const Output<T>& to, const Part& part, Vec<Accumulator<T>>* sums) {
  using Acc = Accumulator<T>;
  constexpr Index lanes = kLanes<Acc>, width = kDotWidth<T>;
  const Index vectors = kDotTile * part.columns, whole = (vectors + lanes - 1) / lanes * lanes;
  for (Index v = vectors; v < whole; ++v) sums[v] = Vec<Acc>{};
  alignas(64) Acc totals[kDotTile * width + lanes];
  alignas(64) Acc values[kDotTile][width];
  for (Index v = 0; v < whole; v += lanes) store(totals + v, sums_over_lanes<Acc>(sums + v));
  const Acc* tile = totals;
  for (Index done = 0; done < part.columns; done += kDotTile) {
    const Index here = part.columns - done < kDotTile ? part.columns - done : kDotTile;
    for (Index r = 0; r < kDotTile; ++r)
      for (Index c = 0; c < here; ++c) values[r][done + c] = *tile++;
  }
  finish(to, part, values[0], width);
}

// A tile's rows of a with some of b's. The first tile copies those of a, if at all: the others find them close
// together.
template <class T>
void dot_rows(const Dot<T>& d, const Output<T>& to, Index i, Index j, Index columns) {
  using Acc = Accumulator<T>;
  constexpr Index block = kDotBlock<T>;
  const Index rows = d.m - i < kDotTile ? d.m - i : kDotTile;
  const bool copies = d.copies_a || rows < kDotTile;
  Vec<Acc> sums[kDotWidth<T> * kDotTile + kLanes<Acc>];
  alignas(kVectorBytes) Acc copy[kDotTile * block];
  for (Index k = 0; k < d.k; k += block) {
    DotInput<T, T> in{.a = d.a + i * d.a_row + k, .a_row = d.a_row, .rows = rows, .b_row = d.b_row, .copy = copy};
    in.depth = d.k - k < block ? d.k - k : block;
    const T* next = k + block < d.k ? in.a + block : in.a - k + kDotTile * d.a_row;
    for (Index tile = 0; tile * kDotTile < columns; ++tile) {
      const Index c = tile * kDotTile;
      in.b = d.b + (j + c) * d.b_row + k;
      in.ahead = tile < kDotTile ? next + tile * d.a_row : in.b;
      auto* tile_sums = sums + c * kDotTile;
      if (copies && tile == 0) {
        dot_tile<true>(columns, in, k == 0, tile_sums);
      } else if (copies || !std::is_same_v<T, Acc>) {
        const DotInput<T, Acc> close{.a = copy,
                                     .a_row = block,
                                     .rows = kDotTile,
                                     .b = in.b,
                                     .b_row = d.b_row,
                                     .depth = in.depth,
                                     .ahead = in.ahead};
        dot_tile<false>(columns - c, close, k == 0, tile_sums);
      } else if constexpr (std::is_same_v<T, Acc>) {
        dot_tile<false>(columns - c, in, k == 0, tile_sums);
      }
    }
  }
  finish_dot(to, {i, j, rows, columns, true, true}, sums);
}

template <class T>
void multiply_dot(const Dot<T>& d, const Output<T>& to, Index grain_macs) {
  const Index row_tiles = (d.m + kDotTile - 1) / kDotTile;
  constexpr Index width = kDotWidth<T>;
  parallel_for(row_tiles, 1 + grain_macs / (kDotTile * d.n * d.k), [&](Index begin, Index end) {
    for (Index r = begin; r < end; ++r)
      for (Index j = 0; j < d.n; j += width) dot_rows(d, to, r * kDotTile, j, d.n - j < width ? d.n - j : width);
  });
}

}  // namespace
}  // namespace dd2424::cpu::DD2424_ISA
