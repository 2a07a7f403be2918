#include "core/float_mode.h"
#include "core/index.h"
#include "core/parallel.h"
#include "core/table.h"
#include "cpu/index_walk.h"
#include "cpu/sizes.h"
#include "cpu/vec.h"

// Sums and extremes where indices say: of rows, and of elements.
namespace dd2424::cpu::DD2424_ISA {
namespace {

constexpr Index kGrain = 1 << 15;  // elements worth a second thread
constexpr Index kColumns = 64;     // columns of an addition that a thread takes at least
constexpr Index kRowParts = 8;     // parts of the rows that are added to, where columns are few
constexpr Index kWideRow = 8;      // columns that make passing over an index cheap

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

struct Span {
  Index begin, end;
};

// Some rows and columns of slice o. A row's columns are added one by one, a column's rows in the order of j.
template <class T>
void add_part(const IndexAdd<T>& a, Index o, const Span& rows, const Span& columns) {
  using L = Lane<T>;
  const Index begin = columns.begin, end = columns.end;
  for (Index j = 0; j < a.n; ++j) {
    const Index row = a.index[j];
    const L scale = a.factor ? a.factor[j] : static_cast<L>(a.scale);
    if (row < rows.begin || row >= rows.end || (a.factor && scale == 0)) continue;
    T* y = a.y + (o * a.size + row) * a.inner;
    const T* x = a.x + (a.source ? a.source[j] : o * a.n + j) * a.inner;
    if constexpr (std::is_integral_v<T>) {
      for (Index i = begin; i < end; ++i) y[i] = plus(y[i], times(x[i], scale));
    } else if (end - begin == 1) {
      put(y[begin], value(y[begin]) + scale * value(x[begin]));
    } else {
      map(y + begin, end - begin, [=](Vec<L> sum, Vec<L> v) { return sum + scale * v; }, y + begin, x + begin);
    }
  }
}

// Threads share out columns; where these are few, rows too, and each thread passes over the others' indices.
template <class T>
Status add(const Context&, const IndexAdd<T>& a) {
  const FloatMode mode;
  const Index blocks = ceil_div(a.inner, kColumns), whole = a.n * smaller(a.inner, kColumns);
  if (whole == 0) return Status::ok;
  const bool is_divided = whole >= kGrain && a.outer * blocks < kRowParts && a.inner >= kWideRow;
  const Index parts = is_divided ? smaller(kRowParts, a.size) : 1;
  parallel_for(a.outer * parts * blocks, kGrain * parts / whole + 1, [&](Index begin, Index end) {
    for (Index k = begin; k < end;) {  // neighbouring blocks of one slice are added together
      const Index slice = k / blocks, first = k % blocks, count = smaller(end - k, blocks - first),
                  part = slice % parts;
      add_part(a, slice / parts, {a.size * part / parts, a.size * (part + 1) / parts},
               {first * kColumns, smaller((first + count) * kColumns, a.inner)});
      k += count;
    }
  });
  return Status::ok;
}

// The largest of the rows that go to one place and where each column's comes from, the first of equals; a NaN wins.
template <class T>
void join_largest(const RowExtreme<T>& a, Index begin, Index end) {
  for (Index j = 0; j < a.n; ++j) {
    if (a.index[j] < begin || a.index[j] >= end) continue;
    T* y = a.y + a.index[j] * a.inner;
    std::int64_t* from = a.from + a.index[j] * a.inner;
    const T* x = a.x + a.source[j] * a.inner;
    for (Index i = 0; i < a.inner; ++i) {
      const auto best = value(y[i]), v = value(x[i]);
      const bool is_new = from[i] < 0 || (best == best && !(v <= best));
      y[i] = is_new ? x[i] : y[i];
      from[i] = is_new ? a.source[j] : from[i];
    }
  }
}
template <class T>
Status largest_rows(const Context&, const RowExtreme<T>& a) {
  const Index parts = a.n * a.inner < kGrain ? 1 : smaller(kRowParts, a.rows);
  parallel_for(parts, 1,
               [&](Index begin, Index end) { join_largest(a, a.rows * begin / parts, a.rows * end / parts); });
  return Status::ok;
}

struct Steps {
  Index x, y, index;
};
template <class T, class F>
[[gnu::noinline]] bool update_line(const OneIndex index, const Steps by, T* x, const T* y, const std::int64_t* numbers,
                                   Index count, const F f) {
  bool is_outside = false;
  const bool is_dense = by.x == 0 && by.y == 1 && by.index == 1 && index.step == 1;
  for (Index begin = 0; begin < count; begin += kNumbers) {
    const Index end = smaller(begin + kNumbers, count);
    if (is_dense && are_inside(numbers + begin, end - begin, index.size)) {
      for (Index i = begin; i < end; ++i) put(x[numbers[i]], f(value(x[numbers[i]]), value(y[i])));
      continue;
    }
    for (Index i = begin; i < end; ++i) {
      T& there = x[i * by.x + index.place(numbers[i * by.index], is_outside)];
      put(there, f(value(there), value(y[i * by.y])));
    }
  }
  return is_outside;
}

// x[indexed i] = f(x[indexed i], y[i]), an element's in row-major order of i.
template <class T, class F>
Status update_indexed(const IndexedAdd<T>& a, const F f) {
  const FloatMode mode;
  const int last = a.at.ndim - 1;
  const Steps by{a.at.strides[1][last], a.at.strides[0][last], a.indexed.index_strides[0][last]};
  const auto body = [=, &a](const Line& line, Index begin, Index end) {
    T* const x = a.x + line.x;
    const T* const y = a.y + line.y;
    if (a.indexed.indices == 1) {
      const std::int64_t* const numbers = a.indexed.index[0] + line.index[0] + begin * by.index;
      const OneIndex index(a.indexed, a.outside);
      return report(a.outside, update_line(index, by, x + begin * by.x, y + begin * by.y, numbers, end - begin, f));
    }
    for (Index i = begin; i < end; ++i) {
      T& there = x[i * by.x + index_offset(a.indexed, line, last, i)];
      put(there, f(value(there), value(y[i * by.y])));
    }
  };
  for_lines_parallel(a.at, a.indexed, true, line_body(body));
  return Status::ok;
}

template <class T>
Status add_at(const Context&, const IndexedAdd<T>& a) {
  return update_indexed(a, [](auto x, auto y) { return plus(x, y); });
}

template <class T>
Status scatter(const Context& context, ScatterOp op, const IndexedAdd<T>& a) {
  if (op == ScatterOp::sum) return add_at(context, a);
  return update_indexed(a, [op](auto x, auto y) {  // the rarer ones share their code
    if (op == ScatterOp::prod) return times(x, y);
    const bool stays = op == ScatterOp::max ? x >= y : x <= y;
    return stays || x != x ? x : y;  // a NaN on either side wins
  });
}

template <class T>
constexpr auto largest_rows_of() {
  if constexpr (std::is_integral_v<T>) return nullptr;
  else return largest_rows<T>;
}
template <class T>
constexpr IndexAddKernels<T> kIndexAdd{
    .add = add<T>, .add_at = add_at<T>, .scatter = scatter<T>, .largest_rows = largest_rows_of<T>()};

}  // namespace
}  // namespace dd2424::cpu::DD2424_ISA

namespace dd2424 {

DD2424_TABLE(IndexAddKernels<float>, cpu::DD2424_ISA::kIndexAdd<float>)
DD2424_TABLE(IndexAddKernels<double>, cpu::DD2424_ISA::kIndexAdd<double>)
DD2424_TABLE(IndexAddKernels<bfloat16>, cpu::DD2424_ISA::kIndexAdd<bfloat16>)
DD2424_TABLE(IndexAddKernels<std::int64_t>, cpu::DD2424_ISA::kIndexAdd<std::int64_t>)
DD2424_TABLE(IndexAddKernels<std::int32_t>, cpu::DD2424_ISA::kIndexAdd<std::int32_t>)
DD2424_TABLE(IndexAddKernels<std::int16_t>, cpu::DD2424_ISA::kIndexAdd<std::int16_t>)
DD2424_TABLE(IndexAddKernels<std::int8_t>, cpu::DD2424_ISA::kIndexAdd<std::int8_t>)
DD2424_TABLE(IndexAddKernels<std::uint8_t>, cpu::DD2424_ISA::kIndexAdd<std::uint8_t>)

}  // namespace dd2424
