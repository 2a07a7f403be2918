#pragma once
// How batch norm walks (outer, channels, inner): where inner is 1, in columns, a lane to a channel; otherwise plane by
// plane, a channel at a time. Sums run over blocks, so that their error grows with the number of blocks.
#include <stdint.h>

#include "core/parallel.h"
#include "cpu/vec.h"

namespace dd2424::cpu::DD2424_ISA {
namespace {

constexpr Index kGrain = 1 << 14;           // elements worth a second thread, and a chunk of their own
constexpr Index kChunkRows = 256;           // of columns, at least
constexpr Index kBlockRows = 64;            // rows that are added up before they join the total
constexpr Index kBlockVectors = 128;        // likewise, of a row
constexpr Index kManyChannels = 16;         // that threads can share out between them
constexpr Index kChannelInCache = 1 << 17;  // elements

inline Index smaller(Index a, Index b) { return a < b ? a : b; }

struct Extent {
  Index outer, channels, inner;
  Index count() const { return outer * inner; }  // of elements in a channel
  bool in_columns() const { return inner == 1; }
  Chunks chunks() const {  // of `outer`; one where the planes of a channel, x and dy, stay in the second-level cache
    if (!in_columns() && channels >= kManyChannels && count() <= kChannelInCache) return {outer, outer == 0 ? 0 : 1};
    const Index rows = kGrain / (in_columns() ? channels + 1 : inner) + 1;
    return reduction_chunks(outer, in_columns() && rows < kChunkRows ? kChunkRows : rows);
  }
};

template <class T>
inline Vec<Lane<T>> load_some(const T* p, Index count) {
  return count < kLanes<Lane<T>> ? load(p, count) : load(p);
}
template <class T>
inline void store_some(T* p, Vec<Lane<T>> v, Index count) {
  if (count < kLanes<Lane<T>>) store(p, v, count);
  else store(p, v);
}
template <class L>
inline Vec<L> load_or(const L* p, Index count, L otherwise) {
  return p ? load_some(p, count) : broadcast(otherwise);
}

// Results that no cache would hold are written around them: then their lines need not be read first.
constexpr Index kAround = 8 << 20;  // bytes, a quarter of an EPYC's third-level cache
template <class T>
inline bool goes_around(const T* y, Index elements, Index stride) {
  const auto aligned = [](std::uintptr_t bytes) { return bytes % kVectorBytes == 0; };
  return elements * Index(sizeof(T)) >= kAround && aligned(reinterpret_cast<std::uintptr_t>(y)) &&
         aligned(static_cast<std::uintptr_t>(stride) * sizeof(T));
}
template <class T>
inline void put(bool around, T* p, Vec<Lane<T>> v, Index count) {
  if constexpr (!std::is_same_v<T, bfloat16>) {
    if (around && count >= kLanes<T>) return store_around(p, v);
  }
  store_some(p, v, count);
}
template <class Y, class F, class... X>
inline void map_out(bool around, Y* y, Index n, const F& f, const X*... x) {
  constexpr Index step = kLanes<Lane<Y>>;
  Index i = 0;
  for (; i + step <= n; i += step) put(around, y + i, f(load(x + i)...), step);
  if (i < n) store(y + i, f(load(x + i, n - i)...), n - i);
}

// v where the lane is below count, else 0
template <class L>
inline auto keep_lanes(Index count) {
  L lanes[kLanes<L>];
  for (int i = 0; i < kLanes<L>; ++i) lanes[i] = static_cast<L>(i);
  return load(lanes) < static_cast<L>(count);
}

template <int N>
struct Constant {
  static constexpr int value = N;
};

// sums[s] += what add(i, count, part) adds to part[s] for i < size, a vector at a time; count < kLanes for the last
// alone.
template <class L, int K, class F>
inline void add_row(Index size, Vec<L> (&sums)[K], const F& add) {
  constexpr Index lanes = kLanes<L>;
  for (Index i = 0; i < size;) {
    Vec<L> part[4][K]{};
    const Index stop = smaller(size, i + kBlockVectors * lanes);
    for (; i + 4 * lanes <= stop; i += 4 * lanes)
#pragma GCC unroll 4
      for (int k = 0; k < 4; ++k) add(i + k * lanes, lanes, part[k]);
    for (; i < stop; i += lanes) add(i, smaller(lanes, stop - i), part[0]);
    for (int s = 0; s < K; ++s) sums[s] += (part[0][s] + part[1][s]) + (part[2][s] + part[3][s]);
  }
}

// Chunks.

constexpr int kSums = 3;  // per chunk and channel, what the workspace holds, in double

// Where chunk i of the workspace keeps sum s of its channels.
struct Parts {
  double* data;
  Index channels;
  double* at(Index chunk, int sum) const { return data + (chunk * kSums + sum) * channels; }
};

// Calls body(chunk, channel, first, end of outer) for every channel of every chunk, on all threads.
template <class Body>
void for_chunks(const Extent& extent, const Chunks& chunks, const Body& body) {
  const Index work = extent.count() / chunks.count + 1;
  parallel_for(chunks.count * extent.channels, kGrain / work + 1, [&](Index begin, Index end) {
    for (Index k = begin; k < end; ++k) {
      const Index chunk = k / extent.channels, first = chunk * chunks.size;
      body(chunk, k % extent.channels, first, smaller(first + chunks.size, extent.outer));
    }
  });
}

// Calls body(chunk, first, end of rows) for every chunk, on all threads.
template <class Body>
void for_row_chunks(const Chunks& chunks, Index rows, Index channels, const Body& body) {
  parallel_for(chunks.count, kGrain / (chunks.size * channels) + 1, [&](Index begin, Index end) {
    for (Index k = begin; k < end; ++k) body(k, k * chunks.size, smaller((k + 1) * chunks.size, rows));
  });
}

template <class L>
inline Vec<L> narrow(const double* from, Index count) {
  L lanes[kLanes<L>]{};
  for (Index i = 0; i < count; ++i) lanes[i] = static_cast<L>(from[i]);
  return load(lanes);
}

}  // namespace
}  // namespace dd2424::cpu::DD2424_ISA
