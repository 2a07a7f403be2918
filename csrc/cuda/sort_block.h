#pragma once
#include "cuda/cooperative.h"
#include "cuda/launch.h"

// Rows that a block sorts within itself, from where keys(row, i) has them to where give(row, i, word) puts the i-th:
// short ones by a network, others digit by digit, from the lowest.
namespace dd2424::cuda {

// Words, numbers of 64 bits: a key above, its place in the row below. They are ordered by their keys, equal ones by
// their places; that order is unique, so nothing about the way to it shows.
using Word = std::uint64_t;
constexpr int kKeyBits = 32;
constexpr __host__ __device__ Index place_of_word(Word word) { return static_cast<Index>(word & 0xffffffff); }

constexpr int kDigitBits = 8, kDigits = 1 << kDigitBits;

namespace {

constexpr int kNetwork = 512;                         // words of a row that a network sorts
constexpr int kSortThreads = 512, kSortEach = 8;      // words of a thread
constexpr Index kInBlock = kSortThreads * kSortEach;  // words of a row that a block sorts

// The lanes of the warp that have the same digit.
__device__ inline unsigned lanes_alike(int digit) {
  unsigned alike = 0xffffffff;
#pragma unroll
  for (int bit = 0; bit < kDigitBits; ++bit) {
    const unsigned set = __ballot_sync(0xffffffff, digit >> bit & 1);
    alike &= digit >> bit & 1 ? set : ~set;
  }
  return alike;
}
// The rank of each word of a warp among those of its digit, in the order in which lanes have them, k after k; `counts`,
// the warp's own, become how many there are.
template <int each>
__device__ inline void rank_words(const Word (&words)[each], int shift, int lane, std::uint32_t* counts,
                                  std::uint32_t (&ranks)[each]) {
  for (int d = lane; d < kDigits; d += kWarp) counts[d] = 0;
  __syncwarp();
#pragma unroll
  for (int k = 0; k < each; ++k) {
    const int digit = static_cast<int>(words[k] >> shift) & (kDigits - 1);
    const unsigned alike = lanes_alike(digit), before = alike & ((1u << lane) - 1);
    const std::uint32_t seen = counts[digit];
    ranks[k] = seen + static_cast<std::uint32_t>(__popc(before));
    __syncwarp();
    if (before == 0) counts[digit] = seen + static_cast<std::uint32_t>(__popc(alike));
    __syncwarp();
  }
}
// Each of kDigits sums becomes that of those before it; returns that of all. By one warp.
__device__ inline std::uint32_t sum_before(std::uint32_t* sums, int lane) {
  constexpr int each = kDigits / kWarp;
  std::uint32_t mine[each], total = 0;
#pragma unroll
  for (int i = 0; i < each; ++i) {
    mine[i] = total;
    total += sums[lane * each + i];
  }
  std::uint32_t before = total;
  for (int step = 1; step < kWarp; step *= 2) {
    const std::uint32_t below = __shfl_up_sync(0xffffffff, before, static_cast<unsigned>(step));
    if (lane >= step) before += below;
  }
#pragma unroll
  for (int i = 0; i < each; ++i) sums[lane * each + i] = before - total + mine[i];
  return __shfl_sync(0xffffffff, before, kWarp - 1);
}

template <class Keys, class Give>
__global__ void __launch_bounds__(kSortThreads, 2) sort_digits_kernel(Keys keys, Give give, Index n, int bits) {
  __shared__ std::uint32_t sums[kDigits];
  const int threads = static_cast<int>(blockDim.x), thread = static_cast<int>(threadIdx.x);
  const int warps = threads / kWarp, warp = thread / kWarp, lane = thread % kWarp;
  const int first = warp * (kSortEach * kWarp) + lane;
  Word* const sorted = reinterpret_cast<Word*>(asked_shared());                       // (threads * kSortEach)
  auto* const next = reinterpret_cast<std::uint32_t*>(sorted + threads * kSortEach);  // (warps, kDigits)
  const Index row = blockIdx.x;
  Word words[kSortEach];
#pragma unroll
  for (int k = 0; k < kSortEach; ++k) {  // what stands beyond the row is the largest word
    const Index i = first + k * kWarp;
    words[k] = i < n ? keys(row, i) << kKeyBits | static_cast<Word>(i) : ~Word(0);
  }
  for (int bit = 0; bit < bits; bit += kDigitBits) {
    const int shift = kKeyBits + bit;
    std::uint32_t ranks[kSortEach];
    rank_words(words, shift, lane, next + warp * kDigits, ranks);
    __syncthreads();
    for (int digit = thread; digit < kDigits; digit += threads) {
      std::uint32_t so_far = 0;
#pragma unroll 4
      for (int w = 0; w < warps; ++w) {
        const std::uint32_t count = next[w * kDigits + digit];
        next[w * kDigits + digit] = so_far;
        so_far += count;
      }
      sums[digit] = so_far;
    }
    __syncthreads();
    if (warp == 0) sum_before(sums, lane);
    __syncthreads();
#pragma unroll
    for (int k = 0; k < kSortEach; ++k) {
      const int digit = static_cast<int>(words[k] >> shift) & (kDigits - 1);
      sorted[sums[digit] + next[warp * kDigits + digit] + ranks[k]] = words[k];
    }
    __syncthreads();
    if (bit + kDigitBits < bits)
#pragma unroll
      for (int k = 0; k < kSortEach; ++k) words[k] = sorted[first + k * kWarp];
  }
  for (int i = thread; i < n; i += threads) give(row, i, sorted[i]);
}

// Batcher's bitonic network: what stands beyond the row is the largest word.
template <class Keys, class Give>
__global__ void __launch_bounds__(kThreads) sort_network_kernel(Keys keys, Give give, int n, int padded) {
  __shared__ Word w[kNetwork];
  const Index row = blockIdx.x;
  const int thread = static_cast<int>(threadIdx.x), threads = static_cast<int>(blockDim.x);
  for (int i = thread; i < padded; i += threads)
    w[i] = i < n ? keys(row, i) << kKeyBits | static_cast<Word>(i) : ~Word(0);
  for (int size = 2; size <= padded; size *= 2)
    for (int step = size / 2; step > 0; step /= 2) {
      __syncthreads();
      for (int pair = thread; pair < padded / 2; pair += threads) {
        const int i = 2 * pair - (pair & (step - 1)), j = i + step;
        const Word low = w[i] < w[j] ? w[i] : w[j], high = w[i] < w[j] ? w[j] : w[i];
        const bool rises = (i & size) == 0;
        w[i] = rises ? low : high;
        w[j] = rises ? high : low;
      }
    }
  __syncthreads();
  for (int i = thread; i < n; i += threads) give(row, i, w[i]);
}

// Of keys that are numbers of `bits` bits, or their lowest 32; n <= kInBlock.
template <class Keys, class Give>
Status sort_in_blocks(const Context& context, const Keys& keys, const Give& give, Index rows, Index n, int bits) {
  const dim3 blocks(static_cast<unsigned>(rows));
  if (n <= kNetwork) {
    int padded = 2;
    while (padded < n) padded *= 2;
    const int threads = padded / 2 < kWarp ? kWarp : padded / 2;
    return launch(context, blocks, dim3(static_cast<unsigned>(threads)), sort_network_kernel<Keys, Give>, keys, give,
                  static_cast<int>(n), padded);
  }
  int threads = kSortThreads;
  while (threads / 2 * kSortEach >= n) threads /= 2;
  const int digits = bits < kKeyBits ? bits > 0 ? bits : 1 : kKeyBits;
  const std::size_t bytes = static_cast<std::size_t>(threads) * kSortEach * sizeof(Word) +
                            static_cast<std::size_t>(threads / kWarp) * kDigits * sizeof(std::uint32_t);
  return launch_asking(context, blocks, dim3(static_cast<unsigned>(threads)), bytes, false,
                       sort_digits_kernel<Keys, Give>, keys, give, n, digits);
}

struct GiveWords {
  Word* words;
  Index n;
  __device__ void operator()(Index row, Index i, Word word) const { words[row * n + i] = word; }
};

}  // namespace
}  // namespace dd2424::cuda
