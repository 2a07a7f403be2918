#pragma once
// Four ways to multiply two matrices, each a step from the one before. docs/ladder.md walks through them.
#include "core/parallel.h"
#include "cpu/sizes.h"
#include "cpu/vec.h"

namespace dd2424::cpu::DD2424_ISA {
namespace {

// c += alpha a b. Any strides, in elements, so any transposition.
template <class T>
struct Matrices {
  const T* a;  // (m, k)
  const T* b;  // (k, n)
  T* c;        // (m, n)
  Index m, n, k;
  Index a_row, a_column, b_row, b_column, c_row, c_column;
  T alpha = 1;
};

// Naive: the definition. Every multiplication waits for the sum before it, and for two numbers from memory.
template <class T>
void multiply_naive(const Matrices<T>& x) {
  for (Index i = 0; i < x.m; ++i) {
    for (Index j = 0; j < x.n; ++j) {
      T sum = 0;
      for (Index p = 0; p < x.k; ++p) sum += x.a[i * x.a_row + p * x.a_column] * x.b[p * x.b_row + j * x.b_column];
      x.c[i * x.c_row + j * x.c_column] += x.alpha * sum;
    }
  }
}

constexpr Index kLadderDepth = 256;  // of k in a panel: 256 rows of 32 floats fill a first-level cache of 32 KB

// Copies rows p.. and columns j.. of b so that they lie as they will be read; columns beyond the end are 0.
template <class T, Index Width>
void copy_panel(const Matrices<T>& x, Index p, Index depth, Index j, T* panel) {
  for (Index q = p; q < p + depth; ++q, panel += Width) {
    const T* row = x.b + q * x.b_row + j * x.b_column;
    if (x.b_column == 1 && j + Width <= x.n) __builtin_memcpy(panel, row, Width * sizeof(T));
    else
      for (Index s = 0; s < Width; ++s) panel[s] = j + s < x.n ? row[s * x.b_column] : T(0);
  }
}

template <class V, class T>
inline V read(const T* p) {
  if constexpr (sizeof(V) == sizeof(T)) return *p;
  else return load(p);
}

// A tile of c, `Rows` by `Columns` of V: its sums stay in registers while the panel goes by. A number of a serves a
// whole row of the tile, a V of the panel a whole column; and no sum waits for another.
template <class T, class V, int Rows, int Columns>
void multiply_tile(const Matrices<T>& x, Index i, Index p, Index depth, Index j, const T* panel) {
  constexpr Index lanes = sizeof(V) / sizeof(T), width = Columns * lanes;
  const T* a[Rows];
  for (int r = 0; r < Rows; ++r) a[r] = x.a + smaller(i + r, x.m - 1) * x.a_row + p * x.a_column;
  V sums[Rows][Columns] = {};
  for (Index q = 0; q < depth; ++q, panel += width) {
    V row[Columns];
#pragma GCC unroll 8
    for (int s = 0; s < Columns; ++s) row[s] = read<V>(panel + s * lanes);
#pragma GCC unroll 8
    for (int r = 0; r < Rows; ++r) {
      const V number = V{} + a[r][q * x.a_column];
#pragma GCC unroll 8
      for (int s = 0; s < Columns; ++s) sums[r][s] = fma(number, row[s], sums[r][s]);
    }
  }
  T out[Rows][width];
  __builtin_memcpy(out, sums, sizeof out);
  for (Index r = 0; r < smaller(Rows, x.m - i); ++r)
    for (Index s = 0; s < smaller(width, x.n - j); ++s)
      x.c[(i + r) * x.c_row + (j + s) * x.c_column] += x.alpha * out[r][s];
}

template <class T, class V, int Rows, int Columns>
void multiply_panels(const Matrices<T>& x) {
  constexpr Index width = Columns * Index(sizeof(V) / sizeof(T));
  alignas(64) T panel[kLadderDepth * width];
  for (Index j = 0; j < x.n; j += width) {
    for (Index p = 0; p < x.k; p += kLadderDepth) {
      const Index depth = smaller(kLadderDepth, x.k - p);
      copy_panel<T, width>(x, p, depth, j, panel);
      for (Index i = 0; i < x.m; i += Rows) multiply_tile<T, V, Rows, Columns>(x, i, p, depth, j, panel);
    }
  }
}

// Blocked: panels of b that stay in the cache, tiles of 4 by 4 sums that stay in registers.
template <class T>
void multiply_blocked(const Matrices<T>& x) {
  multiply_panels<T, T, 4, 4>(x);
}

// Vectorised: the same, where a number of b is a vector of them. 6 by 2 vectors fit the registers of every level.
constexpr int kLadderRows = 6;
template <class T>
void multiply_vectorised(const Matrices<T>& x) {
  multiply_panels<T, Vec<T>, kLadderRows, 2>(x);
}

// Threaded: the rows of c are shared out, a part for each thread, for each copies its own panels. Every sum is still
// one thread's, in the same order, so its bits are the same for any number of them.
constexpr Index kLadderWork = 1 << 18;  // multiplications that are worth a thread
template <class T>
void multiply_threaded(const Matrices<T>& x) {
  const Index tiles = ceil_div(x.m, kLadderRows), worth = 1 + kLadderWork / (kLadderRows * x.n * x.k + 1);
  parallel_for(tiles, larger(worth, ceil_div(tiles, num_threads())), [&](Index begin, Index end) {
    Matrices<T> part = x;
    part.a += begin * kLadderRows * x.a_row, part.c += begin * kLadderRows * x.c_row;
    part.m = smaller(end * kLadderRows, x.m) - begin * kLadderRows;
    multiply_vectorised(part);
  });
}

}  // namespace
}  // namespace dd2424::cpu::DD2424_ISA
