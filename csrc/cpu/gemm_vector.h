#pragma once
// A matrix times a vector, both along k: as many rows at a time as a vector has lanes, whose sums over the lanes then
// fill one vector. Every element of the matrix is read once, so the memory it comes from decides.
#include "cpu/gemm_dot.h"

namespace dd2424::cpu::DD2424_ISA {
namespace {

// The products of rows i ... i + kLanes - 1 (those beyond the end repeat the last one) with the vector.
template <class T, class Acc = Accumulator<T>>
inline Vec<Acc> rows_times_vector(const Dot<T>& d, Index i) {
  constexpr Index lanes = kLanes<Acc>;
  const T* rows[lanes];
  for (Index r = 0; r < lanes; ++r) rows[r] = d.a + (i + r < d.m ? i + r : d.m - 1) * d.a_row;
  Vec<Acc> sums[lanes]{};
  Index p = 0;
  for (; p + lanes <= d.k; p += lanes) {
    const Vec<Acc> x = load(d.b + p);
#pragma GCC unroll 16
    for (Index r = 0; r < lanes; ++r) sums[r] = fma(load(rows[r] + p), x, sums[r]);
  }
  if (const Index left = d.k - p; left > 0) {
    const Vec<Acc> x = load(d.b + p, left);
#pragma GCC unroll 16
    for (Index r = 0; r < lanes; ++r) sums[r] = fma(load(rows[r] + p, left), x, sums[r]);
  }
  return sums_over_lanes<Acc>(sums);
}

// d.n is 1. The output's rows are taken for columns, so that bias and epilogue go along them.
template <class T>
void multiply_vector(const Dot<T>& d, Output<T> to, Index grain_macs) {
  using Acc = Accumulator<T>;
  constexpr Index lanes = kLanes<Acc>, width = kWidestTile * lanes;
  to.c_column = to.c_row, to.bias_column = to.bias_row;
  parallel_for((d.m + width - 1) / width, 1 + grain_macs / (width * d.k), [&](Index begin, Index end) {
    for (Index block = begin; block < end; ++block) {
      alignas(64) Acc sums[width];
      const Index first = block * width, count = d.m - first < width ? d.m - first : width;
      for (Index i = 0; i < count; i += lanes) store(sums + i, rows_times_vector(d, first + i));
      finish(to, {0, first, 1, count, true, true}, sums, width);
    }
  });
}

}  // namespace
}  // namespace dd2424::cpu::DD2424_ISA
