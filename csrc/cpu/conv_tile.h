#pragma once
// The micro-kernel of every direct convolution: a tile of sums stays in registers while all taps and channels run.
#include "cpu/gemm_tile.h"

namespace dd2424::cpu::DD2424_ISA {

// sums(i, j) = sum over segments s and steps p of a[a_at[s] + i * a_row + p * a_column] * b[b_at[s] + p * b_row + j].
// A segment is what lies evenly in memory: a tap's channels in the forward pass, a row of pixels in the gradient by
// the weights. So the image is read where it lies, and never unrolled into columns.
template <class T>
struct ConvTile {
  const T* a;
  const T* b;
  const Index* a_at;
  const Index* b_at;
  Index segments, depth;
  Index a_row, a_column, b_row;
  bool streams = false;         // the sums go past the caches
  const char* ahead = nullptr;  // read soon, brought to the second-level cache: so many bytes for each step
  Index ahead_step = 0;
};
constexpr Index kFetchedSteps = 256;  // a tile of fewer is stored before the cache would have its lines unasked

template <class T, int Rows, int Vectors>
void conv_tile(const ConvTile<T>& in, const TileOutput<T>& to, Index columns) {
  constexpr int lanes = kLanes<T>, together = 4;  // rows that share a pointer: their offsets are few enough to stay put
  Vec<T> sums[Rows][Vectors] = {};
  if (in.segments * in.depth <= kFetchedSteps && !in.streams) prefetch_rows(to.out, to.out_row, Rows, columns);
  const char* ahead = in.ahead ? in.ahead : reinterpret_cast<const char*>(in.b);
  for (Index s = 0; s < in.segments; ++s) {
    const T* a = in.a + in.a_at[s];
    const T* b = in.b + in.b_at[s];
    const T* rows[(Rows + together - 1) / together];
#pragma GCC unroll 4
    for (int i = 0; i < Rows; i += together) rows[i / together] = a + i * in.a_row;
    for (Index p = 0; p < in.depth; ++p, b += in.b_row, ahead += in.ahead_step) {
      __builtin_prefetch(ahead, 0, 2);
      Vec<T> columns_of_b[Vectors];
#pragma GCC unroll 2
      for (int v = 0; v < Vectors; ++v) columns_of_b[v] = load(b + v * lanes);
#pragma GCC unroll 16
      for (int i = 0; i < Rows; ++i) {
        const Vec<T> element = broadcast(rows[i / together][i % together * in.a_row]);
#pragma GCC unroll 2
        for (int v = 0; v < Vectors; ++v) sums[i][v] = fma(element, columns_of_b[v], sums[i][v]);
      }
#pragma GCC unroll 4
      for (int i = 0; i < Rows; i += together) rows[i / together] += in.a_column;
    }
  }
  if (columns == Vectors * lanes && !to.bias_by_row && to.alpha == 1 && to.before_scale == 1) {
    const auto each = [&](const auto& change) {
#pragma GCC unroll 16
      for (int i = 0; i < Rows; ++i)
#pragma GCC unroll 2
        for (int v = 0; v < Vectors; ++v) change(i, v * lanes, sums[i][v]);
    };
    if (to.before) each([&](int i, int j, Vec<T>& x) { x += load(to.before + i * to.before_row + j); });
    if (to.bias) each([&](int, int j, Vec<T>& x) { x += load(to.bias + j); });
    if (to.relu) each([&](int, int, Vec<T>& x) { x = x < T(0) ? Vec<T>{} : x; });  // a NaN stays one
    if (in.streams) each([&](int i, int j, Vec<T>& x) { store_around(to.out + i * to.out_row + j, x); });
    else each([&](int i, int j, Vec<T>& x) { store(to.out + i * to.out_row + j, x); });
    return;
  }
  Vec<T> spilled[Rows * Vectors];
#pragma GCC unroll 16
  for (int i = 0; i < Rows; ++i)
#pragma GCC unroll 2
    for (int v = 0; v < Vectors; ++v) spilled[i * Vectors + v] = sums[i][v];
  store_tile(to, Rows, Vectors, columns, spilled);
}

template <class T>
using ConvTileKernel = void (*)(const ConvTile<T>&, const TileOutput<T>&, Index columns);

template <class T, int Vectors>
struct ConvTileKernels {
  ConvTileKernel<T> of_rows[kTileRows + 1] = {};
  constexpr ConvTileKernels() { fill<kTileRows>(); }

 private:
  template <int Rows>
  constexpr void fill() {
    of_rows[Rows] = conv_tile<T, Rows, Vectors>;
    if constexpr (Rows > 1) fill<Rows - 1>();
  }
};
template <class T>
const ConvTileKernel<T>* conv_tile_kernels(Index columns) {  // by the number of rows
  static constexpr ConvTileKernels<T, 1> kOne;
  static constexpr ConvTileKernels<T, kTileVectors> kTwo;
  return columns <= kLanes<T> ? kOne.of_rows : kTwo.of_rows;
}

}  // namespace dd2424::cpu::DD2424_ISA
