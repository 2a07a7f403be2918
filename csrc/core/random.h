#pragma once
#include "core/philox.h"
#include "core/types.h"

namespace dd2424 {

enum class Distribution : std::uint8_t { uniform, normal, bernoulli, exponential, cauchy, log_normal, geometric };

// y[i] from word i of the draw (floats) or words 2i, 2i+1 (doubles, and the pairs Box-Muller needs).
template <class T>
struct Random {
  T* y;
  Index n;
  double p,
      q;  // uniform: low, high. normal, cauchy, log_normal: location, scale. bernoulli, geometric: p. exponential: rate
  Philox bits;
};
struct RandomInteger {  // low <= y[i] < high, from 64 bits by multiplication
  std::int64_t* y;
  Index n;
  std::int64_t low, high;
  Philox bits;
};
struct Permutation {  // Fisher-Yates from the end
  std::int64_t* y;
  Index n;
  Philox bits;
};
// y = keep ? x * scale + shift : dropped, keep[i] with probability 1 - p. Backward is the same call on dy, without
// shift and with 0 for dropped: the mask is drawn again.
template <class T>
struct Dropout {
  const T* x;
  T* y;            // may be x
  Index n, inner;  // element i takes the bit i / inner (inner > 1: whole channels)
  double p, scale;
  Philox bits;
  double shift = -0.0, dropped = 0;  // of a shift, -0 is the one that changes no x
};

struct RandomIntegerKernels {
  Status (*integers)(const Context&, const RandomInteger&);
  Status (*permutation)(const Context&, const Permutation&);
};
template <class T>
struct RandomKernels {  // float, double, bfloat16, float16
  Status (*random)(const Context&, Distribution, const Random<T>&);
  Status (*dropout)(const Context&, const Dropout<T>&);
};

}  // namespace dd2424
