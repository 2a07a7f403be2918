#pragma once
// Rows of channels-first images, one vector over neighbouring windows: a row taken apart into phases, and put together.
#include "cpu/pool_window.h"
#include "cpu/shuffle.h"

namespace dd2424::cpu::DD2424_ISA {
namespace {

constexpr Index kBlock = 256;  // windows at a time: a block's buffers stay in the nearest cache
constexpr Index kLongLine = kMostPhases * (kBlock + kReach) + 64;  // and what the last vector may touch

// line[i] = row[start + i], padding outside of [0, size).
template <class T>
void pad_line(Lane<T>* line, const T* row, Index size, Index start, Index count, Lane<T> padding) {
  const Index from = smaller(count, larger(0, -start)), to = larger(from, smaller(count, size - start));
  for (Index i = 0; i < from; ++i) line[i] = padding;
  constexpr int step = kLanes<Lane<T>>;
  Index i = from;
  for (; i + step <= to; i += step) store(line + i, load(row + start + i));
  if (i < to) store(line + i, load(row + start + i, to - i));
  for (i = to; i < count; ++i) line[i] = padding;
}

// The phases of a piece of a row, from `start` on, `count` elements each (and what fills the last vector).
template <class T>
struct Phases {
  using L = Lane<T>;
  alignas(64) L line[kLongLine], woven[kMostPhases][kBlock + kReach + 64];
  const L* at[kMostPhases];

  void split(const T* row, Index size, Index start, Index stride, Index count, L padding) {
    const Index whole = up(count, kLanes<L>) * kLanes<L>, length = whole * stride;
    const L* from = line;
    if constexpr (std::is_same_v<T, L>) {
      // A tap's vectors begin up to its reach later: the last of them may touch a vector beyond.
      if (start >= 0 && start + length + kLanes<L> * stride <= size) from = row + start;
    }
    if (from == line) pad_line(line, row, size, start, length, padding);
    if (stride == 1) {
      at[0] = from;
      return;
    }
    for (Index r = 0; r < stride; ++r) at[r] = woven[r];
    if (stride == 2) {
      for (Index j = 0; j < whole; j += kLanes<L>) {
        const Vec<L> a = load(from + 2 * j), b = load(from + 2 * j + kLanes<L>);
        store(woven[0] + j, even_lanes(a, b)), store(woven[1] + j, odd_lanes(a, b));
      }
      return;
    }
    for (Index r = 0; r < stride; ++r)
      for (Index j = 0; j < whole; ++j) woven[r][j] = from[j * stride + r];
  }
};

// The other way: sums by phase, woven into a row.
template <class T>
struct PhaseSums {
  using L = Lane<T>;
  alignas(64) L sums[kMostPhases][kBlock + 64], line[kMostPhases * (kBlock + 64)];

  void clear(Index stride, Index count) {
    for (Index r = 0; r < stride; ++r)
      for (Index j = 0; j < count; j += kLanes<L>) store(sums[r] + j, Vec<L>{});
  }
  // To row[start + i], as far as that lies in [0, size).
  void weave(T* row, Index size, Index start, Index stride, Index count) {
    const L* from = line;
    if (stride == 1) from = sums[0];
    if (stride == 2)
      for (Index j = 0; j < count; j += kLanes<L>) {
        const Vec<L> a = load(sums[0] + j), b = load(sums[1] + j);
        store(line + 2 * j, weave_low(a, b)), store(line + 2 * j + kLanes<L>, weave_high(a, b));
      }
    if (stride > 2)
      for (Index r = 0; r < stride; ++r)
        for (Index j = 0; j < count; ++j) line[j * stride + r] = sums[r][j];
    const Index begin = larger(0, start), end = smaller(size, start + count * stride);
    if (begin < end) map(row + begin, end - begin, [](auto v) { return v; }, from + (begin - start));
  }
};

}  // namespace
}  // namespace dd2424::cpu::DD2424_ISA
