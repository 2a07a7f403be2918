#pragma once
#include "core/rnn.h"
#include "cuda/cooperative.h"
#include "cuda/launch.h"
#include "cuda/pack.h"

// The product of a step that has a launch of its own. A block has some units and a tile of sequences, whose weights and
// states pass by in slices; a thread has four sequences and few columns of weights, and every so many-th part of the
// depth.
namespace dd2424::cuda {
namespace {

constexpr int kRnnThreads = 256;
constexpr int kLanes = 16;  // threads that share the sequences of one group
constexpr int kRows = 4;    // sequences of a group
constexpr int kTileRows = kRnnThreads / kLanes * kRows;

constexpr int kPacks = 8;  // of a slice of the depth
template <class T>
constexpr int kSlice = kPacks * kPack<T>;
template <class T>
constexpr int kSliceRow = kSlice<T> + kPack<T>;  // apart, for the sake of shared memory's banks

// What lies in shared memory: a slice of the states, and one of the block's columns of weights, depth side by side.
template <class T, int columns>
struct Room {
  std::size_t bytes() const { return (kTileRows + columns) * kSliceRow<T> * sizeof(T); }
  __device__ T* states() const { return reinterpret_cast<T*>(asked_shared()); }
  __device__ T* weights() const { return states() + kTileRows * kSliceRow<T>; }
};

// Columns [0, columns) of the weights from `first` on: element (column, k) is at(column, k). `turned`: neighbours in
// memory are of neighbouring columns. It gives 0 beyond the depth.
template <bool turned, int columns, class T, class At>
__device__ void load_weights(T* to, Index first, const At& at) {
  for (int i = static_cast<int>(threadIdx.x); i < columns * kSlice<T>; i += kRnnThreads) {
    const int column = turned ? i % columns : i / kSlice<T>, k = turned ? i / columns : i % kSlice<T>;
    to[column * kSliceRow<T> + k] = at(column, first + k);
  }
}

// The tile's rows, row(r) being where one lies, or null: zeros.
template <class T, class Row>
__device__ void load_states(T* to, Index first, Index depth, bool vectors, const Row& row) {
  constexpr int size = kPack<T>;
  for (int i = static_cast<int>(threadIdx.x); i < kTileRows * kPacks; i += kRnnThreads) {
    const int r = i / kPacks, k = i % kPacks * size;
    const T* from = row(r);
    Pack<T, kPack<T>> pack{};
    if (from && vectors && first + k < depth) {
      pack = load_pack<kPack<T>>(from + first + k, true);
    } else if (from) {
      for (int e = 0; e < size; ++e)
        if (first + k + e < depth) pack.of[e] = from[first + k + e];
    }
    *reinterpret_cast<Pack<T, kPack<T>>*>(to + r * kSliceRow<T> + k) = pack;
  }
}

// sums[i][j] = sum over k of state (group's row i) and weight (column + j * column_step), the same for all `parts`
// neighbouring threads, which share the depth.
template <bool turned, int columns, int parts, int count, class T, class Row, class At>
__device__ void multiply(T (&sums)[kRows][count], const Room<T, columns>& room, Index depth, int column,
                         int column_step, bool vectors, const Row& row, const At& at) {
  constexpr int size = kPack<T>;
  T *states = room.states(), *weights = room.weights();
  const int group = static_cast<int>(threadIdx.x) / kLanes, part = static_cast<int>(threadIdx.x) % parts;
  for (Index first = 0; first < depth; first += kSlice<T>) {
    load_states(states, first, depth, vectors, row);
    load_weights<turned, columns>(weights, first, at);
    __syncthreads();
    const T* of_thread = weights + column * kSliceRow<T>;
    const int end = depth - first < kSlice<T> ? static_cast<int>(depth - first) : kSlice<T>;
    for (int k = part * size; k < end; k += parts * size) {
      Pack<T, kPack<T>> w[count], x[kRows];
#pragma unroll
      for (int j = 0; j < count; ++j) w[j] = load_pack<kPack<T>>(of_thread + j * column_step * kSliceRow<T> + k, true);
#pragma unroll
      for (int i = 0; i < kRows; ++i) x[i] = load_pack<kPack<T>>(states + (group * kRows + i) * kSliceRow<T> + k, true);
#pragma unroll
      for (int e = 0; e < size; ++e)
#pragma unroll
        for (int i = 0; i < kRows; ++i)
#pragma unroll
          for (int j = 0; j < count; ++j) sums[i][j] = fma(x[i].of[e], w[j].of[e], sums[i][j]);
    }
    __syncthreads();
  }
  for (int step = 1; step < parts; step *= 2)
#pragma unroll
    for (int i = 0; i < kRows; ++i)
#pragma unroll
      for (int j = 0; j < count; ++j) sums[i][j] += __shfl_xor_sync(0xffffffff, sums[i][j], step);
}

}  // namespace
}  // namespace dd2424::cuda
