#pragma once
#include "core/types.h"

namespace dd2424 {

// Which of a row's places are wanted: those stated, or the middle one (the lower of two), where the first NaN comes
// before everything or where NaN do not count.
enum class Rank : std::uint8_t { stated, median, nanmedian };

// Rows in a stable order: equal elements stay as they stood, -0.0 equals 0.0, NaN counts as the largest and equals
// itself. Of each ordered row the places first ... last - 1 are written: all of them, the first k, or the k-th alone.
// That order is unique, so nothing about the way to it shows in the result.
template <class T>
struct Sort {
  const T* x;             // (rows, n), n < 2^32
  T* values;              // (rows, last - first)
  std::int64_t* indices;  // likewise: where along the row each one stood
  Index rows, n, first, last;
  bool descending;
  Rank rank = Rank::stated;  // for the others last - first is 1
};
// y[r, j] = how many elements of the ordered row r are less than x[r, j], or with `right` no greater.
template <class T>
struct Search {
  const T* sorted;  // (rows, n), or (n) for all rows: sorted_step is n or 0
  const T* x;       // (rows, m)
  std::int64_t* y;  // (rows, m)
  Index rows, n, m, sorted_step;
  bool right;
};
// The largest (smallest) element so far and its place, the last of equals; from the first NaN on, the last NaN so far.
template <class T>
struct RunningExtreme {
  const T* x;             // (outer, n, inner)
  T* values;              // likewise
  std::int64_t* indices;  // likewise
  Index outer, n, inner;
  bool largest;
};

template <class T>
struct SortKernels {  // float, double, int64, int32: the rest is ordered as one of these
  Status (*sort)(const Context&, const Sort<T>&);
  std::size_t (*sort_workspace)(Index rows, Index n);  // bytes
  Status (*search)(const Context&, const Search<T>&);
  Status (*running_extreme)(const Context&, const RunningExtreme<T>&);
};

}  // namespace dd2424
