#pragma once
#include "core/types.h"

namespace dd2424 {

// Batch normalisation over all but the channels of x, which is (outer, channels, inner) and contiguous: inner is 1 for
// (N, C), the number of pixels for NCHW; channels-last is (N * pixels, C, 1).
//   y = (x - mean) * scale + shift + residual, then ReLU where `relu`
template <class T>
struct BatchNormForward {
  using Acc = Accumulator<T>;
  const T* x;
  const T* residual;  // as x, or null
  const Acc* weight;  // (channels), or null for 1
  const Acc* bias;    // (channels), or null for 0
  T* y;               // may be x
  Acc* mean;          // (channels): of the batch in training, else running_mean
  Acc* rstd;          // (channels): 1 / sqrt(var + eps)
  Acc* scale;         // (channels): rstd * weight
  Acc* shift;         // (channels): bias, and what rounding the mean has left out
  Acc* running_mean;  // (channels), or null: moved by `momentum` towards the batch's, in training
  Acc* running_var;   // (channels), or null: likewise, the batch's variance with 1 / (n - 1)
  Index outer, channels, inner;
  double eps, momentum;
  bool training;
  bool relu;
  std::uint8_t* passed = nullptr;  // or, with relu and a residual, a bit for each element that has passed the ReLU
};
template <class T>
struct BatchNormBackward {
  using Acc = Accumulator<T>;
  const T* x;
  const T* y;  // with relu and a residual, where dy counts only at y > 0; else null: y is found again from x
               // (not read where there is `passed`)
  const T* dy;
  const Acc *mean, *rstd, *scale, *shift;  // (channels), of forward
  T* dx;                                   // or null: not wanted
  T* dresidual;                            // where there is a y; else null: it is dy
  Acc* dweight;                            // or null
  Acc* dbias;                              // or null
  Index outer, channels, inner;
  bool training;  // false: mean and rstd are constants
  bool relu;
  const std::uint8_t* passed = nullptr;  // as forward has left it, or null; then dx and dresidual are not
};
// Whether there may be `passed`: its rows, of inner pixels or else of channels, start at a whole word.
inline bool keeps_passed(Index channels, Index inner) { return (inner > 1 ? inner : channels) % 64 == 0; }

// Layer norm of the rows of x, or root mean square norm, which takes the mean for 0; x is (rows, cols), contiguous.
//   y = (x - mean) * rstd * weight + bias
// With a residual it is that of their sum, which is an output too.
template <class T>
struct RowNormForward {
  using Acc = Accumulator<T>;
  const T* x;
  const Acc* weight;  // (cols), or null for 1
  const Acc* bias;    // (cols), or null for 0
  T* y;               // may be x
  Acc* mean;  // (rows): for backward; mean + low is the row's mean. With rstd null none of the three is written,
  Acc* low;   // (rows)  and where the mean is taken for 0, only rstd
  Acc* rstd;  // (rows)
  Index rows, cols;
  double eps;
  bool centred;                 // false: the mean is taken for 0
  const T* residual = nullptr;  // as x, or null
  T* sum = nullptr;             // x + residual, which then takes the place of x; may be either
};
template <class T>
struct RowNormBackward {
  using Acc = Accumulator<T>;
  const T* x;  // with a residual, the sum
  const T* dy;
  const Acc* weight;  // or null
  const Acc *mean, *low, *rstd;
  T* dx;         // or null: not wanted
  Acc* dweight;  // or null
  Acc* dbias;    // or null
  Index rows, cols;
  bool centred;
  const T* dsum = nullptr;  // what is added to dx: the sum's own gradient, or null
};

// Group norm: the channels of each item in `groups` runs of neighbours, each normalised over all its elements.
//   y = (x - mean) * rstd * weight + bias
// x is (items, channels, inner), or with channels_last (items, inner, channels), and contiguous.
constexpr Index kMostChannelsLast = 512;  // of a group, where x is channels-last
template <class T>
struct GroupNormForward {
  using Acc = Accumulator<T>;
  const T* x;
  const Acc* weight;  // (channels), or null for 1
  const Acc* bias;    // (channels), or null for 0
  T* y;               // may be x
  Acc* mean;          // (items, groups): for backward; mean + low is the group's mean. The three may be null
  Acc* low;           // (items, groups)
  Acc* rstd;          // (items, groups)
  Index items, channels, groups, inner;
  double eps;
  bool channels_last;
};
template <class T>
struct GroupNormBackward {
  using Acc = Accumulator<T>;
  const T *x, *dy;
  const Acc* weight;  // or null
  const Acc *mean, *low, *rstd;
  T* dx;         // or null: not wanted
  Acc* dweight;  // or null
  Acc* dbias;    // or null
  Index items, channels, groups, inner;
  bool channels_last;
};

// Local response normalisation: with s = k + slope * (sum of x^2 over channels c - before ... c + after),
//   y = x * s^-beta
// or, where dy is given, y is the gradient of x. Laid out as for batch norm.
template <class T>
struct LocalResponse {
  const T* x;
  const T* dy;  // or null: forward
  T* y;
  Index outer, channels, inner;
  Index before, after;
  double slope, beta, k;
};

template <class T>
struct NormKernels {  // float, double, bfloat16, float16
  Status (*batch_norm_forward)(const Context&, const BatchNormForward<T>&);
  Status (*batch_norm_backward)(const Context&, const BatchNormBackward<T>&);
  std::size_t (*batch_norm_workspace)(Index outer, Index channels, Index inner);  // bytes, for both
  Status (*row_norm_forward)(const Context&, const RowNormForward<T>&);
  Status (*row_norm_backward)(const Context&, const RowNormBackward<T>&);
  std::size_t (*row_norm_workspace)(Index rows, Index cols);  // bytes, for backward with dweight or dbias
  Status (*local_response)(const Context&, const LocalResponse<T>&);
  std::size_t (*local_response_workspace)(const LocalResponse<T>&);
  Status (*group_norm_forward)(const Context&, const GroupNormForward<T>&);
  Status (*group_norm_backward)(const Context&, const GroupNormBackward<T>&);
  std::size_t (*group_norm_workspace)(Index items, Index channels, Index groups, Index inner, bool forward);  // bytes
};

}  // namespace dd2424
