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
constexpr Index kBlockVectors = 128;        // likewise, of a plane
constexpr Index kBlockPlanes = 32;          // likewise, planes
constexpr Index kManyChannels = 16;         // that threads can share out between them
constexpr Index kChannelInCache = 1 << 17;  // elements
constexpr int kGroup = 4;                   // vectors of channels that are walked together

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
  Index units() const {  // what may be done at the same time within a chunk: groups of columns, or planes
    const Index group = kGroup * kLanes<float>;
    return in_columns() ? (channels + group - 1) / group : channels;
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
template <bool around, class T>
inline void put(T* p, Vec<Lane<T>> v, Index count) {
  if constexpr (around && !std::is_same_v<T, bfloat16>) {
    if (count >= kLanes<T>) return store_around(p, v);
  }
  store_some(p, v, count);
}
template <bool around, class Y, class F, class... X>
inline void map_out(Y* y, Index n, const F& f, const X*... x) {
  constexpr Index step = kLanes<Lane<Y>>;
  Index i = 0;
  for (; i + step <= n; i += step) put<around>(y + i, f(load(x + i)...), step);
  if (i < n) store(y + i, f(load(x + i, n - i)...), n - i);
}

// v where the lane is below count, else 0
template <class L>
inline auto keep_lanes(Index count) {
  L lanes[kLanes<L>];
  for (int i = 0; i < kLanes<L>; ++i) lanes[i] = static_cast<L>(i);
  return load(lanes) < static_cast<L>(count);
}

// A row's elements in up to kGroup vectors of neighbouring channels; the last may be short.
template <class T, int N>
struct Columns {
  T* p;
  Index stride, last;  // from row to row; lanes of the last vector
  Vec<Lane<std::remove_const_t<T>>> at(Index row, int k) const {
    const T* from = p + row * stride + k * kLanes<Lane<std::remove_const_t<T>>>;
    return k == N - 1 ? load_some(from, last) : load(from);
  }
  template <bool around>
  void put(Index row, int k, Vec<Lane<std::remove_const_t<T>>> v) const {
    constexpr Index lanes = kLanes<Lane<std::remove_const_t<T>>>;
    cpu::DD2424_ISA::put<around>(p + row * stride + k * lanes, v, k == N - 1 ? last : lanes);
  }
};

template <int N>
struct Constant {
  static constexpr int value = N;
};
// body(Constant<flag>...) for flags known at run time only
template <class Body>
inline void choose(const Body& body) {
  body();
}
template <class Body, class... Flags>
inline void choose(const Body& body, bool flag, Flags... flags) {
  if (flag) choose([&](auto... rest) { body(Constant<1>{}, rest...); }, flags...);
  else choose([&](auto... rest) { body(Constant<0>{}, rest...); }, flags...);
}

// Calls body(Constant<vectors>, first channel, lanes of the last vector) for groups begin ... end - 1 of columns.
template <class L, class Body>
void for_column_groups(Index channels, Index begin, Index end, const Body& body) {
  constexpr Index step = kGroup * kLanes<float>;  // of float even for double, so that groups are numbered by size alone
  constexpr Index lanes = kLanes<L>;
  for (Index c = begin * step; c < smaller(end * step, channels);) {
    const Index left = smaller(end * step, channels) - c, vectors = smaller((left + lanes - 1) / lanes, kGroup);
    const Index width = smaller(left, vectors * lanes), last = width - (vectors - 1) * lanes;
    switch (vectors) {
      case 1: body(Constant<1>{}, c, last); break;
      case 2: body(Constant<2>{}, c, last); break;
      case 3: body(Constant<3>{}, c, last); break;
      default: body(Constant<4>{}, c, last);
    }
    c += width;
  }
}

// total[s][k] = the sum over rows of what add(row, k, part) adds to part[s], for K sums of N columns
template <class L, int K, int N, class F>
inline void sum_rows(Index rows, Vec<L> (&total)[K][N], const F& add) {
  for (auto& sums : total)
    for (Vec<L>& sum : sums) sum = Vec<L>{};
  for (Index row = 0; row < rows;) {
    Vec<L> part[N][K]{};
    for (const Index end = smaller(rows, row + kBlockRows); row < end; ++row)
#pragma GCC unroll 4
      for (int k = 0; k < N; ++k) add(row, k, part[k]);
    for (int s = 0; s < K; ++s)
      for (int k = 0; k < N; ++k) total[s][k] += part[k][s];
  }
}

// A channel's next plane starts on another page, where the hardware's prefetchers do not follow.
template <class T>
inline void prefetch_plane(const T* p, const Extent& extent) {
  __builtin_prefetch(p + extent.channels * extent.inner);
}

template <class L, int K, class F>
inline void add_plane(Index plane, Index size, Vec<L> (&sums)[K], const F& add) {
  constexpr Index lanes = kLanes<L>;
  for (Index i = 0; i < size;) {
    Vec<L> part[4][K]{};
    const Index stop = smaller(size, i + kBlockVectors * lanes);
    for (; i + 4 * lanes <= stop; i += 4 * lanes)
#pragma GCC unroll 4
      for (int k = 0; k < 4; ++k) add(plane + i + k * lanes, lanes, part[k]);
    for (; i < stop; i += lanes) add(plane + i, smaller(lanes, stop - i), part[0]);
    for (int s = 0; s < K; ++s) sums[s] += (part[0][s] + part[1][s]) + (part[2][s] + part[3][s]);
  }
}
// total[s] = the sum over the planes' elements of what add(place, count, part) adds to part[s]; `place` counts elements
// from the start of the tensor, and count < kLanes only for the last lanes of a plane.
template <class L, int K, class F>
inline void sum_planes(const Extent& extent, Index channel, Index begin, Index end, L (&total)[K], const F& add) {
  Vec<L> sums[K]{};
  for (Index o = begin; o < end;) {
    Vec<L> block[K]{};
    for (const Index stop = smaller(end, o + kBlockPlanes); o < stop; ++o)
      add_plane<L>((o * extent.channels + channel) * extent.inner, extent.inner, block, add);
    for (int s = 0; s < K; ++s) sums[s] += block[s];
  }
  for (int s = 0; s < K; ++s) total[s] = lanes_sum<L>(sums[s]);
}

// Chunks.

constexpr int kSums = 3;  // per chunk and channel, what the workspace holds, in double

// Where chunk i of the workspace keeps sum s of its channels.
struct Parts {
  double* data;
  Index channels;
  double* at(Index chunk, int sum) const { return data + (chunk * kSums + sum) * channels; }
};

// Calls body(chunk, unit, unit + 1) for every unit of every chunk, on all threads.
template <class Body>
void for_chunks(const Extent& extent, const Chunks& chunks, const Body& body) {
  const Index units = extent.units(), work = extent.count() / chunks.count * extent.channels / units + 1;
  parallel_for(chunks.count * units, kGrain / work + 1, [&](Index begin, Index end) {
    for (Index k = begin; k < end; ++k) {
      const Index chunk = k / units, first = chunk * chunks.size;
      body(chunk, k % units, first, smaller(first + chunks.size, extent.outer));
    }
  });
}

template <class L>
inline void widen_lanes(double* to, Vec<L> high, Vec<L> low, Index count) {  // to[i] = high[i] + low[i]
  L lanes[kLanes<L>], rest[kLanes<L>];
  store(lanes, high);
  store(rest, low);
  for (Index i = 0; i < count; ++i) to[i] = static_cast<double>(lanes[i]) + static_cast<double>(rest[i]);
}
template <class L>
inline Vec<L> narrow(const double* from, Index count) {
  L lanes[kLanes<L>]{};
  for (Index i = 0; i < count; ++i) lanes[i] = static_cast<L>(from[i]);
  return load(lanes);
}

}  // namespace
}  // namespace dd2424::cpu::DD2424_ISA
