#pragma once
#include "cuda/attention_scores.h"
#include "cuda/cooperative.h"
#include "cuda/tensor_core.h"

// What attention of float32 for up to 128 features is made of, from compute capability 8.0 on: a block has 128 rows, a
// thread 8 of them, and what it reads of shared memory serves many multiplications. Rows are copied past registers,
// those of the next tile while one is multiplied.
namespace dd2424::cuda {
namespace {

constexpr int kDown = 8;  // rows of a thread
constexpr int kRows = kSide * kDown;

template <int features>
struct Floats {
  static constexpr int row = features + 4;  // 16 bytes more spare banks conflicts
};
using Four = Pack<float, 4>;
__device__ inline Four four_at(const float* x) { return *reinterpret_cast<const Four*>(x); }

// Starts to copy rows of a head, zeros beyond its last row and its last feature.
template <int features, int rows>
__device__ void start_rows(float* to, const float* from, Index stride, Index left, Index has) {
  constexpr int chunks = features / 4, step = kBlock / chunks;
  const int chunk = static_cast<int>(threadIdx.x) % chunks, first = static_cast<int>(threadIdx.x) / chunks;
#pragma unroll
  for (int r = first; r < rows; r += step) {
    const bool is_there = r < left && chunk * 4 < has;
    start_copy(to + r * Floats<features>::row + chunk * 4, is_there ? from + r * stride + chunk * 4 : from, is_there);
  }
  close_copies();
}
// Whether what this thread copied so has an infinity or NaN.
template <int features, int rows>
__device__ bool copied_not_finite(const float* from) {
  constexpr int chunks = features / 4, step = kBlock / chunks;
  const int chunk = static_cast<int>(threadIdx.x) % chunks, first = static_cast<int>(threadIdx.x) / chunks;
  bool found = false;
#pragma unroll 1
  for (int r = first; r < rows; r += step) {
    const Four x = four_at(from + r * Floats<features>::row + chunk * 4);
    for (int e = 0; e < 4; ++e) found |= !(x.x[e] - x.x[e] == 0);
  }
  return found;
}

// scores = left right^T: a thread has rows down() * 8 + i of the left, and across() + 16 j of the right.
template <int features, int columns>
__device__ void score_tile(float (&scores)[kDown][columns], const float* left, const float* right) {
  constexpr int row = Floats<features>::row;
  left += down() * kDown * row, right += across() * row;
#pragma unroll
  for (int i = 0; i < kDown; ++i)
#pragma unroll
    for (int j = 0; j < columns; ++j) scores[i][j] = 0;
#pragma unroll(columns)
  for (int f = 0; f < features; f += 4) {
    Four b[columns];
#pragma unroll
    for (int j = 0; j < columns; ++j) b[j] = four_at(right + j * kSide * row + f);
#pragma unroll
    for (int i = 0; i < kDown; ++i) {
      const Four x = four_at(left + i * row + f);
#pragma unroll
      for (int e = 0; e < 4; ++e)
#pragma unroll
        for (int j = 0; j < columns; ++j) scores[i][j] = fma(x.x[e], b[j].x[e], scores[i][j]);
    }
  }
}

// Where a thread's scores stand in shared memory, for the 16 threads that share its rows: odd ones' in other banks.
__device__ inline int turn() { return down() % 2 * kSide; }
template <int columns>
__device__ inline void keep(float* weights, int i, int j, float x) {
  weights[(down() * kDown + i) * (columns * kSide + 4) + ((across() + j * kSide) ^ turn())] = x;
}

// sums += weights right, for features across() * 4 + 64 c. `careful`: a weight of 0 hides what it meets, be it NaN.
template <int features, int columns, bool careful>
__device__ void add_tile(float (&sums)[kDown][features / 64][4], const float* weights, const float* right) {
  constexpr int depth = columns * kSide, row = depth + 4;
  weights += down() * kDown * row, right += across() * 4;
#pragma unroll(columns)
  for (int p = 0; p < depth; p += 4) {
    Four w[kDown];
#pragma unroll
    for (int i = 0; i < kDown; ++i) w[i] = four_at(weights + i * row + (p ^ turn()));
#pragma unroll
    for (int e = 0; e < 4; ++e)
#pragma unroll
      for (int c = 0; c < features / 64; ++c) {
        const Four v = four_at(right + (p + e) * Floats<features>::row + c * 64);
#pragma unroll
        for (int i = 0; i < kDown; ++i) {
          if (careful && w[i].x[e] == 0) continue;
#pragma unroll
          for (int f = 0; f < 4; ++f) sums[i][c][f] = fma(w[i].x[e], v.x[f], sums[i][c][f]);
        }
      }
  }
}

template <class T>
bool in_fours(const HeadRows<T>& x, Index features) {
  return features <= 128 && ((x.batch | x.head | x.row | features) % 4) == 0 &&
         reinterpret_cast<std::uintptr_t>(x.data) % 16 == 0;
}
inline bool suits_floats(const AttentionSizes& s) {
  return compute_capability() >= 80 && s.queries > kRows / 2 && s.scale > 0 && s.dropout == 0;
}

}  // namespace
}  // namespace dd2424::cuda
