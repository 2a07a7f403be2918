#include "core/index.h"

#include "core/parallel.h"
#include "core/table.h"
#include "cpu/index_batch.h"
#include "cpu/index_mask.h"
#include "cpu/index_walk.h"
#include "cpu/vec.h"

namespace dd2424::cpu::DD2424_ISA {
namespace {

constexpr Index kGrain = 1 << 15;  // elements worth a second thread

inline void widen_range(std::int64_t (&range)[2], const std::int64_t* index, Index n) {
  std::int64_t low = range[0], high = range[1];
  for (Index i = 0; i < n; ++i) {
    low = index[i] < low ? index[i] : low;
    high = index[i] > high ? index[i] : high;
  }
  range[0] = low, range[1] = high;
}

Status range(const Context&, const IndexRange& a) {
  std::int64_t whole[2] = {a.range[0], a.range[1]};
  if (a.n <= kGrain) {
    widen_range(whole, a.index, a.n);
  } else {
    const Chunks chunks = reduction_chunks(a.n, kGrain);
    std::int64_t parts[kMaxChunks][2] = {};
    parallel_for(chunks.count, 1, [&](Index begin, Index end) {
      for (Index c = begin; c < end; ++c) {
        const std::int64_t* first = a.index + c * chunks.size;
        std::int64_t part[2] = {*first, *first};
        widen_range(part, first, smaller(chunks.size, a.n - c * chunks.size));
        parts[c][0] = part[0], parts[c][1] = part[1];
      }
    });
    for (Index c = 0; c < chunks.count; ++c) widen_range(whole, parts[c], 2);
  }
  a.range[0] = whole[0], a.range[1] = whole[1];
  return Status::ok;
}

template <int bytes>
struct Cell {  // an element that is only moved
  unsigned char data[bytes];
};

template <int bytes>
void select_cells(const IndexSelect& a) {
  using C = Cell<bytes>;
  parallel_for(a.outer * a.n, kGrain, [&](Index begin, Index end) {
    for (Index k = begin; k < end;) {
      const Index j = k % a.n, count = smaller(a.n - j, end - k);
      const C* x = static_cast<const C*>(a.x) + k / a.n * a.size;
      C* y = static_cast<C*>(a.y) + k;
      const std::int64_t* index = a.index + j;
      for (Index i = 0; i < count; ++i) y[i] = x[index[i]];
      k += count;
    }
  });
}

Status select(const Context&, const IndexSelect& a) {
  const Index bytes = a.inner * a.element_bytes;
  if (a.n == 0 || bytes == 0) return Status::ok;
  switch (bytes) {
    case 1: return select_cells<1>(a), Status::ok;
    case 2: return select_cells<2>(a), Status::ok;
    case 4: return select_cells<4>(a), Status::ok;
    case 8: return select_cells<8>(a), Status::ok;
    case 16: return select_cells<16>(a), Status::ok;
  }
  const auto* x = static_cast<const unsigned char*>(a.x);
  auto* y = static_cast<unsigned char*>(a.y);
  parallel_for(a.outer * a.n, kGrain * 4 / bytes + 1, [&](Index begin, Index end) {
    for (Index k = begin; k < end; ++k)
      memcpy(y + k * bytes, x + (k / a.n * a.size + a.index[k % a.n]) * bytes, static_cast<std::size_t>(bytes));
  });
  return Status::ok;
}

// Advanced indexing.

struct Steps {
  Index x, y, index;
};
// By one index: the loop has no other loop in it. Whether a number lies outside.
template <class C, bool writes>
[[gnu::noinline]] bool copy_line(const OneIndex index, const Steps by, C* __restrict x, C* __restrict y,
                                 const std::int64_t* __restrict numbers, Index count) {
  bool is_outside = false;
  for (Index i = 0; i < count; ++i, x += by.x, y += by.y, numbers += by.index) {
    const Index place = index.place(*numbers, is_outside);
    if constexpr (writes) x[place] = *y;
    else *y = x[place];
  }
  return is_outside;
}
// The same along an indexed dimension, all of it dense.
template <class C, bool writes>
[[gnu::noinline]] bool copy_dense(const OneIndex index, C* __restrict x, C* __restrict y,
                                  const std::int64_t* __restrict numbers, Index count) {
  bool is_outside = false;
  for (Index begin = 0; begin < count; begin += kNumbers) {
    const Index some = smaller(kNumbers, count - begin);
    const std::int64_t* const at = numbers + begin;
    C* const to = y + begin;
    if (!are_inside(at, some, index.size)) {
      is_outside |= copy_line<C, writes>(index, {0, 1, 1}, x, to, at, some);
      continue;
    }
    for (Index i = 0; i < some; ++i) {
      if constexpr (writes) x[at[i]] = to[i];
      else to[i] = x[at[i]];
    }
  }
  return is_outside;
}

template <int bytes, bool writes>
void copy_cells(const IndexedCopy& a) {
  using C = Cell<bytes>;
  const int last = a.at.ndim - 1;
  const Steps by{a.at.strides[1][last], a.at.strides[0][last], a.indexed.index_strides[0][last]};
  const bool varies = indexed_along(a.indexed, last);
  const bool is_dense = by.x == 0 && by.y == 1 && by.index == 1 && a.indexed.steps[0] == 1;
  const auto body = [=, &a](const Line& line, Index begin, Index end) {
    C *const to = static_cast<C*>(a.y) + line.y, *const from = static_cast<C*>(a.x) + line.x;
    const std::int64_t* const numbers = a.indexed.index[0] + line.index[0];
    const OneIndex index(a.indexed, a.outside);
    const Index count = end - begin;
    if (varies && a.indexed.indices == 1) {
      C *const x = from + begin * by.x, *const y = to + begin * by.y;
      const std::int64_t* const first = numbers + begin * by.index;
      const bool is_outside = is_dense ? copy_dense<C, writes>(index, x, y, first, count)
                                       : copy_line<C, writes>(index, by, x, y, first, count);
      return report(a.outside, is_outside);
    }
    bool is_outside = false;
    const Index fixed = varies      ? 0
                        : a.outside ? index.place(numbers[0], is_outside)
                                    : index_offset(a.indexed, line, last, 0);
    report(a.outside, is_outside);
    if (!varies && by.x == 1 && by.y == 1) {
      C* const x = from + fixed;
      const std::size_t size = static_cast<std::size_t>(count) * bytes;
      if constexpr (writes) memcpy(x + begin, to + begin, size);
      else memcpy(to + begin, x + begin, size);
      return;
    }
    for (Index i = begin; i < end; ++i) {
      C& there = from[i * by.x + (varies ? index_offset(a.indexed, line, last, i) : fixed)];
      if constexpr (writes) there = to[i * by.y];
      else to[i * by.y] = there;
    }
  };
  for_lines_parallel(a.at, a.indexed, writes, line_body(body));
}

template <bool writes>
Status copy_indexed(const Context&, const IndexedCopy& a) {
  switch (a.element_bytes) {
    case 1: return copy_cells<1, writes>(a), Status::ok;
    case 2: return copy_cells<2, writes>(a), Status::ok;
    case 4: return copy_cells<4, writes>(a), Status::ok;
    case 8: return copy_cells<8, writes>(a), Status::ok;
  }
  return Status::unsupported;
}

constexpr IndexKernels kIndex{.range = range,
                              .select = select,
                              .read = copy_indexed<false>,
                              .write = copy_indexed<true>,
                              .gather_normalize = gather_normalize,
                              .count_true = count_true,
                              .select_true = select_true,
                              .find_true = find_true};

}  // namespace
}  // namespace dd2424::cpu::DD2424_ISA

namespace dd2424 {

DD2424_TABLE(IndexKernels, cpu::DD2424_ISA::kIndex)

}  // namespace dd2424
