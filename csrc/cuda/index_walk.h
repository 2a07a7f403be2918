#pragma once
#include "core/index.h"
#include "cuda/index_words.h"
#include "cuda/sort_words.h"

// An index space in two parts. Along the dimensions of the first, places may be one element of x: an index varies, or x
// stands still. Along those of the second x moves by a stride of its own. So a place of x is a place of the first part
// and one of the second, and only the first's have to be put in order where several may be one element.
namespace dd2424::cuda {

struct Dimensions {
  int count = 0;
  Index shape[kMaxDims], x[kMaxDims], y[kMaxDims];  // strides
  __host__ __device__ Index items() const {
    Index n = 1;
    for (int d = 0; d < count; ++d) n *= shape[d];
    return n;
  }
};
struct IndexWalk {
  Dimensions over, along;
  IndexedAt indexed;  // its strides by dimension of `over`
  bool* outside;      // of one index, where it has not been checked
  int bits;           // of the places of `over` in x
};
IndexWalk walk_of(const Strided<2>& at, const IndexedAt& indexed, bool* outside);

// The order of the places of `over`: by where they are in x, equal ones as they come.
Status order_walk(const Context& context, const IndexWalk& walk, const Word** sorted);
inline std::size_t order_walk_bytes(const IndexWalk& walk) { return order_bytes(1, walk.over.items(), walk.bits); }

namespace {

// Elements that lie side by side in x and in y, as few larger ones of at most `most` bytes: how many bytes each has.
inline Index widened(IndexWalk& walk, Index bytes, Index most, const void* x, const void* y) {
  Dimensions& along = walk.along;
  if (along.count == 0 || along.x[along.count - 1] != 1 || along.y[along.count - 1] != 1) return bytes;
  const int last = along.count - 1;
  std::uint64_t all = static_cast<std::uint64_t>(along.shape[last]);
  for (int d = 0; d < last; ++d) all |= static_cast<std::uint64_t>(along.x[d] | along.y[d]);
  for (int d = 0; d < walk.over.count; ++d) all |= static_cast<std::uint64_t>(walk.over.x[d] | walk.over.y[d]);
  for (int t = 0; t < walk.indexed.indices; ++t) all |= static_cast<std::uint64_t>(walk.indexed.steps[t]);
  const Index cell = widest(all * static_cast<std::uint64_t>(bytes), address(x), address(y), most), by = cell / bytes;
  if (by <= 1) return bytes;
  along.shape[last] /= by;
  for (int d = 0; d < last; ++d) along.x[d] /= by, along.y[d] /= by;
  for (int d = 0; d < walk.over.count; ++d) walk.over.x[d] /= by, walk.over.y[d] /= by;
  for (int t = 0; t < walk.indexed.indices; ++t) walk.indexed.steps[t] /= by;
  return cell;
}

// Calls f(d, place) for the place along each dimension that item i has.
template <class F>
__device__ inline void for_places(int dims, const Index* shape, Index i, const F& f) {
#pragma unroll 1
  for (int d = dims - 1; d > 0; --d) {
    const Index rest = quotient(i, shape[d]);
    f(d, i - rest * shape[d]);
    i = rest;
  }
  if (dims > 0) f(0, i);
}
struct Offsets {
  Index x, y;
};
__device__ inline Offsets offsets(const Dimensions& at, Index i) {
  Offsets found{0, 0};
  for_places(at.count, at.shape, i,
             [&](int d, Index place) { found.x += place * at.x[d], found.y += place * at.y[d]; });
  return found;
}

// What index t adds to the place in x. Numbers count from the end where they are negative; or they have not been
// checked, and those outside are reported and taken for 0.
__device__ inline Index step_of(const IndexWalk& a, int t, Index at) {
  const Index number = a.indexed.index[t][at], size = a.indexed.sizes[t];
  const Index place = number < 0 && !a.outside ? number + size : number;
  const bool is_inside = place >= 0 && place < size;
  if (!is_inside && a.outside) *a.outside = true;
  return is_inside ? place * a.indexed.steps[t] : 0;
}
// Where item i of `over` lies in x and in y.
__device__ inline Offsets over_offsets(const IndexWalk& a, Index i) {
  Offsets found{0, 0};
  Index at = 0;
  for_places(a.over.count, a.over.shape, i, [&](int d, Index place) {
    found.x += place * a.over.x[d], found.y += place * a.over.y[d];
    at += place * a.indexed.index_strides[0][d];
  });
  found.x += step_of(a, 0, at);
#pragma unroll 1
  for (int t = 1; t < a.indexed.indices; ++t) {
    at = 0;
    for_places(a.over.count, a.over.shape, i, [&](int d, Index place) { at += place * a.indexed.index_strides[t][d]; });
    found.x += step_of(a, t, at);
  }
  return found;
}

// A stretch of the order: the items that are one place of x. `sorted` are words of their places.
struct Sorted {
  const Word* words;
  Index count;
  bool is_wide;  // words have half of a place only
};
__device__ inline bool are_one(const IndexWalk& a, const Sorted& s, Index p, Index q) {
  const Word one = s.words[p], other = s.words[q];
  if (one >> kKeyBits != other >> kKeyBits) return false;
  return !s.is_wide || over_offsets(a, place_of_word(one)).x == over_offsets(a, place_of_word(other)).x;
}

}  // namespace
}  // namespace dd2424::cuda
