#pragma once
#include "cuda/sort_words.h"

// The first few of a long row, without an order of the others: digit by digit, from the highest, it is found what key
// the last of them has.
namespace dd2424::cuda {
namespace {

constexpr int kSelectThreads = 512, kSelectBits = 8, kSelectDigits = 1 << kSelectBits;

struct Bound {  // of the keys that are taken: all below `key`, and so many of those that equal it
  Word key;
  std::uint32_t equals;
};

// One block finds it for `count` of n keys; all threads get it.
template <class Keys>
__device__ inline Bound bound_of(const Keys& keys, Index row, Index n, std::uint32_t count, int bits) {
  __shared__ unsigned counts[kSelectDigits], sums[kSelectDigits];
  __shared__ unsigned found, left;
  const int thread = static_cast<int>(threadIdx.x);
  Bound bound{0, count};
  Word known = 0;  // bits of the bound
  for (int shift = bits - kSelectBits; shift >= 0; shift -= kSelectBits) {
    if (thread < kSelectDigits) counts[thread] = 0;
    __syncthreads();
    for (Index i = thread; i < n; i += kSelectThreads) {
      const Word key = keys(row, i);
      if ((key & known) == bound.key) atomicAdd(&counts[key >> shift & (kSelectDigits - 1)], 1u);
    }
    __syncthreads();
    if (thread < kSelectDigits) sums[thread] = counts[thread];
    for (int step = 1; step < kSelectDigits; step *= 2) {
      __syncthreads();
      const unsigned before = thread < kSelectDigits && thread >= step ? sums[thread - step] : 0;
      __syncthreads();
      if (thread < kSelectDigits) sums[thread] += before;
    }
    __syncthreads();
    if (thread < kSelectDigits) {
      const unsigned before = sums[thread] - counts[thread];
      if (before < bound.equals && bound.equals <= sums[thread])
        found = static_cast<unsigned>(thread), left = bound.equals - before;
    }
    __syncthreads();
    bound = {bound.key | static_cast<Word>(found) << shift, left};
    known |= static_cast<Word>(kSelectDigits - 1) << shift;
  }
  return bound;
}

// chosen[row][...]: the places of the first `count`, in their order along the row but for those that equal the last.
template <class Keys>
__global__ void __launch_bounds__(kSelectThreads)
    select_first_kernel(Keys keys, Index n, std::uint32_t count, int bits, std::uint32_t* chosen) {
  constexpr int warps = kSelectThreads / kWarp;
  __shared__ unsigned below[warps], equal[warps];
  const Index row = blockIdx.x;
  const Bound bound = bound_of(keys, row, n, count, bits);
  const int warp = static_cast<int>(threadIdx.x) / kWarp, lane = static_cast<int>(threadIdx.x) % kWarp;
  const unsigned lanes_before = (1u << lane) - 1;
  std::uint32_t* const to = chosen + row * count;
  unsigned next_below = 0, next_equal = count - bound.equals;
  for (Index first = 0; first < n; first += kSelectThreads) {
    const Index i = first + threadIdx.x;
    const Word key = i < n ? keys(row, i) : 0;
    const bool is_below = i < n && key < bound.key, is_equal = i < n && key == bound.key;
    const unsigned votes_below = __ballot_sync(0xffffffff, is_below), votes_equal = __ballot_sync(0xffffffff, is_equal);
    if (lane == 0) {
      below[warp] = static_cast<unsigned>(__popc(votes_below));
      equal[warp] = static_cast<unsigned>(__popc(votes_equal));
    }
    __syncthreads();
    unsigned at_below = next_below + static_cast<unsigned>(__popc(votes_below & lanes_before));
    unsigned at_equal = next_equal + static_cast<unsigned>(__popc(votes_equal & lanes_before));
    for (int w = 0; w < warps; ++w) {
      at_below += w < warp ? below[w] : 0, at_equal += w < warp ? equal[w] : 0;
      next_below += below[w], next_equal += equal[w];
    }
    if (is_below) to[at_below] = static_cast<std::uint32_t>(i);
    if (is_equal && at_equal < count) to[at_equal] = static_cast<std::uint32_t>(i);
    __syncthreads();
  }
}

template <class Keys>
struct ChosenKeys {
  Keys keys;
  const std::uint32_t* chosen;
  Index count;
  __device__ Word operator()(Index row, Index i) const { return keys(row, chosen[row * count + i]); }
};

}  // namespace
}  // namespace dd2424::cuda
