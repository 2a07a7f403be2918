#include "cuda/sort_words.h"

// Rows that are too long for a block go digit by digit, from the lowest: tiles count their digits, a scan says where
// each tile's words of a digit begin, and the tiles put them there in their order.
namespace dd2424::cuda {
namespace {

constexpr int kEach = 8;  // words of a thread
constexpr Index kTile = kThreads * kEach;
static_assert(kDigits == kThreads, "a thread for each digit");

Index tiles_of(Index n) { return n > kInBlock ? (n + kTile - 1) / kTile : 0; }

struct Pass {
  Index n, tiles;
  int shift;
  __device__ int digit(Word word) const { return static_cast<int>(word >> shift) & (kDigits - 1); }
};

// counts[row][tile][digit]
__global__ void __launch_bounds__(kThreads) count_digits_kernel(Pass pass, const Word* words, std::uint32_t* counts) {
  __shared__ unsigned mine[kDigits];
  const Index row = quotient(blockIdx.x, pass.tiles), first = (blockIdx.x - row * pass.tiles) * kTile;
  mine[threadIdx.x] = 0;
  __syncthreads();
  for (int k = 0; k < kEach; ++k) {
    const Index i = first + k * kThreads + threadIdx.x;
    if (i < pass.n) atomicAdd(&mine[pass.digit(words[row * pass.n + i])], 1u);
  }
  __syncthreads();
  counts[static_cast<Index>(blockIdx.x) * kDigits + threadIdx.x] = mine[threadIdx.x];
}

// Each count becomes how many words of the row come before the tile's first of that digit.
__global__ void __launch_bounds__(kThreads) scan_counts_kernel(Index tiles, std::uint32_t* counts) {
  __shared__ std::uint32_t sums[kDigits];
  const int digit = static_cast<int>(threadIdx.x);
  std::uint32_t* const mine = counts + blockIdx.x * tiles * kDigits + digit;
  std::uint32_t total = 0;
#pragma unroll 8
  for (Index tile = 0; tile < tiles; ++tile) total += mine[tile * kDigits];
  sums[digit] = total;
  for (int step = 1; step < kDigits; step *= 2) {
    __syncthreads();
    const std::uint32_t before = digit >= step ? sums[digit - step] : 0;
    __syncthreads();
    sums[digit] += before;
  }
  std::uint32_t so_far = sums[digit] - total;
#pragma unroll 8
  for (Index tile = 0; tile < tiles; ++tile) {
    const std::uint32_t count = mine[tile * kDigits];
    mine[tile * kDigits] = so_far;
    so_far += count;
  }
}

// A warp has kEach times 32 neighbours of the tile. Lanes beyond the row count as the highest digit, after all others.
__global__ void __launch_bounds__(kThreads)
    place_words_kernel(Pass pass, const Word* from, Word* to, const std::uint32_t* counts) {
  constexpr int warps = kThreads / kWarp;
  __shared__ std::uint32_t next[warps][kDigits];
  const int warp = static_cast<int>(threadIdx.x) / kWarp, lane = static_cast<int>(threadIdx.x) % kWarp;
  const Index row = quotient(blockIdx.x, pass.tiles), tile = blockIdx.x - row * pass.tiles;
  const Index first = tile * kTile + warp * (kEach * kWarp) + lane;
  Word words[kEach];
  std::uint32_t ranks[kEach];
#pragma unroll
  for (int k = 0; k < kEach; ++k) {
    const Index i = first + k * kWarp;
    words[k] = i < pass.n ? from[row * pass.n + i] : ~Word(0);
  }
  rank_words(words, pass.shift, lane, next[warp], ranks);
  __syncthreads();
  std::uint32_t at = counts[static_cast<Index>(blockIdx.x) * kDigits + threadIdx.x];
  for (int w = 0; w < warps; ++w) {
    const std::uint32_t count = next[w][threadIdx.x];
    next[w][threadIdx.x] = at;
    at += count;
  }
  __syncthreads();
#pragma unroll
  for (int k = 0; k < kEach; ++k)
    if (first + k * kWarp < pass.n) to[row * pass.n + next[warp][pass.digit(words[k])] + ranks[k]] = words[k];
}

Status sort_by_digit(const Context& context, const Pass& pass, Index rows, const Word* from, Word* to,
                     std::uint32_t* counts) {
  const dim3 blocks(static_cast<unsigned>(rows * pass.tiles)), threads(kThreads);
  Status status = launch(context, blocks, threads, count_digits_kernel, pass, from, counts);
  if (status == Status::ok)
    status = launch(context, dim3(static_cast<unsigned>(rows)), threads, scan_counts_kernel, pass.tiles, counts);
  if (status != Status::ok) return status;
  return launch(context, blocks, threads, place_words_kernel, pass, from, to,
                static_cast<const std::uint32_t*>(counts));
}

}  // namespace

std::size_t sort_counts_bytes(Index rows, Index n) {
  return static_cast<std::size_t>(rows * tiles_of(n)) * kDigits * sizeof(std::uint32_t);
}

Status sort_words(const Context& context, Word*& words, Word*& spare, std::uint32_t* counts, Index rows, Index n,
                  int bits) {
  for (int bit = 0; bit < bits; bit += kDigitBits) {
    const Status status = sort_by_digit(context, {n, tiles_of(n), kKeyBits + bit}, rows, words, spare, counts);
    if (status != Status::ok) return status;
    Word* const done = spare;
    spare = words;
    words = done;
  }
  return Status::ok;
}

}  // namespace dd2424::cuda
