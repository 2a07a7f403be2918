#pragma once
#include "cuda/cooperative.h"
#include "cuda/gemm_tile.h"
#include "cuda/tensor_core.h"

// The main loop of products on tensor cores, from compute capability 8.0 on. Copies into shared memory run three slices
// ahead of the multiplications, past registers; a slice is kept as its operand lies in memory, along k or along the
// rows, and turned while it is read.
namespace dd2424::cuda {

constexpr int kStages = 4, kTensorThreads = 128, kChunksAlongK = 4;  // of a slice
template <class T>
constexpr int kTensorSlice = kChunksAlongK * kChunk<T>;

// A slice: lines of four chunks of 16 bytes along k, one for each row, or lines of the rows' chunks, one for each step.
// Chunks change places within a line so that what is read at a time lies in different banks: eight lines at the same
// place in each or, of tfloat32 along rows, two chunks of four lines.
template <class T, int rows>
struct TensorSlice {
  static constexpr int bytes = rows * kChunksAlongK * 16;
  __device__ static int chunk_along_k(int row, int chunk) { return row * kChunksAlongK + (chunk ^ (row >> 1 & 3)); }
  __device__ static int chunk_along_rows(int k, int chunk) {
    constexpr int chunks = rows / kChunk<T>;
    return k * chunks + (chunk ^ (kIsShort<T> ? k & 7 : (k & 3) << 1));
  }
};

template <class T>
struct alignas(16) Chunk {
  T at[kChunk<T>];
};

template <class T, class Operand, int rows>
class TensorCarrier {
 public:
  using Row = typename Operand::Row;

  __device__ TensorCarrier(const Operand& x, Row (&places)[rows], Index first_row, Index first_k)
      : x_(x), places_(places) {
    for (int r = static_cast<int>(threadIdx.x); r < rows; r += kTensorThreads) places[r] = x.row(first_row + r);
    step_ = x.step(first_k + k_of(0));
  }
  // Starts to copy the next slice.
  __device__ void load(std::byte* slice) {
    auto step = step_;  // of the first chunk; along k all have the same
#pragma unroll 1
    for (int u = 0; u < units; ++u) {
      const int n = number(u);
      auto* y = reinterpret_cast<Chunk<T>*>(slice);
      y +=
          x_.k_first ? Slice::chunk_along_k(n / kAlongK, n % kAlongK) : Slice::chunk_along_rows(n / kAlong, n % kAlong);
      if (u > 0 && !x_.k_first) x_.advance(step, kTensorThreads / kAlong);
      if (x_.vector) {
        const Row row = places_[row_of(u)];
        const bool inside = x_.inside(row, step);
        start_copy(y, inside ? x_.data + x_.offset(row, step) : x_.data, inside);
      } else {
        *y = gathered(row_of(u), step);
      }
    }
    x_.advance(step_, kTensorSlice<T>);
  }

 private:
  using Slice = TensorSlice<T, rows>;
  static constexpr int kAlongK = kChunksAlongK, kAlong = rows / kChunk<T>;
  static constexpr int units = rows * kAlongK / kTensorThreads;
  static_assert(rows * kAlongK % kTensorThreads == 0);

  __device__ static int number(int u) { return static_cast<int>(threadIdx.x) + u * kTensorThreads; }
  __device__ int k_of(int u) const { return x_.k_first ? number(u) % kAlongK * kChunk<T> : number(u) / kAlong; }
  __device__ int row_of(int u) const { return x_.k_first ? number(u) / kAlongK : number(u) % kAlong * kChunk<T>; }
  __device__ Chunk<T> gathered(int r, typename Operand::Step step) const {
    Chunk<T> y;
#pragma unroll 1
    for (int i = 0; i < kChunk<T>; ++i) {
      const Row row = places_[x_.k_first ? r : r + i];
      const T next = x_.inside(row, step) ? x_.data[x_.offset(row, step)] : T{};
#pragma unroll
      for (int j = 0; j < kChunk<T> - 1; ++j) y.at[j] = y.at[j + 1];
      y.at[kChunk<T> - 1] = next;
      if (x_.k_first) x_.advance(step, 1);
    }
    return y;
  }

  const Operand& x_;
  Row (&places_)[rows];  // in shared memory
  typename Operand::Step step_;
};

template <class T, int rows_, int columns_>
struct TensorLoop {  // four warps, two by two, each with fragments of 16 by 8 sums
  static constexpr int rows = rows_, columns = columns_, slice = kTensorSlice<T>, threads = kTensorThreads;
  static constexpr int blocks = rows == 128 ? 2 : 3;                 // at a time on a multiprocessor
  static constexpr int high = rows / 2, wide = columns / 2;          // of a warp
  static constexpr int down = high / 8, across = wide / 4, run = 2;  // sums of a thread, neighbouring columns
  static constexpr std::size_t shared_bytes = kStages * (TensorSlice<T, rows>::bytes + TensorSlice<T, columns>::bytes);
  using Sum = float;

  __device__ static int warp() { return static_cast<int>(threadIdx.x) / kWarp; }
  __device__ static int lane() { return static_cast<int>(threadIdx.x) % kWarp; }
  __device__ static int first_row() { return warp() / 2 * high; }
  __device__ static int first_column() { return warp() % 2 * wide; }
  __device__ static int row_of(int i) { return first_row() + i * 8 + lane() / 4; }
  __device__ static int column_of(int j) { return first_column() + j / 2 * 8 + lane() % 4 * 2 + j % 2; }

  // A slice's fragments of 16 rows of a, or of 16 columns of b, by the steps of two chunks: four matrices of 8 rows by
  // a chunk, first those of the first chunk. Blocks of 16 rows, or of two chunks' steps, do not change the places
  // within a line: they are added.
  template <bool along_k, int lines>
  __device__ static void read(std::uint32_t (&y)[4], const std::byte* slice, int first, int block, int two_chunks) {
    using S = TensorSlice<T, lines>;
    const int line = lane() % 8, of_rows = lane() / 8 % 2, of_steps = lane() / 16;
    const auto* chunks = reinterpret_cast<const Chunk<T>*>(slice);
    if constexpr (along_k) {
      load_matrices<false>(y, chunks + S::chunk_along_k(first + of_rows * 8 + line, 2 * two_chunks + of_steps) +
                                  S::chunk_along_k(16 * block, 0));
    } else if constexpr (kIsShort<T>) {
      load_matrices<true>(y, chunks +
                                 S::chunk_along_rows(of_steps * 8 + line, first / kChunk<T> + 2 * block + of_rows) +
                                 S::chunk_along_rows(16 * two_chunks, 0));
    } else {
      const int row = lane() / 4, k = lane() % 4;
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int chunk = S::chunk_along_rows(k, (first + row) / kChunk<T> + 4 * block + i % 2 * 2) +
                          S::chunk_along_rows(8 * two_chunks + i / 2 * 4, 0);
        y[i] = reinterpret_cast<const std::uint32_t*>(chunks + chunk)[row % kChunk<T>];
      }
    }
    if constexpr (!kIsShort<T>) {
#pragma unroll
      for (std::uint32_t& x : y) x = rounded_to_tfloat32(x);
    }
  }

  template <bool a_along_k, bool b_along_k>
  __device__ static void multiply_slice(const std::byte* a, const std::byte* b, float (&sums)[down][across]) {
#pragma unroll
    for (int k = 0; k < kChunksAlongK / 2; ++k) {
      std::uint32_t left[down / 2][4], right[across / 4][4];
#pragma unroll
      for (int i = 0; i < down / 2; ++i) read<a_along_k, rows>(left[i], a, first_row(), i, k);
#pragma unroll
      for (int j = 0; j < across / 4; ++j) read<b_along_k, columns>(right[j], b, first_column(), j, k);
#pragma unroll
      for (int i = 0; i < down; i += 2)
#pragma unroll
        for (int j = 0; j < across; j += 2)
          multiply_add<T>(sums[i][j], sums[i][j + 1], sums[i + 1][j], sums[i + 1][j + 1], left[i / 2],
                          right[j / 4][j / 2 % 2], right[j / 4][j / 2 % 2 + 2]);
    }
  }

  template <class A, class B>
  __device__ static void multiply(const A& a, const B& b, Index row, Index column, Index begin, Index end,
                                  float (&sums)[down][across]) {
    __shared__ typename A::Row a_rows[rows];
    __shared__ typename B::Row b_rows[columns];
    std::byte *a_slices = reinterpret_cast<std::byte*>(asked_shared()),
              *b_slices = a_slices + kStages * TensorSlice<T, rows>::bytes;
    TensorCarrier<T, A, rows> left(a, a_rows, row, begin);
    TensorCarrier<T, B, columns> right(b, b_rows, column, begin);
    __syncthreads();
    const int slices = static_cast<int>((end - begin + slice - 1) / slice);
    const auto load = [&](int i) {
      if (i < slices) {
        left.load(a_slices + i % kStages * TensorSlice<T, rows>::bytes);
        right.load(b_slices + i % kStages * TensorSlice<T, columns>::bytes);
      }
      close_copies();  // an empty group too: what is waited for is counted
    };
#pragma unroll 1
    for (int i = 0; i < kStages - 1; ++i) load(i);
#pragma unroll 1
    for (int i = 0; i < slices; ++i) {
      wait_for_copies<kStages - 2>();
      __syncthreads();  // slice i is there, and everyone has done with the one before it
      load(i + kStages - 1);
      const std::byte *x = a_slices + i % kStages * TensorSlice<T, rows>::bytes,
                      *y = b_slices + i % kStages * TensorSlice<T, columns>::bytes;
      if (a.k_first) b.k_first ? multiply_slice<true, true>(x, y, sums) : multiply_slice<true, false>(x, y, sums);
      else b.k_first ? multiply_slice<false, true>(x, y, sums) : multiply_slice<false, false>(x, y, sums);
    }
    wait_for_copies<0>();
    __syncthreads();
  }
};

}  // namespace dd2424::cuda
