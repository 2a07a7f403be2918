#pragma once
#include "core/rnn.h"
#include "cuda/cooperative.h"
#include "cuda/launch.h"

// The product that every step makes with the same weights. A block has some units, whose weights it may hold in shared
// memory, and a tile of sequences, whose states pass by in slices; a thread has four sequences and few
// columns of weights, and every so many-th part of the depth.
namespace dd2424::cuda {
namespace {

constexpr int kRnnThreads = 256;
constexpr int kLanes = 16;  // threads that share the sequences of one group
constexpr int kRows = 4;    // sequences of a group
constexpr int kTileRows = kRnnThreads / kLanes * kRows;

template <class T>
struct alignas(16) Pack {
  static constexpr int size = 16 / sizeof(T);
  T x[size];
};
template <class T>
__device__ inline Pack<T> read(const T* x) {
  return *reinterpret_cast<const Pack<T>*>(x);
}

constexpr int kPacks = 8;  // of a slice of the depth
template <class T>
constexpr int kSlice = kPacks * Pack<T>::size;
template <class T>
constexpr int kSliceRow = kSlice<T> + Pack<T>::size;  // apart, for the sake of shared memory's banks

// What lies in shared memory: a slice of the states, and the block's columns of weights, depth side by side, whole
// (`are_resident`) or a slice of them at a time.
template <class T, int columns, int parts>
struct Room {
  bool are_resident;
  Index row;  // from one column to the next: banks again
  __host__ __device__ Room(Index depth, bool are_resident)
      : are_resident(are_resident),
        row(are_resident ? (depth + kSlice<T> - 1) / kSlice<T> * kSlice<T> + Pack<T>::size * (parts == 4 ? 4 : 1)
                         : kSliceRow<T>) {}
  std::size_t bytes() const { return static_cast<std::size_t>(kTileRows * kSliceRow<T> + columns * row) * sizeof(T); }
  __device__ T* states() const { return reinterpret_cast<T*>(asked_shared()); }
  __device__ T* weights() const { return states() + kTileRows * kSliceRow<T>; }
};

template <class T>
__host__ __device__ constexpr Index whole_packs(Index depth) {
  return (depth + Pack<T>::size - 1) / Pack<T>::size * Pack<T>::size;
}

// Columns [0, columns) of the weights from `first` on: element (column, k) is at(column, k). `turned`: neighbours in
// memory are of neighbouring columns. It gives 0 beyond the depth.
template <bool turned, int columns, class T, class At>
__device__ void load_weights(T* to, Index row, Index first, Index count, const At& at) {
  for (Index i = threadIdx.x; i < columns * count; i += kRnnThreads) {
    const Index column = turned ? i % columns : quotient(i, count), k = turned ? i / columns : i - column * count;
    to[column * row + k] = at(column, first + k);
  }
}

// The tile's rows, row(r) being where one lies, or null: zeros.
template <class T, class Row>
__device__ void load_states(T* to, Index first, Index depth, bool vectors, const Row& row) {
  constexpr int size = Pack<T>::size;
  for (int i = static_cast<int>(threadIdx.x); i < kTileRows * kPacks; i += kRnnThreads) {
    const int r = i / kPacks, k = i % kPacks * size;
    const T* from = row(r);
    Pack<T> pack{};
    if (from && vectors && first + k < depth) {
      pack = read(from + first + k);
    } else if (from) {
      for (int e = 0; e < size; ++e)
        if (first + k + e < depth) pack.x[e] = from[first + k + e];
    }
    *reinterpret_cast<Pack<T>*>(to + r * kSliceRow<T> + k) = pack;
  }
}

// sums[i][j] = sum over k of state (group's row i) and weight (column + j * column_step), the same for all `parts`
// neighbouring threads, which share the depth.
template <bool turned, int columns, int parts, int count, class T, class Row, class At>
__device__ void multiply(T (&sums)[kRows][count], const Room<T, columns, parts>& room, Index depth, int column,
                         int column_step, bool vectors, const Row& row, const At& at) {
  constexpr int size = Pack<T>::size;
  T *states = room.states(), *weights = room.weights();
  const int group = static_cast<int>(threadIdx.x) / kLanes, part = static_cast<int>(threadIdx.x) % parts;
  for (Index first = 0; first < depth; first += kSlice<T>) {
    load_states(states, first, depth, vectors, row);
    if (!room.are_resident) load_weights<turned, columns>(weights, room.row, first, Index{kSlice<T>}, at);
    __syncthreads();
    const T* of_thread = weights + (room.are_resident ? first : 0) + column * room.row;
    const int end = depth - first < kSlice<T> ? static_cast<int>(depth - first) : kSlice<T>;
    for (int k = part * size; k < end; k += parts * size) {
      Pack<T> w[count], x[kRows];
#pragma unroll
      for (int j = 0; j < count; ++j) w[j] = read(of_thread + j * column_step * room.row + k);
#pragma unroll
      for (int i = 0; i < kRows; ++i) x[i] = read(states + (group * kRows + i) * kSliceRow<T> + k);
#pragma unroll
      for (int e = 0; e < size; ++e)
#pragma unroll
        for (int i = 0; i < kRows; ++i)
#pragma unroll
          for (int j = 0; j < count; ++j) sums[i][j] = fma(x[i].x[e], w[j].x[e], sums[i][j]);
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
