#pragma once
#include "core/types.h"

namespace dd2424 {

// The windows along one dimension of space. Window o has the taps first(o) + q * dilation, 0 <= q < kernel, of which
// those inside [0, in) count; first(o) = o * stride - padding. Adaptive ones reach from floor(o * in / out) to
// ceil((o + 1) * in / out); their kernel is the longest.
struct PoolAxis {
  Index in, out;
  Index kernel, stride, padding, dilation;
  bool adaptive;
};
// Pooling over depth, height and width; where there are fewer, the first are 1. Images lie (planes, *space, channels):
// channels-first ones have N * C planes of 1 channel, channels-last ones N planes of C.
struct PoolSizes {
  static constexpr int kSpace = 3;
  Index planes, channels;
  PoolAxis axes[kSpace];
};

// A tap's number in its window, (qd * kernel[1] + qh) * kernel[2] + qw, is kept in this many bytes.
constexpr Index tap_bytes(const PoolSizes& s) {
  return s.axes[0].kernel * s.axes[1].kernel * s.axes[2].kernel <= 256 ? 1 : 4;
}

template <class T>
struct MaxPoolForward {
  PoolSizes sizes;
  const T* x;  // (planes, *in, channels)
  T* y;        // (planes, *out, channels)
  void* taps;  // like y: of the first greatest element, or of the last NaN; uint8 or int32
};
template <class T>
struct MaxPoolBackward {
  PoolSizes sizes;
  const void* taps;
  const T* dy;
  T* dx;
};
struct MaxPoolLocate {
  PoolSizes sizes;
  const void* taps;
  std::int64_t* index;  // like y: where in the plane the tap stands, (d * H + h) * W + w
};

template <class T>
struct AveragePool {
  PoolSizes sizes;
  const T* x;     // forward: (planes, *in, channels); backward: dy, (planes, *out, channels)
  T* y;           // forward: (planes, *out, channels); backward: dx, (planes, *in, channels)
  Index divisor;  // 0: the number of taps
  bool counts_padding;
};

template <class T>
struct PoolKernels {  // float, double, bfloat16, float16; max alone for integers
  Status (*max_pool_forward)(const Context&, const MaxPoolForward<T>&);
  Status (*max_pool_backward)(const Context&, const MaxPoolBackward<T>&);
  Status (*max_pool_locate)(const Context&, const MaxPoolLocate&);
  Status (*average_pool_forward)(const Context&, const AveragePool<T>&);
  Status (*average_pool_backward)(const Context&, const AveragePool<T>&);
  std::size_t (*pool_workspace)(const PoolSizes&);  // bytes
};

}  // namespace dd2424
