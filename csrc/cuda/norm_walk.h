#pragma once
#include <type_traits>

#include "core/norm.h"
#include "cuda/launch.h"
#include "cuda/pack.h"
#include "cuda/value.h"

// How norms walk (items, outer, channels, inner), whose sums are over outer and inner. Where inner is 1, a thread has W
// neighbouring channels and goes down rows; otherwise a block has a channel and goes along its planes. How a sum is cut
// is read off the sizes, so that it has the same bits on every GPU and at every address.
namespace dd2424::cuda {
namespace {

constexpr Index kWantedBlocks = 528;    // of sums: 4 to a processor of an H100, of which 2 run at once
constexpr Index kMapBlocks = 16384;     // of a pass over all elements
constexpr Index kChunkElements = 8192;  // of a sum, at least: 8 packs a thread

constexpr Index ceil_divide(Index a, Index b) { return (a + b - 1) / b; }
constexpr Index at_most(Index a, Index b) { return a < b ? a : b; }
constexpr Index at_least(Index a, Index b) { return a > b ? a : b; }
constexpr int power_of_two(Index n, int most) {  // the first that is at least n
  int power = 1;
  while (power < n && power < most) power *= 2;
  return power;
}
inline unsigned grid_size(Index n) { return static_cast<unsigned>(n); }

struct Extent {
  Index items, outer, channels, inner;
  __host__ __device__ bool in_columns() const { return inner == 1; }
  __host__ __device__ Index count() const { return outer * inner; }
  Index chunks() const {  // of a sum, at most
    const Index blocks = items * (in_columns() ? ceil_divide(channels, 4 * kWarp) : channels);
    const Index wanted = count() * (in_columns() ? at_most(channels, 4 * kWarp) : 1) / kChunkElements;
    return at_least(at_most(wanted, kWantedBlocks / at_least(blocks, 1)), 1);
  }
};

// Calls f(integral_constant<int, W>, bool_constant<in columns>).
template <class T, class F>
Status with_layout(const Extent& at, const F& f) {
  using Even = std::integral_constant<int, kPack<T>>;
  using One = std::integral_constant<int, 1>;
  if (at.in_columns()) return at.channels % kPack<T> == 0 ? f(Even(), std::true_type()) : f(One(), std::true_type());
  return at.inner % kPack<T> == 0 ? f(Even(), std::false_type()) : f(One(), std::false_type());
}

struct Cut {
  int across;  // threads side by side, W channels each
  Index tiles, chunks;
};
template <int W>
Cut cut_of(const Extent& at) {
  if (!at.in_columns()) return {1, at.channels, at.chunks()};
  const int across = power_of_two(at.channels / W, kWarp);
  return {across, ceil_divide(at.channels, across * W), at.chunks()};
}
inline dim3 grid_of(const Extent& at, const Cut& cut) {
  return dim3(grid_size(at.items * cut.tiles), grid_size(cut.chunks));
}

// What a thread sums: `left` packs, found one after the other. The chunks of a sum take turns, so that all blocks
// together walk through memory once: what they read last is what a pass in the other direction finds in the cache.
template <int W, bool columns>
struct Share {
  Index item, tile, channel;  // the first channels of the block and of the thread
  Index left = 0;
  __device__ Share(const Extent& at, const Cut& cut) {
    item = quotient(blockIdx.x, cut.tiles);
    tile = blockIdx.x - item * cut.tiles;
    const int thread = static_cast<int>(threadIdx.x);
    if constexpr (columns) {
      const int rows = kThreads / cut.across, row = thread / cut.across;
      tile *= cut.across * W;
      channel = tile + (thread - row * cut.across) * W;
      const Index first = static_cast<Index>(blockIdx.y) * rows + row, turn = cut.chunks * rows;
      if (channel < at.channels && first < at.outer) left = quotient(at.outer - first + turn - 1, turn);
      place_ = (item * at.outer + first) * at.channels + channel;
      step_ = turn * at.channels;
    } else {
      channel = tile;
      packs_ = quotient(at.inner, W);
      const Index total = at.outer * packs_, first = static_cast<Index>(blockIdx.y) * kThreads + thread;
      const Index turn = cut.chunks * kThreads;
      if (first < total) left = quotient(total - first + turn - 1, turn);
      const Index row = quotient(first, packs_), rows = quotient(turn, packs_);
      within_ = first - row * packs_;
      step_within_ = turn - rows * packs_;
      place_ = ((item * at.outer + row) * at.channels + channel) * at.inner + within_ * W;
      step_ = rows * at.channels * at.inner + step_within_ * W;
      carry_ = (at.channels - 1) * at.inner;
    }
  }
  __device__ Index next() {
    const Index here = place_;
    --left;
    place_ += step_;
    if constexpr (!columns) {
      within_ += step_within_;
      if (within_ >= packs_) within_ -= packs_, place_ += carry_;
    }
    return here;
  }

 private:
  Index place_, step_, packs_ = 0, within_ = 0, step_within_ = 0, carry_ = 0;
};

// What the lane `step` further on in a warp has; a State is a few doubles.
template <class State>
__device__ inline State shuffled_down(const State& mine, int step) {
  constexpr int kWords = sizeof(State) / sizeof(double);
  double words[kWords];
  __builtin_memcpy(words, &mine, sizeof mine);
#pragma unroll
  for (int i = 0; i < kWords; ++i) words[i] = __shfl_down_sync(0xffffffff, words[i], static_cast<unsigned>(step));
  State other;
  __builtin_memcpy(&other, words, sizeof other);
  return other;
}
// Joins the states of a block's threads that are a multiple of `across`, at most a warp, apart, by their `joined`; the
// first `across` have the results.
template <class State>
__device__ State merged_down(State mine, int across) {
  __shared__ State states[kThreads];
  const int thread = static_cast<int>(threadIdx.x);
  __syncthreads();  // of the call before
  states[thread] = mine;
  __syncthreads();
  if (thread >= kWarp) return mine;
  for (int other = thread + kWarp; other < kThreads; other += kWarp) mine = joined(mine, states[other]);
  for (int step = kWarp / 2; step >= across; step /= 2) mine = joined(mine, shuffled_down(mine, step));
  return mine;
}

// Joins what a block's threads have of S neighbouring channels each, `across` of them side by side, and calls
// f(number of the channel, its state).
template <int S, class State, class F>
__device__ void for_joined(State (&mine)[S], int across, const F& f) {
  constexpr int kWarps = kThreads / kWarp, kWide = S > 1 ? kWarp * S : kWarp;
  __shared__ State states[kWarps][kWide];
  const int thread = static_cast<int>(threadIdx.x), lane = thread % kWarp;
#pragma unroll
  for (int s = 0; s < S; ++s) {
    for (int step = kWarp / 2; step >= across; step /= 2) mine[s] = joined(mine[s], shuffled_down(mine[s], step));
    if (lane < across) states[thread / kWarp][lane * S + s] = mine[s];
  }
  __syncthreads();
  if (thread >= across * S) return;
  State all = states[0][thread];
#pragma unroll
  for (int warp = 1; warp < kWarps; ++warp) all = joined(all, states[warp][thread]);
  f(thread, all);
}

// A pass over all elements, the last ones first. f.of(item, channel) is what it needs to know of a channel,
// f.apply<W>(place, known) does the W elements at `place`, where `known` has that of their one channel, or of each of
// their channels.
struct MapCut {
  int across;  // columns: threads side by side; planes: threads that share one
  Index tiles;
};
template <int W, bool columns, class F>
__global__ void map_kernel(F f, Extent at, MapCut cut) {
  const int thread = static_cast<int>(threadIdx.x), others = kThreads / cut.across, other = thread / cut.across;
  const int mine = thread - other * cut.across;
  if constexpr (columns) {
    const Index item = quotient(blockIdx.x, cut.tiles);
    const Index channel = ((blockIdx.x - item * cut.tiles) * cut.across + mine) * W;
    if (channel >= at.channels) return;
    typename F::Known known[W];
#pragma unroll
    for (int w = 0; w < W; ++w) known[w] = f.of(item, channel + w);
    for (Index row = at.outer - 1 - static_cast<Index>(blockIdx.y) * others - other; row >= 0;
         row -= static_cast<Index>(gridDim.y) * others)
      f.template apply<W>((item * at.outer + row) * at.channels + channel, known);
  } else {
    const Index plane = at.items * at.outer * at.channels - 1 - static_cast<Index>(blockIdx.x) * others - other;
    if (plane < 0) return;
    const Index row = quotient(plane, at.channels);
    const typename F::Known known[1] = {f.of(quotient(row, at.outer), plane - row * at.channels)};
    for (Index i = (static_cast<Index>(blockIdx.y) * cut.across + mine) * W; i < at.inner;
         i += static_cast<Index>(gridDim.y) * cut.across * W)
      f.template apply<W>(plane * at.inner + i, known);
  }
}
template <class T, class F>
Status map_channels(const Context& context, const Extent& at, const F& f) {
  return with_layout<T>(at, [&]<int W, bool columns>(std::integral_constant<int, W>, std::bool_constant<columns>) {
    const int across = columns ? power_of_two(at.channels / W, kWarp) : power_of_two(at.inner / W, kThreads);
    const Index tiles = ceil_divide(at.channels, across * W), others = kThreads / across;
    const Index blocks = columns ? at.items * tiles : ceil_divide(at.items * at.outer * at.channels, others);
    const Index length = columns ? ceil_divide(at.outer, others * 4) : ceil_divide(at.inner, across * W * 4);
    const Index most = at_least(kMapBlocks / at_least(blocks, 1), 1);
    const dim3 grid(grid_size(blocks), grid_size(at_most(at_most(length, most), 65535)));
    return launch(context, grid, dim3(kThreads), map_kernel<W, columns, F>, f, at, MapCut{across, tiles});
  });
}

}  // namespace
}  // namespace dd2424::cuda
