#pragma once
// What the reduce files share. bfloat16 is reduced as float, the small integers and bool as int32: their terms pass
// through a buffer, so that there is code for four types only.
#include "core/parallel.h"
#include "core/reduce.h"
#include "cpu/vec.h"

namespace dd2424::cpu::DD2424_ISA {

template <class T>
struct ReducedAs {
  using Type = std::conditional_t<(sizeof(T) < 4), std::int32_t, T>;
};
using Byte = char;  // for any and all, which take bytes as they lie
template <>
struct ReducedAs<Byte> {
  using Type = Byte;
};
template <>
struct ReducedAs<bfloat16> {
  using Type = float;
};
template <class T>
using Compute = typename ReducedAs<T>::Type;
template <class C>
using Total = std::conditional_t<std::is_same_v<C, float>, double, C>;  // of blocks of terms

template <class C>  // contiguous terms that are summed at a time: 32 for each float lane; bytes have no sums
constexpr Index kRowBlock = (sizeof(C) == 1 ? 512 : 64) * kVectorBytes;
constexpr Index kColumnBlock = 64;   // terms of a column that are summed before they join the total
constexpr Index kColumnChunk = 256;  // terms of a column whose total joins the tree, at least
template <class C>
constexpr Index kColumnWidth = 8192 / sizeof(C);  // columns that are summed side by side, in the first-level cache
constexpr Index kReduceGrain = 32768;

// How terms of C are combined. p and q belong to sums about a point: one value per output.
template <class C>
struct Combination {
  Total<C> (*row)(const C* x, Index n, C p, C q);
  void (*start)(C* sums, Index width);
  // Adds up to four rows of `width` terms to the sums below them.
  void (*columns)(C* sums, const C* const* rows, int count, Index width, const C* p, const C* q);
  void (*join)(Total<C>* totals, const C* sums, Index width);                // totals += sums
  void (*join_totals)(Total<C>* totals, const Total<C>* more, Index width);  // totals += more
  Total<C> identity;
  bool ends = false;  // any and all: a total other than the identity is final
};

enum class Combine : std::uint8_t { sum, prod, max, min, sum_squares, sum_abs, any, all, about, squares_about };
template <class C>
const Combination<C>& combination(Combine how);

// Takes the totals of outputs [first, first + n).
template <class C>
struct Finish {
  void (*function)(const void* data, Index first, const Total<C>* totals, Index n);
  const void* data;
};

template <class T>
struct Reduction {
  const T* x;
  const ReduceShape* at;
  const Combination<Compute<T>>* combination;
  const Compute<T>*p = nullptr, *q = nullptr;  // (outputs), or null for 0
  Finish<Compute<T>> finish;
  void* workspace;
};
template <class T>
void reduce_rows(const Reduction<T>&);
template <class T>
void reduce_columns(const Reduction<T>&);

// Whether outputs lie closer together than terms: then they are computed side by side. Of the layout, so that a slice
// is reduced as its contiguous copy is.
bool by_columns(const ReduceShape& at);
std::size_t column_workspace(const ReduceShape& at);

// Where output `o`, term `t` lies.
inline Index offset_in(const ReduceShape& at, int first, int count, Index number) {
  if (count == 0) return 0;
  Index offset = 0;
  for (int d = first + count - 1; d > first; --d) {
    offset += number % at.shape[d] * at.strides[d];
    number /= at.shape[d];
  }
  return offset + number * at.strides[first];
}

template <class T>
inline Compute<T> computed(T x) {
  if constexpr (std::is_same_v<T, bfloat16>) return to_float(x);
  else return x;
}

// n elements `stride` apart, as a contiguous run of the type they are computed in.
template <class T>
inline void gather_run(Compute<T>* to, const T* from, Index stride, Index n) {
  if (stride == 1) {
    if constexpr (std::is_same_v<T, bfloat16>) {
      map(to, n, [](auto v) { return v; }, from);
    } else {
      for (Index i = 0; i < n; ++i) to[i] = computed(from[i]);
    }
    return;
  }
  for (Index i = 0; i < n; ++i) to[i] = computed(from[i * stride]);
}

// Terms [first, first + n) of the output that begins at x: where they lie, or gathered into `buffer`.
template <class T>
inline const Compute<T>* terms_of(const T* x, const ReduceShape& at, Index first, Index n, Compute<T>* buffer) {
  if (n == 0) return buffer;
  const int last = at.kept + at.reduced - 1;
  const bool one_run = at.reduced <= 1 || first % at.shape[last] + n <= at.shape[last];
  if constexpr (std::is_same_v<T, Compute<T>>)
    if (one_run && (at.reduced == 0 || at.strides[last] == 1)) return x + offset_in(at, at.kept, at.reduced, first);
  for (Index done = 0; done < n;) {
    Index run = n - done, stride = 1;
    if (at.reduced > 0) {
      const Index left = at.shape[last] - (first + done) % at.shape[last];
      if (left < run) run = left;
      stride = at.strides[last];
    }
    gather_run(buffer + done, x + offset_in(at, at.kept, at.reduced, first + done), stride, run);
    done += run;
  }
  return buffer;
}

}  // namespace dd2424::cpu::DD2424_ISA
