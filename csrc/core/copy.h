#pragma once
#include "core/types.h"

namespace dd2424 {

// y = x, converted: to integers towards zero, to bool by x != 0, to narrower floats to the nearest even.
struct Copy {
  const void* x;
  void* y;  // does not overlap x
  DType x_dtype, y_dtype;
  Strided<2> at;  // y, x
};
struct Fill {
  void* y;
  DType dtype;
  Strided<1> at;
  const void* value;  // one element of dtype
};
struct Arange {  // y[i] = start + i * step, for i < n, computed in double (int64 for integer types)
  void* y;
  DType dtype;
  Index n;
  double start, step;
  std::int64_t int_start, int_step;
};

// Every pair of types; a transposed copy goes by blocks.
struct CopyKernels {
  Status (*copy)(const Context&, const Copy&);
  Status (*fill)(const Context&, const Fill&);
  Status (*arange)(const Context&, const Arange&);
};

}  // namespace dd2424
