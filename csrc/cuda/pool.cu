#include "core/pool.h"

#include <math.h>

#include <limits>

#include "cuda/launch.h"
#include "cuda/offer.h"
#include "cuda/value.h"

// A thread has an output or, on the way back, an element of dx, and looks through the windows that hold it: so nothing
// is added by two. Large windows of channels-first images are a warp's work.
namespace dd2424::cuda {
namespace {

constexpr Index kWarpTaps = 48;  // of a window that is worth a warp

__device__ inline Index up(Index a, Index b) { return a <= 0 ? 0 : quotient(a + b - 1, b); }
__device__ inline Index smaller(Index a, Index b) { return a < b ? a : b; }
__device__ inline Index larger(Index a, Index b) { return a > b ? a : b; }

struct Window {                    // along one dimension
  Index first, begin, end, count;  // where its taps begin, which of them are inside, how many in the padded image
  __device__ Window(const PoolAxis& a, Index o) {
    first = a.adaptive ? quotient(o * a.in, a.out) : o * a.stride - a.padding;
    const Index size = a.adaptive ? up((o + 1) * a.in, a.out) - first : a.kernel;
    begin = smaller(up(-first, a.dilation), size);
    end = larger(begin, smaller(size, up(a.in - first, a.dilation)));
    count = smaller(size, a.in + a.padding - first);
  }
};
struct Covering {  // the windows along one dimension that may hold element i
  Index begin, end;
  __device__ Covering(const PoolAxis& a, Index i) {
    begin = a.adaptive ? quotient(i * a.out, a.in) : up(i + a.padding - (a.kernel - 1) * a.dilation, a.stride);
    end = a.adaptive ? up((i + 1) * a.out, a.in) : smaller(a.out, quotient(i + a.padding, a.stride) + 1);
  }
};
// The tap of a window that is element i, or -1.
__device__ inline Index tap_at(const PoolAxis& a, const Window& window, Index i) {
  Index q = i - window.first;
  if (a.dilation > 1) {
    const Index rest = q;
    q = quotient(q, a.dilation);
    if (q * a.dilation != rest) return -1;
  }
  return q < window.end ? q : -1;
}

// An element's numbers: (planes, depth, height, width, channels).
struct Numbers {
  Index plane, d, h, w, channel;
  __device__ Numbers(const PoolSizes& s, Index i, Index depth, Index height, Index width) {
    const auto take = [&](Index size) {
      const Index rest = quotient(i, size), number = i - rest * size;
      i = rest;
      return number;
    };
    channel = take(s.channels), w = take(width), h = take(height), d = take(depth), plane = i;
  }
  __device__ static Numbers of_output(const PoolSizes& s, Index i) {
    return {s, i, s.axes[0].out, s.axes[1].out, s.axes[2].out};
  }
  __device__ static Numbers of_input(const PoolSizes& s, Index i) {
    return {s, i, s.axes[0].in, s.axes[1].in, s.axes[2].in};
  }
};
__device__ inline Index input_place(const PoolSizes& s, const Numbers& at, Index d, Index h, Index w) {
  return (((at.plane * s.axes[0].in + d) * s.axes[1].in + h) * s.axes[2].in + w) * s.channels + at.channel;
}
__device__ inline Index output_place(const PoolSizes& s, const Numbers& at, Index d, Index h, Index w) {
  return (((at.plane * s.axes[0].out + d) * s.axes[1].out + h) * s.axes[2].out + w) * s.channels + at.channel;
}
__device__ inline Index tap_number(const PoolSizes& s, Index qd, Index qh, Index qw) {
  return (qd * s.axes[1].kernel + qh) * s.axes[2].kernel + qw;
}

Index outputs(const PoolSizes& s) { return s.planes * s.axes[0].out * s.axes[1].out * s.axes[2].out * s.channels; }
Index inputs(const PoolSizes& s) { return s.planes * s.axes[0].in * s.axes[1].in * s.axes[2].in * s.channels; }
Index taps(const PoolSizes& s) { return s.axes[0].kernel * s.axes[1].kernel * s.axes[2].kernel; }

// Calls f(tap's number, place) for every lanes-th tap inside of a window, beginning with `lane`.
template <class F>
__device__ inline void for_taps(const PoolSizes& s, const Numbers& at, Index lane, Index lanes, const F& f) {
  const Window depth(s.axes[0], at.d), height(s.axes[1], at.h), width(s.axes[2], at.w);
  const auto visit = [&](Index qd, Index qh, Index qw) {
    f(tap_number(s, qd, qh, qw),
      input_place(s, at, depth.first + qd * s.axes[0].dilation, height.first + qh * s.axes[1].dilation,
                  width.first + qw * s.axes[2].dilation));
  };
  if (lanes == 1) {
    for (Index qd = depth.begin; qd < depth.end; ++qd)
      for (Index qh = height.begin; qh < height.end; ++qh)
        for (Index qw = width.begin; qw < width.end; ++qw) visit(qd, qh, qw);
    return;
  }
  const Index high = height.end - height.begin, wide = width.end - width.begin;
  for (Index i = lane; i < (depth.end - depth.begin) * high * wide; i += lanes) {
    const Index row = quotient(i, wide), slice = quotient(row, high);
    visit(depth.begin + slice, height.begin + row - slice * high, width.begin + i - row * wide);
  }
}

template <class T>
__device__ constexpr Computed<T> lowest() {
  using C = Computed<T>;
  if constexpr (std::is_floating_point_v<C>) return -std::numeric_limits<C>::infinity();
  else return std::numeric_limits<C>::lowest();
}

// An element takes the window over if it is greater than those before it, or NaN: so the first of equals stays.
template <class C>
struct Greatest {
  C value;
  int tap;
};
template <class C>
__device__ inline Greatest<C> later(const Greatest<C>& a, const Greatest<C>& b) {  // of parts of a window, in any order
  const bool a_nan = a.value != a.value, b_nan = b.value != b.value;
  if (a_nan && b_nan) return a.tap > b.tap ? a : b;  // the last NaN
  if (a_nan || b_nan) return a_nan ? a : b;
  if (a.value == b.value) return a.tap < b.tap ? a : b;
  return a.value > b.value ? a : b;
}

template <class T, class Tap>
__global__ void max_forward_kernel(MaxPoolForward<T> a, Index n, int lanes) {
  using C = Computed<T>;
  const PoolSizes& s = a.sizes;
  for_each_item(n * lanes, [&](Index item) {
    const Index i = lanes == 1 ? item : item / kWarp, lane = lanes == 1 ? 0 : item % kWarp;
    const Numbers at = Numbers::of_output(s, i);
    const Window depth(s.axes[0], at.d), height(s.axes[1], at.h), width(s.axes[2], at.w);
    Greatest<C> best{lowest<T>(), static_cast<int>(tap_number(s, depth.begin, height.begin, width.begin))};
    for_taps(s, at, lane, lanes, [&](Index tap, Index place) {
      const C v = value(a.x[place]);
      if (v > best.value || v != v) best = {v, static_cast<int>(tap)};
    });
    for (int step = kWarp / 2; lanes > 1 && step > 0; step /= 2)
      best = later(best, {static_cast<C>(__shfl_xor_sync(0xffffffff, best.value, step)),
                          __shfl_xor_sync(0xffffffff, best.tap, step)});
    if (lane != 0) return;
    a.y[i] = element<T>(best.value);
    static_cast<Tap*>(a.taps)[i] = static_cast<Tap>(best.tap);
  });
}

// Calls f(output's place, the tap of its window that is the element) for the windows that hold an element.
template <class F>
__device__ inline void for_covering(const PoolSizes& s, const Numbers& at, const F& f) {
  const Covering depth(s.axes[0], at.d), height(s.axes[1], at.h), width(s.axes[2], at.w);
  for (Index od = depth.begin; od < depth.end; ++od) {
    const Window in_depth(s.axes[0], od);
    const Index qd = tap_at(s.axes[0], in_depth, at.d);
    for (Index oh = height.begin; qd >= 0 && oh < height.end; ++oh) {
      const Window in_height(s.axes[1], oh);
      const Index qh = tap_at(s.axes[1], in_height, at.h);
      for (Index ow = width.begin; qh >= 0 && ow < width.end; ++ow) {
        const Window in_width(s.axes[2], ow);
        const Index qw = tap_at(s.axes[2], in_width, at.w);
        if (qw >= 0) f(output_place(s, at, od, oh, ow), tap_number(s, qd, qh, qw), in_depth, in_height, in_width);
      }
    }
  }
}

template <class T, class Tap>
__global__ void max_backward_kernel(MaxPoolBackward<T> a, Index n) {
  const PoolSizes& s = a.sizes;
  for_each_item(n, [&](Index i) {
    Computed<T> sum = 0;
    const Tap* taps = static_cast<const Tap*>(a.taps);
    for_covering(s, Numbers::of_input(s, i), [&](Index place, Index tap, const Window&, const Window&, const Window&) {
      if (static_cast<Index>(taps[place]) == tap) sum += value(a.dy[place]);
    });
    a.dx[i] = element<T>(sum);
  });
}

template <class Tap>
__global__ void locate_kernel(MaxPoolLocate a, Index n) {
  const PoolSizes& s = a.sizes;
  for_each_item(n, [&](Index i) {
    const Numbers at = Numbers::of_output(s, i);
    const Index tap = static_cast<Index>(static_cast<const Tap*>(a.taps)[i]);
    const Index row = quotient(tap, s.axes[2].kernel), slice = quotient(row, s.axes[1].kernel);
    const Index d = Window(s.axes[0], at.d).first + slice * s.axes[0].dilation;
    const Index h = Window(s.axes[1], at.h).first + (row - slice * s.axes[1].kernel) * s.axes[1].dilation;
    const Index w = Window(s.axes[2], at.w).first + (tap - row * s.axes[2].kernel) * s.axes[2].dilation;
    a.index[i] = (d * s.axes[1].in + h) * s.axes[2].in + w;
  });
}

template <class T>
__device__ inline Computed<T> divisor(const AveragePool<T>& a, const Window& d, const Window& h, const Window& w) {
  const auto counted = [&](const Window& window) {
    return a.counts_padding ? window.count : window.end - window.begin;
  };
  return static_cast<Computed<T>>(a.divisor ? a.divisor : counted(d) * counted(h) * counted(w));
}

template <class T>
__global__ void average_forward_kernel(AveragePool<T> a, Index n, int lanes) {
  using C = Computed<T>;
  const PoolSizes& s = a.sizes;
  for_each_item(n * lanes, [&](Index item) {
    const Index i = lanes == 1 ? item : item / kWarp, lane = lanes == 1 ? 0 : item % kWarp;
    const Numbers at = Numbers::of_output(s, i);
    C sum = 0;
    for_taps(s, at, lane, lanes, [&](Index, Index place) { sum += value(a.x[place]); });
    for (int step = kWarp / 2; lanes > 1 && step > 0; step /= 2) sum += __shfl_xor_sync(0xffffffff, sum, step);
    if (lane != 0) return;
    const C whole = divisor(a, Window(s.axes[0], at.d), Window(s.axes[1], at.h), Window(s.axes[2], at.w));
    a.y[i] = element<T>(sum / whole);
  });
}

template <class T>
__global__ void average_backward_kernel(AveragePool<T> a, Index n) {
  const PoolSizes& s = a.sizes;
  for_each_item(n, [&](Index i) {
    Computed<T> sum = 0;
    for_covering(s, Numbers::of_input(s, i),
                 [&](Index place, Index, const Window& d, const Window& h, const Window& w) {
                   sum += value(a.x[place]) / divisor(a, d, h, w);
                 });
    a.y[i] = element<T>(sum);
  });
}

int lanes_of(const PoolSizes& s) { return s.channels == 1 && taps(s) >= kWarpTaps ? kWarp : 1; }

template <class T>
Status max_pool_forward(const Context& context, const MaxPoolForward<T>& a) {
  const Index n = outputs(a.sizes);
  const int lanes = lanes_of(a.sizes);
  if (tap_bytes(a.sizes) == 1)
    return launch_items(context, n * lanes, max_forward_kernel<T, std::uint8_t>, a, n, lanes);
  return launch_items(context, n * lanes, max_forward_kernel<T, std::int32_t>, a, n, lanes);
}
template <class T>
Status max_pool_backward(const Context& context, const MaxPoolBackward<T>& a) {
  const Index n = inputs(a.sizes);
  if (tap_bytes(a.sizes) == 1) return launch_items(context, n, max_backward_kernel<T, std::uint8_t>, a, n);
  return launch_items(context, n, max_backward_kernel<T, std::int32_t>, a, n);
}
Status max_pool_locate(const Context& context, const MaxPoolLocate& a) {
  const Index n = outputs(a.sizes);
  if (tap_bytes(a.sizes) == 1) return launch_items(context, n, locate_kernel<std::uint8_t>, a, n);
  return launch_items(context, n, locate_kernel<std::int32_t>, a, n);
}
template <class T>
Status average_pool_forward(const Context& context, const AveragePool<T>& a) {
  const Index n = outputs(a.sizes);
  const int lanes = lanes_of(a.sizes);
  return launch_items(context, n * lanes, average_forward_kernel<T>, a, n, lanes);
}
template <class T>
Status average_pool_backward(const Context& context, const AveragePool<T>& a) {
  const Index n = inputs(a.sizes);
  return launch_items(context, n, average_backward_kernel<T>, a, n);
}
std::size_t pool_workspace(const PoolSizes&) { return 0; }

template <class T>
constexpr PoolKernels<T> table() {
  PoolKernels<T> kernels{};
  kernels.max_pool_forward = max_pool_forward<T>;
  kernels.max_pool_locate = max_pool_locate;
  kernels.pool_workspace = pool_workspace;
  if constexpr (!std::is_integral_v<T>) {
    kernels.max_pool_backward = max_pool_backward<T>;
    kernels.average_pool_forward = average_pool_forward<T>;
    kernels.average_pool_backward = average_pool_backward<T>;
  }
  return kernels;
}
template <class T>
constexpr PoolKernels<T> kPool = table<T>();

}  // namespace

void offer_pool(DeviceTables& tables) {
  offer(tables, kPool<float>);
  offer(tables, kPool<double>);
  offer(tables, kPool<bfloat16>);
  offer(tables, kPool<std::int64_t>);
  offer(tables, kPool<std::int32_t>);
  offer(tables, kPool<std::int16_t>);
  offer(tables, kPool<std::int8_t>);
  offer(tables, kPool<std::uint8_t>);
}

}  // namespace dd2424::cuda
