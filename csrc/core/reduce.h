#pragma once
#include "core/types.h"

namespace dd2424 {

// How a reduction walks x: the first `kept` dimensions number the outputs (row-major, contiguous), the other `reduced`
// are combined. Both groups are collapsed; either may be empty. Strides are of x, in elements.
struct ReduceShape {
  int kept, reduced;
  Index shape[kMaxDims], strides[kMaxDims];
  Index outputs, terms;  // the products of the two groups' sizes
};

enum class ReduceOp : std::uint8_t { sum, prod, max, min, sum_squares, sum_abs };
enum class ArgOp : std::uint8_t { argmax, argmin };
enum class LogicOp : std::uint8_t { any, all };

template <class T>
struct Reduce {
  const T* x;
  T* y;  // (outputs); sums in Accumulator<T>, then rounded once; scaled by `scale`, which makes a sum a mean
  ReduceShape at;
  double scale = 1;  // floating types, sums only
};
template <class T>
struct ArgReduce {  // terms >= 1; the first of equals; a NaN wins
  const T* x;
  T* value;      // (outputs), or null
  Index* index;  // (outputs): the term's number, row-major over the reduced dimensions
  ReduceShape at;
};
template <class T>
struct Variance {
  const T* x;
  Accumulator<T>* mean;      // (outputs)
  Accumulator<T>* variance;  // (outputs): sum of (x - mean)^2 / (terms - correction), about the first term
  ReduceShape at;
  double correction;
};
template <class T>
struct Logic {
  const T* x;
  bool* y;  // (outputs)
  ReduceShape at;
};
template <class T>
struct Scan {  // along one dimension: x and y are (outer, n, inner), contiguous
  const T* x;
  T* y;
  Index outer, n, inner;
};

// sums of floats run over chunks in a fixed tree (reduction_chunks), so that the error grows with log(terms).
template <class T>
struct ReduceKernels {
  Status (*reduce)(const Context&, ReduceOp, const Reduce<T>&);
  Status (*arg_reduce)(const Context&, ArgOp, const ArgReduce<T>&);
  Status (*variance)(const Context&, const Variance<T>&);  // floating types
  Status (*logic)(const Context&, LogicOp, const Logic<T>&);
  Status (*cumsum)(const Context&, const Scan<T>&);
  Status (*cumprod)(const Context&, const Scan<T>&);
  std::size_t (*workspace)(const ReduceShape&);  // bytes, for reduce, arg_reduce, variance and logic
};

}  // namespace dd2424
