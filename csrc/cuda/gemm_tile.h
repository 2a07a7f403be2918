#pragma once
#include <type_traits>

#include "cuda/cooperative.h"
#include "cuda/launch.h"
#include "cuda/tensor_core.h"
#include "cuda/value.h"

// The main loop of products without tensor cores, for matrix products and convolutions alike. A block of threads makes
// a tile of c. It steps along k by slices of a and b in shared memory: while it multiplies one, the next two are on
// their way. Every element of c is one chain of fused multiply-adds in the order of k, so that its bits do not depend
// on the tile.
//
// An operand says where its elements lie: it has rows, which run along a's rows or b's columns, and steps along k.
//   Row row(r), Step step(k)              where they are; made once for each block, or moved on by `advance(step, by)`
//   bool inside(row, step)                else the element is 0
//   Index offset(row, step)               of the element, from `data`
//   bool k_first                          steps lie closer together in memory than rows
//   bool vector                           and `unit` neighbours of them can be loaded at once, at every such number
namespace dd2424::cuda {

constexpr int kUnit = 4;  // elements that a thread loads together here
template <class T>
constexpr int kChunk = sizeof(T) == 2 ? 8 : 4;  // and for tensor cores: 16 bytes
constexpr int kBlockThreads = 256;

constexpr Index ceil_div(Index a, Index b) { return (a + b - 1) / b; }

template <class T>
struct alignas(sizeof(T) * kUnit < 16 ? sizeof(T) * kUnit : 16) Unit {
  T at[kUnit];
};

__device__ inline int in_32_bits(Index left) {  // of what a block or chunk has less
  constexpr Index most = 1 << 30;
  return static_cast<int>(left < most ? left : most);
}

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

// A slice in shared memory. Its lines lie so that eight steps of four neighbouring rows are in different banks.
constexpr int kPad = 4, kGroup = 8;  // steps that lie side by side in memory go together
template <class C, int rows, int slice>
using Slice = C[slice][rows + kPad];

// Brings slices of an operand into shared memory: what start() has asked for is there once finish(), wait_for_copies
// and
// __syncthreads have followed. Any operand goes by way of registers, in units of four elements along k or along the
// rows. Single elements, where these lie along the rows, are far apart: neighbours then read neighbours.
template <class T, class Operand, int rows, int slice>
class Carrier {
 public:
  using C = Computed<T>;
  using Row = typename Operand::Row;
  using Places = Row[rows];

  __device__ Carrier(const Operand& x, Places& places, Index first_row, Index first_k) : x_(x), places_(places) {
    for (int r = static_cast<int>(threadIdx.x); r < rows; r += kBlockThreads) places[r] = x.row(first_row + r);
    step_ = x.step(first_k + k_of(0));
  }
  __device__ void start(Slice<C, rows, slice>&) {
    auto step = step_;  // of the first unit
#pragma unroll
    for (int u = 0; u < units; ++u) {
      if (!has(u)) continue;
      if (u > 0 && x_.k_first && u % in_turn == 0) x_.advance(step, kGroup);
      if (u > 0 && !x_.k_first) x_.advance(step, kBlockThreads * kUnit / rows);
      load_unit(u, step);
    }
    x_.advance(step_, slice);
  }
  __device__ void finish(Slice<C, rows, slice>& y) const {
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
  static constexpr int all = rows * slice / kUnit, units = (all + kBlockThreads - 1) / kBlockThreads,
                       groups = slice / kGroup;
  static constexpr int in_group = kGroup / kUnit, in_turn = units < groups ? 1 : units / groups;  // units
  static_assert(units % groups == 0 || units == 1);

  __device__ static int number(int u) { return static_cast<int>(threadIdx.x) + u * kBlockThreads; }
  __device__ static bool has(int u) { return all % kBlockThreads == 0 || number(u) < all; }
  __device__ int k_of(int u) const {
    return x_.k_first ? number(u) % in_group * kUnit + number(u) / (in_group * rows) * kGroup
                      : number(u) / (rows / kUnit);
  }
  __device__ int row_of(int u) const {
    if (x_.k_first) return number(u) / in_group % rows;
    return number(u) % (rows / kUnit) * (x_.vector ? kUnit : 1);
  }
  __device__ T element_at(const Row& row, const typename Operand::Step& step) const {
    return x_.inside(row, step) ? x_.data[x_.offset(row, step)] : T{};
  }
  __device__ void load_unit(int u, typename Operand::Step step) {
    const int r = row_of(u);
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
  Places& places_;  // in shared memory
  typename Operand::Step step_;
  Unit<T> held_[units];
};

// A matrix that is computed with as it is goes past registers; a thread's elements are equally far apart in it, so that
// only one pointer moves on.
template <class T, int rows, int slice>
class MatrixCarrier {
 public:
  struct Places {};

  __device__ MatrixCarrier(const Matrix<T>& x, Places&, Index first_row, Index first_k) : x_(x) {
    const int thread = static_cast<int>(threadIdx.x);
    if (x.k_first) k_ = thread % kGroup, row_ = thread / kGroup;
    else if (x.vector) k_ = thread / (rows / together), row_ = thread % (rows / together) * together;
    else k_ = thread / rows, row_ = thread % rows;
    from_ = x.data + (first_row + row_) * x.row_stride + (first_k + k_) * x.k_stride;
    rows_left_ = in_32_bits(x.rows - first_row), steps_left_ = in_32_bits(x.steps - first_k);
  }
  __device__ void start(Slice<T, rows, slice>& y) {
    if (rows_left_ >= rows && steps_left_ >= slice) copy<false>(y);
    else copy<true>(y);
    from_ += slice * x_.k_stride, steps_left_ -= slice;
  }
  __device__ void finish(Slice<T, rows, slice>&) const {}

 private:
  static constexpr int together = 16 / static_cast<int>(sizeof(T));
  static constexpr int lines = kBlockThreads / kGroup;  // rows that threads stand at, where k is first

  template <bool is_guarded>
  __device__ void copy(Slice<T, rows, slice>& y) const {
    if (x_.k_first) {
#pragma unroll
      for (int k = 0; k < slice; k += kGroup) {
        const T* from = from_ + k * x_.k_stride;
#pragma unroll
        for (int r = 0; r < rows; r += lines) {
          const bool has = !is_guarded || (row_ + r < rows_left_ && k_ + k < steps_left_);
          start_copy<sizeof(T)>(&y[k_ + k][row_ + r], has ? from : x_.data, has);
          from += lines * x_.row_stride;
        }
      }
    } else if (x_.vector) {
      copy_lines<is_guarded, together>(y);
    } else {
      copy_lines<is_guarded, 1>(y);
    }
  }
  template <bool is_guarded, int unit>
  __device__ void copy_lines(Slice<T, rows, slice>& y) const {
    constexpr int by = kBlockThreads * unit / rows;
    static_assert(by > 0);
    const T* from = from_;
#pragma unroll
    for (int k = 0; k < slice; k += by) {
      if (by > slice && k_ >= slice) break;
      const bool has = !is_guarded || (row_ < rows_left_ && k_ + k < steps_left_);
      start_copy<unit * sizeof(T)>(&y[k_ + k][row_], has ? from : x_.data, has);
      from += by * x_.k_stride;
    }
  }

  const Matrix<T>& x_;
  const T* from_;
  int k_, row_, rows_left_, steps_left_;
};

template <class T, int rows_, int columns_, int slice_>
struct SimtLoop {  // threads stand 16 by 16, and each has rows / 16 by columns / 16 sums
  static constexpr int rows = rows_, columns = columns_, slice = slice_, stages = 3;
  static constexpr int threads = kBlockThreads, blocks = 2;                   // at a time on a multiprocessor
  static constexpr int down = rows / 16, across = columns / 16, run = kUnit;  // neighbouring columns
  using Sum = Computed<T>;
  struct Slices {
    alignas(16) Slice<Sum, rows, slice> a;
    alignas(16) Slice<Sum, columns, slice> b;
  };
  static constexpr std::size_t shared_bytes = stages * sizeof(Slices);
  static constexpr bool reads_ahead = sizeof(Sum) == 4;  // of slices; also beyond the last, what nobody uses
  static constexpr int buffers = reads_ahead ? 2 : 1;    // else they would leave the registers

  // A warp is 4 by 8 threads, each at four neighbouring rows and columns, and again behind those of the last thread.
  // Lanes go two by two: 16 bytes for all are read in fewer turns if neighbours, or next to neighbours, want the same.
  static constexpr int lanes_down = 4, lanes_across = 8;
  static constexpr int high = lanes_down * down, wide = lanes_across * across;  // of a warp
  __device__ static int warp() { return static_cast<int>(threadIdx.x) / kWarp; }
  __device__ static int lane() { return static_cast<int>(threadIdx.x) % kWarp; }
  __device__ static int first_row() {
    return warp() / (columns / wide) * high + (lane() / (2 * lanes_across) * 2 + lane() % 2) * kUnit;
  }
  __device__ static int first_column() { return warp() % (columns / wide) * wide + lane() / 2 % lanes_across * kUnit; }
  __device__ static int row_of(int i) { return first_row() + i / kUnit * (lanes_down * kUnit) + i % kUnit; }
  __device__ static int column_of(int j) { return first_column() + j / kUnit * (lanes_across * kUnit) + j % kUnit; }

  template <int apart, int count>
  __device__ static void read(Sum (&y)[count], const Sum* from) {
#pragma unroll
    for (int i = 0; i < count; i += kUnit) {
      const auto four = *reinterpret_cast<const Unit<Sum>*>(from + i * apart);
#pragma unroll
      for (int j = 0; j < kUnit; ++j) y[i + j] = four.at[j];
    }
  }
  template <class Operand, int lines>
  using CarrierOf = std::conditional_t<std::is_same_v<T, Sum> && std::is_same_v<Operand, Matrix<T>>,
                                       MatrixCarrier<T, lines, slice>, Carrier<T, Operand, lines, slice>>;

  // sums += a b over steps begin to end, of rows from `row` on and columns from `column` on.
  template <class A, class B>
  __device__ static void multiply(const A& a, const B& b, Index row, Index column, Index begin, Index end,
                                  Sum (&sums)[down][across]) {
    using Left = CarrierOf<A, rows>;
    using Right = CarrierOf<B, columns>;
    __shared__ typename Left::Places a_places;
    __shared__ typename Right::Places b_places;
    Slices* all = reinterpret_cast<Slices*>(asked_shared());
    Left left(a, a_places, row, begin);
    Right right(b, b_places, column, begin);
    __syncthreads();
    const int slices = static_cast<int>((end - begin + slice - 1) / slice);
#pragma unroll 1
    for (int i = 0; i < stages - 1; ++i) {
      if (i < slices) {
        left.start(all[i].a), right.start(all[i].b);
        left.finish(all[i].a), right.finish(all[i].b);
      }
      close_copies();  // an empty group too: what is waited for is counted
    }
    wait_for_copies<stages - 2>();
    __syncthreads();
    Sum x[buffers][down], y[buffers][across];  // what is multiplied, and what is read meanwhile
    const int a_at = first_row(), b_at = first_column();
    const auto read_step = [&](int into, const Slices& from, int k) {
      read<lanes_down>(x[into], &from.a[k][a_at]), read<lanes_across>(y[into], &from.b[k][b_at]);
    };
    if (reads_ahead) read_step(0, all[0], 0);
    int now = 0, next = 1, free = stages - 1;
#pragma unroll 1
    for (int i = 0; i < slices; ++i) {
      const bool more = i + stages - 1 < slices;
      if (more) left.start(all[free].a), right.start(all[free].b);
      close_copies();
#pragma unroll
      for (int k = 0; k < slice; ++k) {
        if (!reads_ahead) read_step(0, all[now], k);
        if (k == slice - 1) {
          if (more) left.finish(all[free].a), right.finish(all[free].b);
          wait_for_copies<stages - 2>();
          __syncthreads();  // the next slice is there, and everyone has read this one
        }
        if (reads_ahead) read_step((k + 1) % buffers, k < slice - 1 ? all[now] : all[next], (k + 1) % slice);
#pragma unroll
        for (int r = 0; r < down; ++r)
#pragma unroll
          for (int c = 0; c < across; ++c) sums[r][c] = fma(x[k % buffers][r], y[k % buffers][c], sums[r][c]);
      }
      const int done = now;
      now = next, next = free, free = done;
    }
    __syncthreads();
  }
};

}  // namespace dd2424::cuda
