#pragma once
#include <cstring>

#include "core/reduce.h"
#include "cuda/launch.h"
#include "cuda/pack.h"

// Every reduction is one walk. An output's terms are cut into chunks, and a chunk is shared by some threads of a block,
// whose states are merged in a tree; a second walk merges the chunks. Where an output's terms are neighbours a thread
// has packs of them; where the outputs are, a thread has a pack of outputs. How it is cut is read off the sizes, and
// what a thread takes does not depend on whether one load may read it, so that sums have the same bits on every GPU.
namespace dd2424::cuda {
namespace {

constexpr int kFoldMost = 1024;   // threads that share an output's terms
constexpr int kFoldLoads = 4;     // of a thread, under way at once
constexpr int kFoldLong = 16;     // packs of a thread before there are more threads, where merging states is much work
constexpr Index kFoldBusy = 512;  // blocks: the GPU has enough to do
constexpr Index kMostChunks = 1024;
constexpr Index kStateBytes = 24;
template <class T>
constexpr int kFoldWidth = sizeof(T) == 8   ? 2
                           : sizeof(T) == 4 ? 4
                                            : 8;

struct Cut {
  bool across;         // a thread has neighbouring outputs
  int lanes;           // threads for each chunk, a power of two
  int threads;         // of a block; threads / lanes, side by side, have other outputs
  Index blocks;        // for one chunk of all outputs
  Index chunks, size;  // in terms
};
inline Index pieces(Index n, Index size) { return (n + size - 1) / size; }
inline int power_of_two(Index least, int most) {
  int n = 1;
  while (n < most && n < least) n *= 2;
  return n;
}
inline void cut_into(Cut& cut, Index terms, Index wanted, int width) {
  const Index most = wanted < kMostChunks ? wanted : kMostChunks;
  cut.size = pieces(pieces(terms, most > 1 ? most : 1), width) * width;
  cut.chunks = cut.size > 0 ? pieces(terms, cut.size) : 1;
}
inline Cut cut_along(const ReduceShape& at, int width, int brief) {
  const Index packs = pieces(at.terms, width);
  const bool is_busy = at.outputs >= kFoldBusy;
  const Index each = is_busy ? 128 : 16;  // packs of a thread, one after the other: not more than rounding bears
  Cut cut{.across = false, .lanes = power_of_two(pieces(packs, brief), is_busy ? kThreads : kFoldMost)};
  if (packs > cut.lanes * each) cut.lanes = kThreads;
  cut_into(cut, at.terms, pieces(packs, cut.lanes * each), width);
  cut.threads = cut.lanes > kThreads ? cut.lanes : kThreads;
  cut.blocks = pieces(at.outputs * cut.lanes, cut.threads);
  return cut;
}
inline Cut cut_across(const ReduceShape& at, int width) {
  const Index packs = pieces(at.outputs, width);
  const auto made = [&](int threads, int side) {
    return Cut{.across = true, .lanes = threads / side, .threads = threads, .blocks = pieces(packs, side)};
  };
  Cut cut = made(kThreads, power_of_two(packs, kThreads / power_of_two(pieces(at.terms, 8), 8)));
  Index wanted = 1;
  if (cut.blocks < kFoldBusy && at.terms > cut.lanes * 8) {  // more threads for an output, or even chunks
    cut = made(kFoldMost, power_of_two(packs, 8));
    if (at.terms > cut.lanes * 16) {
      cut = made(kThreads, power_of_two(packs, kWarp));
      const Index busy = pieces(2 * kFoldBusy, cut.blocks), most = pieces(at.terms, cut.lanes * 8);
      wanted = busy < most ? busy : most;
    }
  }
  const Index accurate = pieces(at.terms, cut.lanes * 256);
  cut_into(cut, at.terms, wanted > accurate ? wanted : accurate, 1);
  return cut;
}
// Neighbouring outputs that lie closer in memory than an output's terms are better read together.
inline Cut cut_of(const ReduceShape& at, int width, int brief) {
  const bool across = at.kept > 0 && at.reduced > 0 && at.strides[at.kept - 1] < at.strides[at.kept + at.reduced - 1];
  return across ? cut_across(at, width) : cut_along(at, width, brief);
}
// Whether one load may read a pack.
enum class Reads { whole, singly };
inline bool reads_whole(const ReduceShape& at, bool across, int width, const void* x, std::size_t bytes) {
  const int dims = at.kept + at.reduced, inner = across ? at.kept - 1 : dims - 1;
  if ((across ? at.kept : at.reduced) == 0 || at.strides[inner] != 1) return false;
  if ((across || at.reduced > 1) && at.shape[inner] % width != 0) return false;
  for (int d = 0; d < dims; ++d)
    if (d != inner && at.strides[d] % width != 0) return false;
  return reinterpret_cast<std::uintptr_t>(x) % (static_cast<std::size_t>(width) * bytes) == 0;
}

__device__ inline Index place_of(const ReduceShape& at, int first, int count, Index i) {
  Index place = 0;
#pragma unroll 1
  for (int d = first + count - 1; d > first; --d) {
    const Index rest = quotient(i, at.shape[d]);
    place += (i - rest * at.shape[d]) * at.strides[d];
    i = rest;
  }
  return count > 0 ? place + i * at.strides[first] : place;
}

// The elements start, start + 1, ... of the dimensions first ... first + count - 1: where they lie, in `whole` the
// first.
template <Reads reads, int W>
__device__ inline void find_places(Index (&places)[W], const ReduceShape& at, int first, int count, Index start,
                                   Index end) {
  if constexpr (reads == Reads::whole) {
    places[0] = place_of(at, first, count, start);
  } else if (count <= 1) {
    const Index stride = count == 0 ? 0 : at.strides[first];
#pragma unroll
    for (int w = 0; w < W; ++w) places[w] = (start + w < end ? start + w : start) * stride;
  } else {
    Index found[W];
#pragma unroll 1
    for (int w = 0; w < W; ++w) found[w] = place_of(at, first, count, start + w < end ? start + w : start);
#pragma unroll
    for (int w = 0; w < W; ++w) places[w] = found[w];
  }
}

// What the lane `step` further up has, of a state of any size.
template <class State>
__device__ inline State from_lane_above(const State& mine, int step) {
  std::uint32_t words[(sizeof(State) + 3) / 4] = {};
  memcpy(words, &mine, sizeof mine);
#pragma unroll
  for (std::uint32_t& word : words) word = __shfl_down_sync(0xffffffff, word, static_cast<unsigned>(step));
  State other;
  memcpy(&other, words, sizeof other);
  return other;
}

// Merges the states of `lanes` neighbouring threads; the first of them has the result.
template <class F>
__device__ inline typename F::State merged(const F& f, typename F::State mine, int lanes) {
  using State = typename F::State;
  for (int step = (lanes < kWarp ? lanes : kWarp) / 2; step > 0; step /= 2)
    mine = f.merge(mine, from_lane_above(mine, step));
  if (lanes <= kWarp) return mine;
  __shared__ State of_warp[kFoldMost / kWarp];
  const int thread = static_cast<int>(threadIdx.x), warp = thread / kWarp, warps = lanes / kWarp;
  if (thread % kWarp == 0) of_warp[warp] = mine;
  __syncthreads();
  if (warp % warps != 0) return mine;
  mine = thread % kWarp < warps ? of_warp[warp + thread % kWarp] : f.start();
  for (int step = warps / 2; step > 0; step /= 2) mine = f.merge(mine, from_lane_above(mine, step));
  return mine;
}

// Merges states of `side` neighbours that threads / side rows of threads have, W each, and calls give(i, state) for
// neighbour i of side * W.
template <class F, int W, class Give>
__device__ inline void merge_rows(const F& f, typename F::State (&mine)[W], int side, const Give& give) {
  using State = typename F::State;
  __shared__ State states[kThreads * W];  // threads / 32 * side or threads, whichever is less
  const int thread = static_cast<int>(threadIdx.x), threads = static_cast<int>(blockDim.x);
  for (int step = side; step < kWarp; step *= 2)
#pragma unroll
    for (int w = 0; w < W; ++w) mine[w] = f.merge(mine[w], from_lane_above(mine[w], step));
  const int in_row = side < kWarp ? kWarp : side, row = thread / in_row;
  if (thread % in_row < side)
#pragma unroll
    for (int w = 0; w < W; ++w) states[(row * side + thread % in_row) * W + w] = mine[w];
  __syncthreads();
  for (int i = thread; i < side * W; i += threads) {
    State state = states[i];
    for (int r = 1; r < threads / in_row; ++r) state = f.merge(state, states[r * side * W + i]);
    give(i, state);
  }
}

template <Reads reads, class T, int W>
__device__ inline Pack<T, W> read_pack(const T* x, const Index (&places)[W]) {
  if constexpr (reads == Reads::whole) {
    return *reinterpret_cast<const Pack<T, W>*>(x + places[0]);
  } else {
    Pack<T, W> pack;
#pragma unroll
    for (int w = 0; w < W; ++w) pack.of[w] = x[places[w]];
    return pack;
  }
}

// A thread's packs of an output's terms, begin <= term < end; state w has every W-th of them, or the first has all
// (kHasOneState).
template <Reads reads, class F, int W>
__device__ inline void fold_packs(const F& f, const ReduceShape& at, Index output, Index begin, Index end, int lane,
                                  int lanes, typename F::State (&states)[W]) {
  using T = typename F::Element;
  const T* const x = f.a.x + place_of(at, 0, at.kept, output);
  const auto about = f.about(x);
  const Index step = static_cast<Index>(lanes) * W, whole = begin + (end - begin) / W * W;
  for (Index first = begin + lane * W; first < whole; first += kFoldLoads * step) {
    Pack<T, W> packs[kFoldLoads];
#pragma unroll
    for (int k = 0; k < kFoldLoads; ++k) {
      const Index term = first + k * step;
      if (term >= whole) continue;
      Index places[W];
      find_places<reads>(places, at, at.kept, at.reduced, term, end);
      packs[k] = read_pack<reads, T, W>(x, places);
    }
    if constexpr (F::kTakesMany) {
      if (first + (kFoldLoads - 1) * step < whole) {
        T many[kFoldLoads * W];
#pragma unroll
        for (int i = 0; i < kFoldLoads * W; ++i) many[i] = packs[i / W].of[i % W];
        f.take_many(states[0], about, many);
        continue;
      }
    }
#pragma unroll
    for (int k = 0; k < kFoldLoads; ++k)
      if (first + k * step < whole)
#pragma unroll
        for (int w = 0; w < W; ++w)
          f.take(states[F::kHasOneState ? 0 : w], about, first + k * step + w, packs[k].of[w]);
  }
  if (lane != (whole - begin) / W % lanes) return;
  for (Index term = whole; term < end; ++term)
    f.take(states[0], about, term, x[place_of(at, at.kept, at.reduced, term)]);
}

template <class F>
__global__ void __launch_bounds__(kFoldMost)
    fold_along(F f, ReduceShape at, Cut cut, bool wide, typename F::State* partial) {
  using State = typename F::State;
  constexpr int W = kFoldWidth<typename F::Element>;
  const Index chunk = quotient(blockIdx.x, cut.blocks), block = blockIdx.x - chunk * cut.blocks;
  const int lane = static_cast<int>(threadIdx.x) & (cut.lanes - 1);
  const Index output = quotient(block * cut.threads + threadIdx.x, cut.lanes);
  State states[W];
#pragma unroll
  for (int w = 0; w < W; ++w) states[w] = f.start();
  if (output < at.outputs) {
    const Index begin = chunk * cut.size, left = at.terms - begin, end = begin + (left < cut.size ? left : cut.size);
    if (wide) fold_packs<Reads::whole, F, W>(f, at, output, begin, end, lane, cut.lanes, states);
    else fold_packs<Reads::singly, F, W>(f, at, output, begin, end, lane, cut.lanes, states);
  }
  if constexpr (!F::kHasOneState)
#pragma unroll
    for (int half = W / 2; half > 0; half /= 2)
#pragma unroll
      for (int w = 0; w < half; ++w) states[w] = f.merge(states[w], states[w + half]);
  const State state = merged(f, states[0], cut.lanes);
  if (output >= at.outputs || lane != 0) return;
  if (cut.chunks == 1) f.finish(output, state);
  else partial[chunk * at.outputs + output] = state;
}

// A thread's terms of W neighbouring outputs, begin <= term < end.
template <Reads reads, class F, int W>
__device__ inline void fold_columns(const F& f, const ReduceShape& at, Index output, Index begin, Index end, int lanes,
                                    typename F::State (&states)[W]) {
  using T = typename F::Element;
  Index places[W] = {};
  find_places<reads>(places, at, 0, at.kept, output, at.outputs);
  decltype(f.about(f.a.x)) about[W];
#pragma unroll
  for (int w = 0; w < W; ++w) about[w] = f.about(f.a.x + (reads == Reads::whole ? places[0] + w : places[w]));
  for (Index first = begin; first < end; first += kFoldLoads * lanes) {
    Pack<T, W> packs[kFoldLoads];
#pragma unroll
    for (int k = 0; k < kFoldLoads; ++k) {
      const Index term = first + k * lanes;
      if (term >= end) continue;
      packs[k] = read_pack<reads, T, W>(f.a.x + place_of(at, at.kept, at.reduced, term), places);
    }
    if constexpr (F::kTakesMany) {
      if (first + (kFoldLoads - 1) * lanes < end) {
#pragma unroll
        for (int w = 0; w < W; ++w) {
          T many[kFoldLoads];
#pragma unroll
          for (int k = 0; k < kFoldLoads; ++k) many[k] = packs[k].of[w];
          f.take_many(states[w], about[w], many);
        }
        continue;
      }
    }
#pragma unroll
    for (int k = 0; k < kFoldLoads; ++k)
      if (first + k * lanes < end)
#pragma unroll
        for (int w = 0; w < W; ++w) f.take(states[w], about[w], first + k * lanes, packs[k].of[w]);
  }
}

template <class F>
__global__ void __launch_bounds__(kFoldMost)
    fold_across(F f, ReduceShape at, Cut cut, bool wide, typename F::State* partial) {
  using State = typename F::State;
  constexpr int W = kFoldWidth<typename F::Element>;
  const Index chunk = quotient(blockIdx.x, cut.blocks), block = blockIdx.x - chunk * cut.blocks;
  const int side = cut.threads / cut.lanes, column = static_cast<int>(threadIdx.x) & (side - 1);
  const Index block_output = block * side * W, output = block_output + column * W;
  const Index begin = chunk * cut.size, left = at.terms - begin, end = begin + (left < cut.size ? left : cut.size);
  const Index first = begin + static_cast<int>(threadIdx.x) / side;
  State states[W];
#pragma unroll
  for (int w = 0; w < W; ++w) states[w] = f.start();
  if (output < at.outputs) {
    if (wide) fold_columns<Reads::whole, F, W>(f, at, output, first, end, cut.lanes, states);
    else fold_columns<Reads::singly, F, W>(f, at, output, first, end, cut.lanes, states);
  }
  merge_rows<F, W>(f, states, side, [&](int i, const State& state) {
    if (block_output + i >= at.outputs) return;
    if (cut.chunks == 1) f.finish(block_output + i, state);
    else partial[chunk * at.outputs + block_output + i] = state;
  });
}

// A block has `side` outputs.
template <class F>
__global__ void __launch_bounds__(kThreads)
    fold_chunks(F f, Index outputs, Index chunks, int side, const typename F::State* partial) {
  using State = typename F::State;
  const int column = static_cast<int>(threadIdx.x) & (side - 1), rows = kThreads / side;
  const Index block_output = static_cast<Index>(blockIdx.x) * side, output = block_output + column;
  State state[1] = {f.start()};
  if (output < outputs)
#pragma unroll 4
    for (Index chunk = static_cast<int>(threadIdx.x) / side; chunk < chunks; chunk += rows)
      state[0] = f.merge(state[0], partial[chunk * outputs + output]);
  merge_rows<F, 1>(f, state, side, [&](int i, const State& all) {
    if (block_output + i < outputs) f.finish(block_output + i, all);
  });
}

template <class F>
Status fold(const Context& context, const ReduceShape& at, const F& f) {
  using T = typename F::Element;
  using State = typename F::State;
  static_assert(sizeof(State) <= kStateBytes);
  constexpr int width = kFoldWidth<T>;
  const Cut cut = cut_of(at, width, F::kHasOneState ? kFoldLong : kFoldLoads);
  auto* const partial = static_cast<State*>(context.workspace);
  const dim3 blocks(static_cast<unsigned>(cut.blocks * cut.chunks)), threads(static_cast<unsigned>(cut.threads));
  const bool wide = reads_whole(at, cut.across, width, f.a.x, sizeof(T));
  const Status status =
      launch(context, blocks, threads, cut.across ? fold_across<F> : fold_along<F>, f, at, cut, wide, partial);
  if (status != Status::ok || cut.chunks == 1) return status;
  const int side = power_of_two(at.outputs, kWarp);
  return launch(context, dim3(static_cast<unsigned>(pieces(at.outputs, side))), dim3(kThreads), fold_chunks<F>, f,
                at.outputs, cut.chunks, side, static_cast<const State*>(partial));
}

template <class T>
std::size_t fold_workspace(const ReduceShape& at) {
  Index chunks = 1;
  for (const int brief : {kFoldLoads, kFoldLong}) {
    const Cut cut = cut_of(at, kFoldWidth<T>, brief);
    chunks = cut.chunks > chunks ? cut.chunks : chunks;
  }
  return chunks == 1 ? 0 : static_cast<std::size_t>(chunks * at.outputs * kStateBytes);
}

}  // namespace
}  // namespace dd2424::cuda
