#pragma once
#include "cuda/attention_scores.h"
#include "cuda/cooperative.h"
#include "cuda/tensor_core.h"

// What attention of the short types on tensor cores is made of, forward and backward. Rows of a head lie in shared
// memory, a warp has 16 or 32 rows of scores in registers, and weights go from the registers that the scores were
// summed in straight into the next product: where a warp finds its sums is where it must have what it multiplies, two
// by two. Source: Dao, "FlashAttention-2", arXiv:2307.08691; PTX ISA, "Matrix Fragments for mma.m16n8k16".
namespace dd2424::cuda {
namespace {

constexpr int kTensorRows = 64;         // of a tile that a block walks along
constexpr Index kTensorFeatures = 128;  // at most
constexpr unsigned kWholeWarp = 0xffffffff;

__device__ inline int warp() { return static_cast<int>(threadIdx.x) / kWarp; }
__device__ inline int lane() { return static_cast<int>(threadIdx.x) % kWarp; }

// Which columns rows see: keys of queries or, where keys lead, queries of keys. Both ends grow with the row, so that
// rows from `first` to `last` see none outside span_of(first, last), and each sees all of span_of(last, first).
struct Span {
  int begin, end;
  __device__ bool has(int from, int count) const { return from >= begin && from + count <= end; }
  __device__ bool meets(int from, int count) const { return from < end && from + count > begin; }
};
template <bool keys_lead>
__device__ inline Span span_of(const AttentionSizes& s, Index first, Index last) {
  return {static_cast<int>((keys_lead ? that_see(s, first) : seen_by(s, first)).begin),
          static_cast<int>((keys_lead ? that_see(s, last) : seen_by(s, last)).end)};
}

// 2^x to two roundings of float32; below 2^-126 it is 0.
__device__ inline float power_of_two(float x) {
#if defined(__CUDA_ARCH__)
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
#else
  return exp2f(x);
#endif
}

// Rows in shared memory, `features` of each; chunks of 16 bytes change places within a row so that eight rows, read at
// the same place in each, lie in different banks.
template <int features>
struct Lines {
  static constexpr int chunks = features / 8, row_bytes = features * 2;
  static_assert(chunks % 8 == 0);
  __device__ static int place(int row, int chunk) { return row * row_bytes + (chunk ^ (row & 7)) * 16; }
  // Where this lane's line of a fragment begins, of 16 rows from `row` on and their first 16 features; with k * 32, by
  // exclusive or, k fragments further on. First the eight rows below it, or the eight features beside it: a right
  // operand's two registers must be neighbours.
  __device__ static int below(int row) { return place(row + lane() % 16, lane() / 16); }
  __device__ static int beside(int row) { return place(row + lane() / 16 * 8 + lane() % 8, lane() / 8 % 2); }
};

// Starts to copy rows of a head, zeros beyond its last row and its last feature.
template <int features, int rows, int threads, class T>
__device__ void start_rows(std::byte* to, const T* from, Index stride, Index left, Index has) {
  using L = Lines<features>;
  constexpr int step = threads / L::chunks;
  const int chunk = static_cast<int>(threadIdx.x) % L::chunks, first = static_cast<int>(threadIdx.x) / L::chunks;
  const int end = chunk * 8 >= has ? 0 : left < rows ? static_cast<int>(left) : rows;
  const T* at = from + first * stride + chunk * 8;
#pragma unroll
  for (int i = 0; i < rows / step; ++i, at += step * stride)
    start_copy(to + L::place(first + i * step, chunk), at, first + i * step < end);
}
template <class T>
__device__ bool is_finite(std::uint32_t x) {
  return (x & kExponentBits<T>) != kExponentBits<T>;
}
// Whether what this thread copied so has an infinity or NaN.
template <class T, int features, int rows, int threads>
__device__ bool copied_not_finite(const std::byte* from) {
  using L = Lines<features>;
  constexpr int step = threads / L::chunks;
  const int chunk = static_cast<int>(threadIdx.x) % L::chunks, first = static_cast<int>(threadIdx.x) / L::chunks;
  bool found = false;
#pragma unroll 1
  for (int i = 0; i < rows / step; ++i) {
    const auto* two = reinterpret_cast<const std::uint32_t*>(from + L::place(first + i * step, chunk));
    for (int w = 0; w < 4; ++w) found |= !is_finite<T>(two[w]) || !is_finite<T>(two[w] >> 16);
  }
  return found;
}

// sums = left right^T: `down` times 16 rows of the left from `row` on, all of the right ones.
template <class T, int features, int down, int across>
__device__ void multiply_rows(float (&sums)[down][across][4], const std::byte* left, int row, const std::byte* right) {
  using L = Lines<features>;
  const int left_start = L::below(row), right_start = L::beside(0);
#pragma unroll
  for (int m = 0; m < down; ++m)
#pragma unroll
    for (int n = 0; n < across; ++n)
#pragma unroll
      for (int e = 0; e < 4; ++e) sums[m][n][e] = 0;
#pragma unroll
  for (int k = 0; k < features / 16; ++k) {
    std::uint32_t a[down][4];
#pragma unroll
    for (int m = 0; m < down; ++m) load_matrices<false>(a[m], left + (left_start ^ k * 32) + m * 16 * L::row_bytes);
#pragma unroll
    for (int n = 0; n < across; n += 2) {
      std::uint32_t b[4];
      load_matrices<false>(b, right + (right_start ^ k * 32) + n * 8 * L::row_bytes);
#pragma unroll
      for (int m = 0; m < down; ++m)
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          float (&c)[4] = sums[m][n + i];
          multiply_add<T>(c[0], c[1], c[2], c[3], a[m], b[2 * i], b[2 * i + 1]);
        }
    }
  }
}

// Sums of a warp, rounded, as what it multiplies next.
template <class T, int down, int across>
struct Weights {
  std::uint32_t at[down][across / 2][4];
  __device__ explicit Weights(const float (&sums)[down][across][4]) {
#pragma unroll
    for (int m = 0; m < down; ++m)
#pragma unroll
      for (int n = 0; n < across; ++n) {
        at[m][n / 2][n % 2 * 2] = two_of<T>(sums[m][n][0], sums[m][n][1]);
        at[m][n / 2][n % 2 * 2 + 1] = two_of<T>(sums[m][n][2], sums[m][n][3]);
      }
  }
};

// sums += weights right.
template <int features, class T, int down, int across>
__device__ void add_rows(float (&sums)[down][features / 8][4], const Weights<T, down, across>& weights,
                         const std::byte* right) {
  using L = Lines<features>;
  const int start = L::below(0);
#pragma unroll
  for (int k = 0; k < across / 2; ++k)
#pragma unroll
    for (int n = 0; n < features / 8; n += 2) {
      std::uint32_t b[4];
      load_matrices<true>(b, right + (start ^ n * 16) + k * 16 * L::row_bytes);
#pragma unroll
      for (int m = 0; m < down; ++m)
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          float (&c)[4] = sums[m][n + i];
          multiply_add<T>(c[0], c[1], c[2], c[3], weights.at[m][k], b[2 * i], b[2 * i + 1]);
        }
    }
}

// The same where a weight of 0 hides what it meets, be it NaN: what is not finite is summed apart, as numbers that tell
// how often a weight met which.
__device__ inline std::uint32_t each_of_two(std::uint32_t two, std::uint32_t (*f)(std::uint32_t)) {
  return f(two & 0xffff) | f(two >> 16) << 16;
}
template <class T>
__device__ std::uint32_t finite_or_zero(std::uint32_t x) {
  return is_finite<T>(x) ? x : 0;
}
template <class T>
__device__ std::uint32_t one_unless_zero(std::uint32_t x) {
  return (x & 0x7fff) == 0 ? 0 : bits_of_power<T>(0);
}
template <class T>
__device__ std::uint32_t told_apart(std::uint32_t x) {  // 1 for infinity, 2^7 for -infinity, 2^14 for NaN
  const bool is_nan = (x & 0x7fff) > kExponentBits<T>;
  return is_finite<T>(x) ? 0 : bits_of_power<T>(is_nan ? 14 : x < 0x8000 ? 0 : 7);
}
__device__ inline float sum_of_told(float told) {
  const int met = static_cast<int>(told);
  const bool up = (met & 0x7f) != 0, down = (met & 0x3f80) != 0;
  return met >= 0x4000 || (up && down) ? NAN : up ? HUGE_VALF : down ? -HUGE_VALF : 0.f;
}
template <int features, class T, int down, int across>
__device__ void add_rows_unhidden(float (&sums)[down][features / 8][4], const Weights<T, down, across>& weights,
                                  const std::byte* right) {
  using L = Lines<features>;
  static_assert(across * 8 < 1 << 7);  // keys, which are counted
  const int start = L::below(0);
#pragma unroll
  for (int n = 0; n < features / 8; n += 2) {
    float told[down][2][4] = {};
#pragma unroll 1
    for (int k = 0; k < across / 2; ++k) {
      std::uint32_t b[4], a[4];
      load_matrices<true>(b, right + (start ^ n * 16) + k * 16 * L::row_bytes);
#pragma unroll
      for (int m = 0; m < down; ++m)
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          const std::uint32_t b0 = b[2 * i], b1 = b[2 * i + 1];
          float (&c)[4] = sums[m][n + i], (&t)[4] = told[m][i];
          std::uint32_t chosen[4] = {};  // weights lie in registers, which have no places to count
#pragma unroll
          for (int j = 0; j < across / 2; ++j)
#pragma unroll
            for (int e = 0; e < 4; ++e)
              if (j == k) chosen[e] = weights.at[m][j][e], a[e] = each_of_two(chosen[e], one_unless_zero<T>);
          multiply_add<T>(c[0], c[1], c[2], c[3], chosen, each_of_two(b0, finite_or_zero<T>),
                          each_of_two(b1, finite_or_zero<T>));
          multiply_add<T>(t[0], t[1], t[2], t[3], a, each_of_two(b0, told_apart<T>), each_of_two(b1, told_apart<T>));
        }
    }
#pragma unroll
    for (int m = 0; m < down; ++m)
#pragma unroll
      for (int i = 0; i < 2; ++i)
#pragma unroll
        for (int e = 0; e < 4; ++e)
          if (told[m][i][e] != 0) sums[m][n + i][e] += sum_of_told(told[m][i][e]);
  }
}

// Writes a warp's sums, scaled row by row, through its own rows of shared memory, so that memory gets whole chunks.
template <int features, class T, int down>
__device__ void store_rows(std::byte* own, int row, const HeadRows<T>& y, Index b, Index h, Index first, Index rows,
                           Index has, const float (&sums)[down][features / 8][4], const float (&scales)[down][2]) {
  using L = Lines<features>;
#pragma unroll
  for (int m = 0; m < down; ++m)
#pragma unroll
    for (int n = 0; n < features / 8; ++n)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const float scale = scales[m][half];
        *reinterpret_cast<std::uint32_t*>(own + L::place(row + m * 16 + half * 8 + lane() / 4, n) + lane() % 4 * 4) =
            two_of<T>(sums[m][n][2 * half] * scale, sums[m][n][2 * half + 1] * scale);
      }
  __syncwarp();
  const int chunk = lane() % L::chunks;
#pragma unroll
  for (int r = row + lane() / L::chunks; r < row + down * 16; r += kWarp / L::chunks)
    if (first + r < rows && chunk * 8 < has)
      *reinterpret_cast<float4*>(row_at(y, b, h, first + r) + chunk * 8) =
          *reinterpret_cast<const float4*>(own + L::place(r, chunk));
}

// Over the four lanes that share a row of a warp's sums.
__device__ inline float largest_of_four(float x) {
  x = fmaxf(x, __shfl_xor_sync(kWholeWarp, x, 1));
  return fmaxf(x, __shfl_xor_sync(kWholeWarp, x, 2));
}
__device__ inline float sum_of_four(float x) {
  x += __shfl_xor_sync(kWholeWarp, x, 1);
  return x + __shfl_xor_sync(kWholeWarp, x, 2);
}

}  // namespace
}  // namespace dd2424::cuda
