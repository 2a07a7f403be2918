#pragma once
// Advanced indexing: how an index space is walked, line by line, beside the index tensors.
#include "core/index.h"
#include "core/parallel.h"
#include "cpu/vec.h"

namespace dd2424::cpu::DD2424_ISA {
namespace {

constexpr Index kWalkGrain = 1 << 15;  // elements worth a second thread

// One line of the index space, along its last dimension: where it starts in y, in x and in each index tensor.
struct Line {
  Index y, x, index[kMaxIndices];
};

inline Line line_at(const Strided<2>& at, const IndexedAt& indexed, const Index* position, int dims) {
  Line line{};
  for (int d = 0; d < dims; ++d) {
    line.y += position[d] * at.strides[0][d];
    line.x += position[d] * at.strides[1][d];
    for (int t = 0; t < indexed.indices; ++t) line.index[t] += position[d] * indexed.index_strides[t][d];
  }
  return line;
}

// What the index tensors add to the place in x, `i` elements along a line whose last dimension is `last`.
inline Index index_offset(const IndexedAt& a, const Line& line, int last, Index i) {
  Index offset = 0;
  for (int t = 0; t < a.indices; ++t) {
    const Index index = a.index[t][line.index[t] + i * a.index_strides[t][last]];
    offset += (index < 0 ? index + a.sizes[t] : index) * a.steps[t];
  }
  return offset;
}

// A box in the index space: dimension `cut` restricted to [begin, end), all others whole.
struct Box {
  int cut;
  Index begin, end;
};

// What is done with elements first ... last - 1 of a line: one walk serves every type and every deed.
struct LineBody {
  const void* data;
  void (*call)(const void* data, const Line& line, Index first, Index last);
};
template <class Body>
inline LineBody line_body(const Body& body) {
  return {&body, [](const void* data, const Line& line, Index first, Index last) {
            (*static_cast<const Body*>(data))(line, first, last);
          }};
}

// Each line of the box, in row-major order.
[[gnu::noinline]] void for_lines(const Strided<2>& at, const IndexedAt& indexed, const Box& box, const LineBody& body) {
  const int last = at.ndim - 1;
  Index from[kMaxDims], to[kMaxDims], position[kMaxDims];
  for (int d = 0; d < at.ndim; ++d) {
    from[d] = d == box.cut ? box.begin : 0;
    to[d] = d == box.cut ? box.end : at.shape[d];
    if (from[d] >= to[d]) return;
    position[d] = from[d];
  }
  for (;;) {
    body.call(body.data, line_at(at, indexed, position, last), from[last], to[last]);
    int d = last - 1;
    while (d >= 0 && ++position[d] == to[d]) position[d] = from[d], --d;
    if (d < 0) return;
  }
}

// The longest dimension for which parts of the index space may run at the same time; -1: there is none. Where x moves
// along a dimension by a stride of its own, no two places along it are one element.
inline int dimension_to_cut(const Strided<2>& at, bool writes_x) {
  int best = -1;
  for (int d = 0; d < at.ndim; ++d)
    if ((!writes_x || at.strides[1][d] != 0) && (best < 0 || at.shape[d] > at.shape[best])) best = d;
  return best;
}

[[gnu::noinline]] void for_lines_parallel(const Strided<2>& at, const IndexedAt& indexed, bool writes_x,
                                          const LineBody& body) {
  Index elements = 1;
  for (int d = 0; d < at.ndim; ++d) elements *= at.shape[d];
  const int cut = dimension_to_cut(at, writes_x);
  if (elements <= kWalkGrain || cut < 0) return for_lines(at, indexed, {-1, 0, 0}, body);
  const Index across = elements / at.shape[cut];
  parallel_for(at.shape[cut], kWalkGrain / across + 1,
               [&](Index begin, Index end) { for_lines(at, indexed, {cut, begin, end}, body); });
}

inline bool indexed_along(const IndexedAt& a, int dimension) {
  for (int t = 0; t < a.indices; ++t)
    if (a.index_strides[t][dimension] != 0) return true;
  return false;
}

// The only index tensor. Its numbers count from the end where they are negative; or they have not been checked, and
// those outside are reported and taken for 0.
struct OneIndex {
  Index size, step, turn;
  OneIndex(const IndexedAt& at, const bool* outside)
      : size(at.sizes[0]), step(at.steps[0]), turn(outside ? 0 : at.sizes[0]) {}
  Index place(Index number, bool& is_outside) const {
    const Index at = number < 0 ? number + turn : number;
    const bool is_inside = static_cast<std::uint64_t>(at) < static_cast<std::uint64_t>(size);
    is_outside |= !is_inside;
    return is_inside ? at * step : 0;
  }
};
constexpr Index kNumbers = 256;  // that are looked at together: where all are inside, none is looked at again
// Whether 0 <= number < size for all.
inline bool are_inside(const std::int64_t* numbers, Index count, Index size) {
  Index signs = 0;
  for (Index i = 0; i < count; ++i) signs |= numbers[i] | (size - 1 - numbers[i]);
  return signs >= 0;
}
inline void report(bool* outside, bool is_outside) {
  if (is_outside && outside) __atomic_store_n(outside, true, __ATOMIC_RELAXED);
}

}  // namespace
}  // namespace dd2424::cpu::DD2424_ISA
