#pragma once
// Skinny products: both operands lie along k, and so do the vectors. No lane is lost to a narrow c and nothing is
// packed; the price is one sum over the lanes for each element of c, worth paying where k is long.
#include "core/parallel.h"
#include "cpu/gemm_output.h"
#include "cpu/gemm_pack.h"

namespace dd2424::cpu::DD2424_ISA {
namespace {

constexpr int kDotTile = kVectorBytes == 64 ? 5 : 3;  // rows and columns of c whose sums stay in registers
constexpr Index kDotBlockBytes = 2048;                // of k: a tile's rows stay in a first-level cache of 32 KB

template <class T>
constexpr Index kDotSums =  // vectors a tile holds, made whole for sums_over_lanes
    (kDotTile * kDotTile + kLanes<Accumulator<T>> - 1) / kLanes<Accumulator<T>> * kLanes<Accumulator<T>>;

template <class T>
struct Dot {
  const T* a;  // (m, k), row i at a + i * a_row
  const T* b;  // (n, k), row j at b + j * b_row
  Index m, n, k, a_row, b_row;
  Vec<Accumulator<T>>* sums;  // (tiles of m, tiles of n, kDotSums<T>)
};

// Rows beyond the end repeat the last one, so that only the columns vary.
template <class T, int Columns>
void dot_tile(const Dot<T>& d, Index i, Index j, Index k_begin, Index k_end, Vec<Accumulator<T>>* sums) {
  using Acc = Accumulator<T>;
  const T* a[kDotTile];
  const T* b[Columns];
  for (int r = 0; r < kDotTile; ++r) a[r] = d.a + (i + r < d.m ? i + r : d.m - 1) * d.a_row;
  for (int c = 0; c < Columns; ++c) b[c] = d.b + (j + c) * d.b_row;
  Vec<Acc> sum[kDotTile][Columns] = {};
  if (k_begin > 0) {
#pragma GCC unroll 5
    for (int r = 0; r < kDotTile; ++r)
#pragma GCC unroll 5
      for (int c = 0; c < Columns; ++c) sum[r][c] = sums[r * Columns + c];
  }
  const auto step = [&](const auto& read) {
    Vec<Acc> column[Columns];
#pragma GCC unroll 5
    for (int c = 0; c < Columns; ++c) column[c] = read(b[c]);
#pragma GCC unroll 5
    for (int r = 0; r < kDotTile; ++r) {
      const Vec<Acc> row = read(a[r]);
#pragma GCC unroll 5
      for (int c = 0; c < Columns; ++c) sum[r][c] = fma(row, column[c], sum[r][c]);
    }
  };
  Index p = k_begin;
  for (; p + kLanes<Acc> <= k_end; p += kLanes<Acc>) step([p](const T* x) { return load(x + p); });
  if (p < k_end) step([p, k_end](const T* x) { return load(x + p, k_end - p); });
#pragma GCC unroll 5
  for (int r = 0; r < kDotTile; ++r)
#pragma GCC unroll 5
    for (int c = 0; c < Columns; ++c) sums[r * Columns + c] = sum[r][c];
}
template <class T, int Columns = kDotTile>
void dot_tile(int columns, const Dot<T>& d, Index i, Index j, Index k_begin, Index k_end, Vec<Accumulator<T>>* sums) {
  if constexpr (Columns > 1) {
    if (columns < Columns) return dot_tile<T, Columns - 1>(columns, d, i, j, k_begin, k_end, sums);
  }
  dot_tile<T, Columns>(d, i, j, k_begin, k_end, sums);
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
constexpr Index kDotTilesAtOnce = kWidestTile * kLanes<Accumulator<T>> / kDotTile;
template <class T>
void finish_dot(const Dot<T>& d, const Output<T>& to, Index row_tile, Index first, Index last,
                const Vec<Accumulator<T>>* sums) {
  using Acc = Accumulator<T>;
  const Index i = row_tile * kDotTile, j = first * kDotTile;
  const Index rows = d.m - i < kDotTile ? d.m - i : kDotTile;
  const Index columns = (last * kDotTile < d.n ? last * kDotTile : d.n) - j;
  Acc values[kDotTile][kWidestTile * kLanes<Acc>];
  for (Index done = 0; done < columns; done += kDotTile, sums += kDotSums<T>) {
    const Index here = columns - done < kDotTile ? columns - done : kDotTile;
    Acc tile[kDotSums<T>];
    for (Index v = 0; v < kDotTile * here; v += kLanes<Acc>) store(tile + v, sums_over_lanes<Acc>(sums + v));
    for (Index r = 0; r < kDotTile; ++r)
      for (Index c = 0; c < here; ++c) values[r][done + c] = tile[r * here + c];
  }
  finish(to, {i, j, rows, columns, true, true}, values[0], kWidestTile * kLanes<Acc>);
}

template <class T>
void multiply_dot(const Dot<T>& d, const Output<T>& to, Index grain_macs) {
  constexpr Index block = kDotBlockBytes / Index(sizeof(T));
  const Index row_tiles = (d.m + kDotTile - 1) / kDotTile, column_tiles = (d.n + kDotTile - 1) / kDotTile;
  const auto sums_of = [&](Index r, Index c) { return d.sums + (r * column_tiles + c) * kDotSums<T>; };
  const auto columns_of = [&](Index c) { return int(d.n - c * kDotTile < kDotTile ? d.n - c * kDotTile : kDotTile); };
  parallel_for(row_tiles, 1 + grain_macs / (kDotTile * d.n * d.k), [&](Index begin, Index end) {
    for (Index k = 0; k < d.k; k += block)
      for (Index r = begin; r < end; ++r)
        for (Index c = 0; c < column_tiles; ++c)
          dot_tile<T>(columns_of(c), d, r * kDotTile, c * kDotTile, k, k + block < d.k ? k + block : d.k,
                      sums_of(r, c));
    for (Index r = begin; r < end; ++r) {
      constexpr Index step = kDotTilesAtOnce<T>;
      for (Index c = 0; c < column_tiles; c += step)
        finish_dot(d, to, r, c, c + step < column_tiles ? c + step : column_tiles, sums_of(r, c));
    }
  });
}

}  // namespace
}  // namespace dd2424::cpu::DD2424_ISA
