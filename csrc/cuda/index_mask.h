#pragma once
#include "core/index.h"
#include "core/parallel.h"
#include "cuda/index_words.h"
#include "cuda/launch.h"
#include "cuda/sort_block.h"

// The true elements of a mask: a block has a chunk of them, and knows from count_true where its first goes.
namespace dd2424::cuda {
namespace {

constexpr Index kMaskChunk = 1 << 12;

struct MaskPart {
  Index begin, end;
};
__device__ inline MaskPart mask_part(const MaskCount& a, const Chunks& chunks) {
  const Index begin = static_cast<Index>(blockIdx.x) * chunks.size, end = begin + chunks.size;
  return {begin, end < a.n ? end : a.n};
}

// There are few chunks, so their blocks are large, and threads have several elements under way.
constexpr int kMaskThreads = 1024, kMaskWarps = kMaskThreads / kWarp, kMaskRounds = 8;

__global__ void __launch_bounds__(kMaskThreads) count_true_kernel(MaskCount a, Chunks chunks) {
  __shared__ int counts[kMaskWarps];
  const MaskPart part = mask_part(a, chunks);
  int mine = 0;
#pragma unroll 8
  for (Index i = part.begin + threadIdx.x; i < part.end; i += kMaskThreads) mine += a.mask[i];
  for (int bits = 1; bits < kWarp; bits *= 2) mine += __shfl_xor_sync(0xffffffff, mine, bits);
  if (threadIdx.x % kWarp == 0) counts[threadIdx.x / kWarp] = mine;
  __syncthreads();
  if (threadIdx.x != 0) return;
  Index total = 0;
  for (const int count : counts) total += count;
  a.before[blockIdx.x + 1] = total;
}
// By one warp.
__global__ void add_counts_kernel(Index* before, Index chunks) {
  static_assert(kMaxChunks == 2 * kWarp);
  const int lane = static_cast<int>(threadIdx.x), first = 2 * lane + 1;
  const Index one = first <= chunks ? before[first] : 0, other = first < chunks ? before[first + 1] : 0;
  Index total = one + other;
  for (int step = 1; step < kWarp; step *= 2) {
    const Index below = __shfl_up_sync(0xffffffff, total, static_cast<unsigned>(step));
    if (lane >= step) total += below;
  }
  before[first] = total - other;
  before[first + 1] = total;
  if (lane == 0) before[0] = 0;
}
Status count_true(const Context& context, const MaskCount& a) {
  const Chunks chunks = reduction_chunks(a.n, kMaskChunk);
  if (chunks.count > 0) {
    const Status status =
        launch(context, dim3(static_cast<unsigned>(chunks.count)), dim3(kMaskThreads), count_true_kernel, a, chunks);
    if (status != Status::ok) return status;
  }
  return launch(context, dim3(1), dim3(kWarp), add_counts_kernel, a.before, chunks.count);
}

// Calls take(place, i, is_true) of all lanes of a warp together, for the elements of the block's chunk and the place
// that each true one has among all true ones.
template <class Take>
__device__ inline void for_true(const MaskCount& a, const Chunks& chunks, const Take& take) {
  static_assert(kMaskRounds * kMaskWarps == kDigits);
  __shared__ std::uint32_t counts[kDigits], total;  // by round and warp
  const MaskPart part = mask_part(a, chunks);
  const int thread = static_cast<int>(threadIdx.x), warp = thread / kWarp, lane = thread % kWarp;
  Index place = a.before[blockIdx.x];
  for (Index first = part.begin; first < part.end; first += kMaskRounds * kMaskThreads) {
    bool is_true[kMaskRounds];
    unsigned votes[kMaskRounds];
#pragma unroll
    for (int k = 0; k < kMaskRounds; ++k) {
      const Index i = first + k * kMaskThreads + thread;
      is_true[k] = i < part.end && a.mask[i];
    }
#pragma unroll
    for (int k = 0; k < kMaskRounds; ++k) {
      votes[k] = __ballot_sync(0xffffffff, is_true[k]);
      if (lane == 0) counts[k * kMaskWarps + warp] = static_cast<std::uint32_t>(__popc(votes[k]));
    }
    __syncthreads();
    if (warp == 0) {
      const std::uint32_t all = sum_before(counts, lane);
      if (lane == 0) total = all;
    }
    __syncthreads();
#pragma unroll
    for (int k = 0; k < kMaskRounds; ++k)
      take(place + counts[k * kMaskWarps + warp] + __popc(votes[k] & ((1u << lane) - 1)),
           first + k * kMaskThreads + thread, is_true[k]);
    place += total;
    __syncthreads();
  }
}

template <class Cell>
__global__ void __launch_bounds__(kMaskThreads) select_true_kernel(MaskSelect a, Chunks chunks) {
  const Cell* x = static_cast<const Cell*>(a.x);
  Cell* y = static_cast<Cell*>(a.y);
  for_true(a.of, chunks, [&](Index place, Index i, bool is_true) {
    if (is_true) y[place] = x[i];
  });
}
// Rows of several cells: the warp's lanes copy them together, one after the other.
template <class Cell>
__global__ void __launch_bounds__(kMaskThreads) select_true_rows_kernel(MaskSelect a, Chunks chunks, Index cells) {
  const Cell* x = static_cast<const Cell*>(a.x);
  Cell* y = static_cast<Cell*>(a.y);
  for_true(a.of, chunks, [&](Index place, Index i, bool is_true) {
    for (unsigned left = __ballot_sync(0xffffffff, is_true); left != 0; left &= left - 1) {
      const int lane = __ffs(static_cast<int>(left)) - 1;
      const Index to = __shfl_sync(0xffffffff, place, lane), from = __shfl_sync(0xffffffff, i, lane);
      for (Index cell = threadIdx.x % kWarp; cell < cells; cell += kWarp) y[to * cells + cell] = x[from * cells + cell];
    }
  });
}

Status select_true(const Context& context, const MaskSelect& a) {
  const Chunks chunks = reduction_chunks(a.of.n, kMaskChunk);
  const dim3 blocks(static_cast<unsigned>(chunks.count)), threads(kMaskThreads);
  return with_cell(widest(a.bytes, address(a.x), address(a.y)), [&]<class Cell>(Cell) {
    const Index cells = a.bytes / static_cast<Index>(sizeof(Cell));
    if (cells == 1) return launch(context, blocks, threads, select_true_kernel<Cell>, a, chunks);
    return launch(context, blocks, threads, select_true_rows_kernel<Cell>, a, chunks, cells);
  });
}

__global__ void __launch_bounds__(kMaskThreads) find_true_kernel(MaskPlaces a, Chunks chunks) {
  for_true(a.of, chunks, [&](Index place, Index i, bool is_true) {
    if (!is_true) return;
    Index rest = i;
    for (int d = a.ndim - 1; d >= 0; --d) {
      const Index outer = quotient(rest, a.shape[d]);
      a.y[place * a.ndim + d] = rest - outer * a.shape[d];
      rest = outer;
    }
  });
}
Status find_true(const Context& context, const MaskPlaces& a) {
  const Chunks chunks = reduction_chunks(a.of.n, kMaskChunk);
  return launch(context, dim3(static_cast<unsigned>(chunks.count)), dim3(kMaskThreads), find_true_kernel, a, chunks);
}

}  // namespace
}  // namespace dd2424::cuda
