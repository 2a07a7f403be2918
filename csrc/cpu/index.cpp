#include "core/index.h"

#include "core/float_mode.h"
#include "core/parallel.h"
#include "core/table.h"
#include "cpu/index_mask.h"
#include "cpu/vec.h"

namespace dd2424::cpu::DD2424_ISA {
namespace {

constexpr Index kGrain = 1 << 15;  // elements worth a second thread
constexpr Index kColumns = 64;     // columns of an addition that a thread takes at least

inline Index smaller(Index a, Index b) { return a < b ? a : b; }

template <int bytes>
struct Cell {  // an element that is only moved
  unsigned char data[bytes];
};

template <int bytes>
void select_cells(const IndexSelect& a) {
  using C = Cell<bytes>;
  parallel_for(a.outer * a.n, kGrain, [&](Index begin, Index end) {
    Index o = begin / a.n, j = begin % a.n;
    for (Index k = begin; k < end; ++k) {
      static_cast<C*>(a.y)[k] = static_cast<const C*>(a.x)[o * a.size + a.index[j]];
      if (++j == a.n) j = 0, ++o;
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

// Calls body(line, first, last) for each line of the box, in row-major order; elements first ... last - 1 belong to it.
template <class Body>
void for_lines(const Strided<2>& at, const IndexedAt& indexed, const Box& box, const Body& body) {
  const int last = at.ndim - 1;
  Index from[kMaxDims], to[kMaxDims], position[kMaxDims];
  for (int d = 0; d < at.ndim; ++d) {
    from[d] = d == box.cut ? box.begin : 0;
    to[d] = d == box.cut ? box.end : at.shape[d];
    if (from[d] >= to[d]) return;
    position[d] = from[d];
  }
  for (;;) {
    body(line_at(at, indexed, position, last), from[last], to[last]);
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

template <class Body>
void for_lines_parallel(const Strided<2>& at, const IndexedAt& indexed, bool writes_x, const Body& body) {
  Index elements = 1;
  for (int d = 0; d < at.ndim; ++d) elements *= at.shape[d];
  const int cut = dimension_to_cut(at, writes_x);
  if (elements <= kGrain || cut < 0) return for_lines(at, indexed, {-1, 0, 0}, body);
  const Index across = elements / at.shape[cut];
  parallel_for(at.shape[cut], kGrain / across + 1,
               [&](Index begin, Index end) { for_lines(at, indexed, {cut, begin, end}, body); });
}

inline bool indexed_along(const IndexedAt& a, int dimension) {
  for (int t = 0; t < a.indices; ++t)
    if (a.index_strides[t][dimension] != 0) return true;
  return false;
}

template <int bytes, bool writes>
void copy_cells(const IndexedCopy& a) {
  using C = Cell<bytes>;
  C *x = static_cast<C*>(a.x), *y = static_cast<C*>(a.y);
  const int last = a.at.ndim - 1;
  const Index y_step = a.at.strides[0][last], x_step = a.at.strides[1][last];
  const bool varies = indexed_along(a.indexed, last);
  for_lines_parallel(a.at, a.indexed, writes, [&](const Line& line, Index begin, Index end) {
    C* const to = y + line.y;
    if (varies && a.indexed.indices == 1) {  // gather: the loop has no other loop in it
      const std::int64_t* index = a.indexed.index[0] + line.index[0];
      const Index index_step = a.indexed.index_strides[0][last], size = a.indexed.sizes[0], step = a.indexed.steps[0];
      for (Index i = begin; i < end; ++i) {
        const Index at = index[i * index_step];
        C& there = x[line.x + i * x_step + (at < 0 ? at + size : at) * step];
        if constexpr (writes) there = to[i * y_step];
        else to[i * y_step] = there;
      }
      return;
    }
    if (varies) {
      for (Index i = begin; i < end; ++i) {
        C& at = x[line.x + i * x_step + index_offset(a.indexed, line, last, i)];
        if constexpr (writes) at = to[i * y_step];
        else to[i * y_step] = at;
      }
      return;
    }
    C* const from = x + line.x + index_offset(a.indexed, line, last, 0);
    if (x_step == 1 && y_step == 1) {
      const std::size_t size = static_cast<std::size_t>(end - begin) * bytes;
      if constexpr (writes) memcpy(from + begin, to + begin, size);
      else memcpy(to + begin, from + begin, size);
      return;
    }
    for (Index i = begin; i < end; ++i) {
      if constexpr (writes) from[i * x_step] = to[i * y_step];
      else to[i * y_step] = from[i * x_step];
    }
  });
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

// Additions.

inline float value(bfloat16 x) { return to_float(x); }
template <Arithmetic T>
inline T value(T x) {
  return x;
}
inline void put(bfloat16& to, float x) { to = to_bfloat16(x); }
template <Arithmetic T>
inline void put(T& to, T x) {
  to = x;
}

// Integers wrap around.
template <class T>
inline T plus(T a, T b) {
  if constexpr (std::is_integral_v<T>) {
    using U = std::make_unsigned_t<T>;
    return static_cast<T>(static_cast<U>(static_cast<U>(a) + static_cast<U>(b)));
  } else {
    return a + b;
  }
}
template <class T>
inline T times(T a, T b) {
  if constexpr (std::is_integral_v<T>)
    return static_cast<T>(static_cast<std::uint64_t>(a) * static_cast<std::uint64_t>(b));
  else return a * b;
}

// Columns [begin, end) of slice o. A row's columns are added one by one, a column's rows in the order of j.
template <class T>
void add_columns(const IndexAdd<T>& a, Index o, Index begin, Index end) {
  using L = Lane<T>;
  const L scale = static_cast<L>(a.scale);
  for (Index j = 0; j < a.n; ++j) {
    T* y = a.y + (o * a.size + a.index[j]) * a.inner;
    const T* x = a.x + (o * a.n + j) * a.inner;
    if constexpr (std::is_integral_v<T>) {
      for (Index i = begin; i < end; ++i) y[i] = plus(y[i], times(x[i], scale));
    } else if (end - begin == 1) {
      put(y[begin], value(y[begin]) + scale * value(x[begin]));
    } else {
      map(y + begin, end - begin, [=](Vec<L> sum, Vec<L> v) { return sum + scale * v; }, y + begin, x + begin);
    }
  }
}

template <class T>
Status add(const Context&, const IndexAdd<T>& a) {
  const FloatMode mode;
  const Index blocks = (a.inner + kColumns - 1) / kColumns, work = a.n * smaller(a.inner, kColumns);
  if (work == 0) return Status::ok;
  parallel_for(a.outer * blocks, kGrain / work + 1, [&](Index begin, Index end) {
    for (Index k = begin; k < end;) {  // neighbouring blocks of one slice are added together
      const Index o = k / blocks, first = k % blocks, count = smaller(end - k, blocks - first);
      add_columns(a, o, first * kColumns, smaller((first + count) * kColumns, a.inner));
      k += count;
    }
  });
  return Status::ok;
}

// x[indexed i] = f(x[indexed i], y[i]), an element's in row-major order of i.
template <class T, class F>
Status update_indexed(const IndexedAdd<T>& a, const F& f) {
  const FloatMode mode;
  const int last = a.at.ndim - 1;
  const Index y_step = a.at.strides[0][last], x_step = a.at.strides[1][last];
  const bool varies = indexed_along(a.indexed, last);
  for_lines_parallel(a.at, a.indexed, true, [&](const Line& line, Index begin, Index end) {
    const Index fixed = varies ? 0 : index_offset(a.indexed, line, last, 0);
    for (Index i = begin; i < end; ++i) {
      const Index moved = varies ? index_offset(a.indexed, line, last, i) : fixed;
      T& x = a.x[line.x + i * x_step + moved];
      put(x, f(value(x), value(a.y[line.y + i * y_step])));
    }
  });
  return Status::ok;
}

template <class T>
Status add_at(const Context&, const IndexedAdd<T>& a) {
  return update_indexed(a, [](auto x, auto y) { return plus(x, y); });
}

template <class T>
Status scatter(const Context& context, ScatterOp op, const IndexedAdd<T>& a) {
  switch (op) {  // a NaN on either side wins
    case ScatterOp::sum: return add_at(context, a);
    case ScatterOp::prod: return update_indexed(a, [](auto x, auto y) { return times(x, y); });
    case ScatterOp::max: return update_indexed(a, [](auto x, auto y) { return x >= y || x != x ? x : y; });
    case ScatterOp::min: return update_indexed(a, [](auto x, auto y) { return x <= y || x != x ? x : y; });
  }
  return Status::unsupported;
}

// Batches from bytes.

inline Vec<float> load_bytes(const std::uint8_t* p, Index count) {
  LaneBytes<float>::Type bytes{};
  if (count >= kLanes<float>) __builtin_memcpy(&bytes, p, sizeof bytes);
  else memcpy(&bytes, p, static_cast<std::size_t>(count));
  return widen<float>(bytes);
}

constexpr Index kRows = 4;   // images at a time: their cache misses overlap, and mean and rstd are loaded once
constexpr Index kLine = 64;  // bytes that a prefetch brings
struct Rows {
  const std::uint8_t* x[kRows];
  const std::uint8_t* next[kRows];  // images that come after these
  float* y[kRows];
};

// y[r][i] = (x[r][i] - mean(i)) * rstd(i) for begin <= i < end, of which mean and rstd count from `begin`
template <Index rows, class Mean, class Rstd>
inline void normalize(const Rows& a, Index begin, Index end, const Mean& mean, const Rstd& rstd) {
  for (Index line = begin; line < end; line += kLine) {
    for (Index r = 0; r < rows; ++r) __builtin_prefetch(a.next[r] + line);
    const Index stop = smaller(line + kLine, end);
    for (Index i = line; i < stop; i += kLanes<float>) {
      const Index count = smaller(kLanes<float>, stop - i);
      const Vec<float> m = mean(i - begin, count), s = rstd(i - begin, count);
      for (Index r = 0; r < rows; ++r) {
        const Vec<float> v = (load_bytes(a.x[r] + i, count) - m) * s;
        if (count == kLanes<float>) store(a.y[r] + i, v);
        else store(a.y[r] + i, v, count);
      }
    }
  }
}

template <Index rows>
void normalize_rows(const GatherNormalize& a, const Rows& at) {
  if (a.spread == 1) {
    const auto from = [](const float* p) {
      return [p](Index i, Index count) { return count < kLanes<float> ? load(p + i, count) : load(p + i); };
    };
    return normalize<rows>(at, 0, a.inner, from(a.mean), from(a.rstd));
  }
  for (Index c = 0, i = 0; i < a.inner; ++c, i += a.spread) {
    const Vec<float> mean = broadcast(a.mean[c]), rstd = broadcast(a.rstd[c]);
    normalize<rows>(
        at, i, smaller(i + a.spread, a.inner), [=](Index, Index) { return mean; }, [=](Index, Index) { return rstd; });
  }
}

Status gather_normalize(const Context&, const GatherNormalize& a) {
  const FloatMode mode;
  if (a.inner == 0) return Status::ok;
  parallel_for(a.n, kGrain / a.inner + 1, [&](Index begin, Index end) {
    const auto image = [&](Index j) { return a.x + a.index[smaller(j, end - 1)] * a.inner; };
    for (Index j = begin, step = 1; j < end; j += step) {
      step = end - j < kRows ? 1 : kRows;
      Rows rows{};
      for (Index r = 0; r < step; ++r) {
        rows.x[r] = image(j + r);
        rows.next[r] = image(j + r + step);
        rows.y[r] = a.y + (j + r) * a.inner;
      }
      if (step == kRows) normalize_rows<kRows>(a, rows);
      else normalize_rows<1>(a, rows);
    }
  });
  return Status::ok;
}

constexpr IndexKernels kIndex{.select = select,
                              .read = copy_indexed<false>,
                              .write = copy_indexed<true>,
                              .gather_normalize = gather_normalize,
                              .count_true = count_true,
                              .select_true = select_true,
                              .find_true = find_true};
template <class T>
constexpr IndexAddKernels<T> kIndexAdd{.add = add<T>, .add_at = add_at<T>, .scatter = scatter<T>};

}  // namespace
}  // namespace dd2424::cpu::DD2424_ISA

namespace dd2424 {

DD2424_TABLE(IndexKernels, cpu::DD2424_ISA::kIndex)
DD2424_TABLE(IndexAddKernels<float>, cpu::DD2424_ISA::kIndexAdd<float>)
DD2424_TABLE(IndexAddKernels<double>, cpu::DD2424_ISA::kIndexAdd<double>)
DD2424_TABLE(IndexAddKernels<bfloat16>, cpu::DD2424_ISA::kIndexAdd<bfloat16>)
DD2424_TABLE(IndexAddKernels<std::int64_t>, cpu::DD2424_ISA::kIndexAdd<std::int64_t>)
DD2424_TABLE(IndexAddKernels<std::int32_t>, cpu::DD2424_ISA::kIndexAdd<std::int32_t>)
DD2424_TABLE(IndexAddKernels<std::int16_t>, cpu::DD2424_ISA::kIndexAdd<std::int16_t>)
DD2424_TABLE(IndexAddKernels<std::int8_t>, cpu::DD2424_ISA::kIndexAdd<std::int8_t>)
DD2424_TABLE(IndexAddKernels<std::uint8_t>, cpu::DD2424_ISA::kIndexAdd<std::uint8_t>)

}  // namespace dd2424
