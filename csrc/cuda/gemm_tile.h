#pragma once
#include <type_traits>

#include "cuda/launch.h"
#include "cuda/value.h"

// The main loop of products without tensor cores, for matrix products and convolutions alike. A block of threads makes
// a tile of c. It steps along k by slices of a and b: while it multiplies one slice, in shared memory, it already loads
// the next one into registers. Every element of c is one chain of fused multiply-adds in the order of k, so that its
// bits do not depend on the tile.
//
// An operand says where its elements lie: it has rows, which run along a's rows or b's columns, and steps along k.
//   Row row(r), Step step(k)              where they are; made once for each block, or moved on by `advance(step, by)`
//   bool inside(row, step)                else the element is 0
//   Index offset(row, step)               of the element, from `data`
//   bool k_first                          steps lie closer together in memory than rows
//   bool vector                           and `unit` neighbours of them can be loaded at once, at every such number
namespace dd2424::cuda {

constexpr int kUnit = 4, kChunk = 8;  // elements that a thread loads together here, and for tensor cores
constexpr int kBlockThreads = 256;

constexpr Index ceil_div(Index a, Index b) { return (a + b - 1) / b; }

template <class T>
struct alignas(sizeof(T) * kUnit < 16 ? sizeof(T) * kUnit : 16) Unit {
  T at[kUnit];
};

// A matrix with any strides.
template <class T>
struct Matrix {
  const T* data;
  Index row_stride, k_stride;
  Index rows, steps;
  bool k_first, vector;
  struct Row {
    Index offset;
    bool inside;
  };
  using Step = Index;
  __device__ Row row(Index r) const { return {r * row_stride, r < rows}; }
  __device__ Step step(Index k) const { return k; }
  __device__ void advance(Step& step, int by) const { step += by; }
  __device__ bool inside(const Row& row, Step step) const { return row.inside && step < steps; }
  __device__ Index offset(const Row& row, Step step) const { return row.offset + step * k_stride; }
};

// Can `unit` elements be loaded at once, wherever multiples of these strides lead to?
template <class T, class... Strides>
bool can_load(const T* data, int unit, Strides... strides) {
  const Index bytes = static_cast<Index>(sizeof(T)) * unit, at_once = bytes < 16 ? bytes : 16;
  return reinterpret_cast<std::uintptr_t>(data) % static_cast<std::uintptr_t>(at_once) == 0 &&
         ((strides * static_cast<Index>(sizeof(T)) % at_once == 0) && ...);
}
template <class T>
Matrix<T> matrix(const T* data, int unit, Index rows, Index steps, Index row_stride, Index k_stride) {
  Matrix<T> x{data, row_stride, k_stride, rows, steps, k_stride < row_stride, false};
  if (x.k_first) x.vector = k_stride == 1 && steps % unit == 0 && can_load(data, unit, row_stride);
  else x.vector = row_stride == 1 && rows % unit == 0 && can_load(data, unit, k_stride);
  return x;
}

// What a thread carries of an operand from global memory into slices in shared memory: units of four elements, along k
// or along the rows. Single elements, where these lie along the rows, are far apart: neighbours then read neighbours.
constexpr int kPad = 4;  // so that what lies four steps apart in a slice is in other banks
template <class C, int rows, int slice>
using Slice = C[slice][rows + kPad];

template <class T, class Operand, int rows, int slice>
class Carrier {
 public:
  using C = Computed<T>;
  using Row = typename Operand::Row;

  __device__ Carrier(const Operand& x, Row (&places)[rows], Index first_row, Index first_k) : x_(x), places_(places) {
    for (int r = static_cast<int>(threadIdx.x); r < rows; r += kBlockThreads) places[r] = x.row(first_row + r);
    step_ = x.step(first_k + k_of(0));
  }
  __device__ void load() {
#pragma unroll
    for (int u = 0; u < units; ++u)
      if (has(u)) load_unit(u);
    x_.advance(step_, slice);
  }
  __device__ void store(Slice<C, rows, slice>& y) const {
#pragma unroll
    for (int u = 0; u < units; ++u) {
      if (!has(u)) continue;
      const int k = k_of(u), r = row_of(u);
      if (x_.k_first) {
#pragma unroll
        for (int i = 0; i < kUnit; ++i) y[k + i][r] = value(held_[u].at[i]);
      } else {
        const int apart = x_.vector ? 1 : rows / kUnit;
#pragma unroll
        for (int i = 0; i < kUnit; ++i) y[k][r + i * apart] = value(held_[u].at[i]);
      }
    }
  }

 private:
  static constexpr int all = rows * slice / kUnit, units = (all + kBlockThreads - 1) / kBlockThreads;

  __device__ static int number(int u) { return static_cast<int>(threadIdx.x) + u * kBlockThreads; }
  __device__ static bool has(int u) { return all % kBlockThreads == 0 || number(u) < all; }
  __device__ int k_of(int u) const {
    return x_.k_first ? number(u) % (slice / kUnit) * kUnit : number(u) / (rows / kUnit);
  }
  __device__ int row_of(int u) const {
    if (x_.k_first) return number(u) / (slice / kUnit);
    return number(u) % (rows / kUnit) * (x_.vector ? kUnit : 1);
  }
  __device__ T element_at(const Row& row, const typename Operand::Step& step) const {
    return x_.inside(row, step) ? x_.data[x_.offset(row, step)] : T{};
  }
  __device__ void load_unit(int u) {
    const int r = row_of(u);
    auto step = step_;  // of the first unit; along k all have the same
    if (u > 0 && !x_.k_first) x_.advance(step, u * (kBlockThreads * kUnit / rows));
    if (x_.vector) {
      const Row row = places_[r];
      held_[u] = x_.inside(row, step) ? *reinterpret_cast<const Unit<T>*>(x_.data + x_.offset(row, step)) : Unit<T>{};
    } else if (x_.k_first) {
      const Row row = places_[r];
#pragma unroll
      for (int i = 0; i < kUnit; ++i) {
        held_[u].at[i] = element_at(row, step);
        x_.advance(step, 1);
      }
    } else {
#pragma unroll
      for (int i = 0; i < kUnit; ++i) held_[u].at[i] = element_at(places_[r + i * (rows / kUnit)], step);
    }
  }

  const Operand& x_;
  Row (&places_)[rows];  // in shared memory
  typename Operand::Step step_;
  Unit<T> held_[units];
};

template <class C, int count, int width>
__device__ void read_fragment(C (&fragment)[count], const C (&row)[width], int first) {
#pragma unroll
  for (int i = 0; i < count; i += kUnit) {
    const auto four = *reinterpret_cast<const Unit<C>*>(&row[first + i / kUnit * 64]);
#pragma unroll
    for (int j = 0; j < kUnit; ++j) fragment[i + j] = four.at[j];
  }
}

template <class T, int rows_, int columns_, int slice_>
struct SimtLoop {  // threads stand 16 by 16, and each has rows / 16 by columns / 16 sums
  static constexpr int rows = rows_, columns = columns_, slice = slice_;
  static constexpr std::size_t shared_bytes = 0;
  static constexpr int threads = kBlockThreads, blocks = 2;                   // at a time on a multiprocessor
  static constexpr int down = rows / 16, across = columns / 16, run = kUnit;  // neighbouring columns
  using Sum = Computed<T>;
  using ASlice = Slice<Sum, rows, slice>;
  using BSlice = Slice<Sum, columns, slice>;

  // A warp is 4 by 8 threads, each at four neighbouring rows and columns, and again 64 further on: what a warp reads of
  // a slice at once lies in one line of the banks.
  __device__ static int first_row() {
    return (static_cast<int>(threadIdx.x) / (2 * kWarp) * 4 + static_cast<int>(threadIdx.x) % kWarp / 8) * kUnit;
  }
  __device__ static int first_column() {
    return (static_cast<int>(threadIdx.x) / kWarp % 2 * 8 + static_cast<int>(threadIdx.x) % 8) * kUnit;
  }
  __device__ static int row_of(int i) { return first_row() + i / kUnit * 64 + i % kUnit; }
  __device__ static int column_of(int j) { return first_column() + j / kUnit * 64 + j % kUnit; }

  __device__ static void multiply_slice(const ASlice& a, const BSlice& b, Sum (&sums)[down][across]) {
#pragma unroll
    for (int k = 0; k < slice; ++k) {
      Sum left[down], right[across];
      read_fragment(left, a[k], first_row());
      read_fragment(right, b[k], first_column());
#pragma unroll
      for (int i = 0; i < down; ++i)
#pragma unroll
        for (int j = 0; j < across; ++j) sums[i][j] = fma(left[i], right[j], sums[i][j]);
    }
  }

  // sums += a b over steps begin to end, of rows from `row` on and columns from `column` on.
  template <class A, class B>
  __device__ static void multiply(const A& a, const B& b, Index row, Index column, Index begin, Index end,
                                  Sum (&sums)[down][across]) {
    __shared__ typename A::Row a_rows[rows];
    __shared__ typename B::Row b_rows[columns];
    alignas(16) __shared__ ASlice a_slices[2];
    alignas(16) __shared__ BSlice b_slices[2];
    Carrier<T, A, rows, slice> left(a, a_rows, row, begin);
    Carrier<T, B, columns, slice> right(b, b_rows, column, begin);
    __syncthreads();
    left.load(), right.load();
    left.store(a_slices[0]), right.store(b_slices[0]);
    __syncthreads();
    const int slices = static_cast<int>((end - begin + slice - 1) / slice);
#pragma unroll 1
    for (int i = 0; i < slices; ++i) {
      const bool more = i + 1 < slices;
      const int at = i % 2;
      if (more) left.load(), right.load();
      multiply_slice(a_slices[at], b_slices[at], sums);
      if (more) left.store(a_slices[at ^ 1]), right.store(b_slices[at ^ 1]);
      __syncthreads();
    }
  }
};

}  // namespace dd2424::cuda
