#pragma once
// The true elements of a mask: how many there are, where they are, and what lies under them. No branch depends on the
// mask: each element is written to the next free place, which only a true one takes.
#include "core/index.h"
#include "core/parallel.h"
#include "cpu/vec.h"

namespace dd2424::cpu::DD2424_ISA {
namespace {

constexpr Index kMaskChunk = 1 << 14;

inline Index count_bytes(const bool* mask, Index n) {
  using Bytes = Vec<std::uint8_t>;
  constexpr Index lanes = kLanes<std::uint8_t>, most = 255;  // vectors that a byte can count
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(mask);
  Index count = 0, i = 0;
  while (i + lanes <= n) {
    Bytes sum{};
    for (Index k = 0; k < most && i + lanes <= n; ++k, i += lanes) sum += load(bytes + i);
    for (Index lane = 0; lane < lanes; ++lane) count += sum[lane];
  }
  for (; i < n; ++i) count += bytes[i];
  return count;
}

inline Index chunk_end(const Chunks& chunks, Index chunk, Index n) {
  const Index end = (chunk + 1) * chunks.size;
  return end < n ? end : n;
}

Status count_true(const Context&, const MaskCount& a) {
  const Chunks chunks = reduction_chunks(a.n, kMaskChunk);
  parallel_for(chunks.count, 1, [&](Index begin, Index end) {
    for (Index c = begin; c < end; ++c)
      a.before[c + 1] = count_bytes(a.mask + c * chunks.size, chunk_end(chunks, c, a.n) - c * chunks.size);
  });
  a.before[0] = 0;
  for (Index c = 0; c < chunks.count; ++c) a.before[c + 1] += a.before[c];
  for (Index c = chunks.count; c < kMaxChunks; ++c) a.before[c + 1] = a.before[c];
  return Status::ok;
}

// Calls take(place, i) for the elements i of a chunk up to its last true one, with the place that i has if it is true.
template <class Take>
inline void for_true(const MaskCount& a, const Take& take) {
  const Chunks chunks = reduction_chunks(a.n, kMaskChunk);
  parallel_for(chunks.count, 1, [&](Index begin, Index end) {
    for (Index c = begin; c < end; ++c) {
      const Index stop = a.before[c + 1];
      for (Index i = c * chunks.size, place = a.before[c]; place < stop; ++i) {
        take(place, i);
        place += a.mask[i];
      }
    }
  });
}

template <int bytes>
void take_cells(const MaskSelect& a) {
  struct Cell {
    unsigned char data[bytes];
  };
  const auto* x = static_cast<const Cell*>(a.x);
  auto* y = static_cast<Cell*>(a.y);
  for_true(a.of, [=](Index place, Index i) { y[place] = x[i]; });
}

Status select_true(const Context&, const MaskSelect& a) {
  switch (a.bytes) {
    case 1: return take_cells<1>(a), Status::ok;
    case 2: return take_cells<2>(a), Status::ok;
    case 4: return take_cells<4>(a), Status::ok;
    case 8: return take_cells<8>(a), Status::ok;
  }
  const auto* x = static_cast<const unsigned char*>(a.x);
  auto* y = static_cast<unsigned char*>(a.y);
  for_true(a.of, [&](Index place, Index i) {
    if (a.of.mask[i]) memcpy(y + place * a.bytes, x + i * a.bytes, static_cast<std::size_t>(a.bytes));
  });
  return Status::ok;
}

// Lines along the last dimension: the other coordinates are the same for all of one.
Status find_true(const Context&, const MaskPlaces& a) {
  const Chunks chunks = reduction_chunks(a.of.n, kMaskChunk);
  const int last = a.ndim - 1;
  parallel_for(chunks.count, 1, [&](Index begin, Index end) {
    for (Index c = begin; c < end; ++c) {
      Index place = a.of.before[c], position[kMaxDims];
      const Index stop = a.of.before[c + 1];
      for (Index i = c * chunks.size; place < stop;) {
        for (Index d = last, rest = i; d >= 0; rest /= a.shape[d--]) position[d] = rest % a.shape[d];
        for (Index j = position[last]; j < a.shape[last] && place < stop; ++j, ++i) {
          std::int64_t* to = a.y + place * a.ndim;
          for (int d = 0; d < last; ++d) to[d] = position[d];
          to[last] = j;
          place += a.of.mask[i];
        }
      }
    }
  });
  return Status::ok;
}

}  // namespace
}  // namespace dd2424::cpu::DD2424_ISA
