#include "core/pool.h"

#include <math.h>

#include "cuda/offer.h"
#include "cuda/pool_max.h"
#include "cuda/value.h"

// A thread has an output or, on the way back, an element of dx, and looks through the windows that hold it: so nothing
// is added by two. Large windows of channels-first images are a warp's work.
namespace dd2424::cuda {
namespace {

constexpr Index kWarpTaps = 48;  // of a window that is worth a warp

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
__global__ void max_forward_kernel(const T* x, T* y, Tap* taps, Sizes s, int lanes) {
  using C = Computed<T>;
  for_each_item(Index{s.outputs} * lanes, [&](Index item) {
    const int i = static_cast<int>(lanes == 1 ? item : item / kWarp), lane = lanes == 1 ? 0 : threadIdx.x % kWarp;
    const Numbers at = Numbers::of_output(s, i);
    const Window depth(s.depth, at.d), height(s.height, at.h), width(s.width, at.w);
    Greatest<C> best{lowest<T>(), tap_number(s, depth.begin, height.begin, width.begin)};
    for_taps(s, at, lane, lanes, [&](int tap, int place) {
      const C v = value(x[place]);
      if (v > best.value || v != v) best = {v, tap};
    });
    for (int step = kWarp / 2; lanes > 1 && step > 0; step /= 2)
      best = later(best, {static_cast<C>(__shfl_xor_sync(0xffffffff, best.value, step)),
                          __shfl_xor_sync(0xffffffff, best.tap, step)});
    if (lane != 0) return;
    y[i] = element<T>(best.value);
    taps[i] = static_cast<Tap>(best.tap);
  });
}
template <class T, class Tap>
__global__ void max_backward_kernel(const Tap* taps, const T* dy, T* dx, Sizes s) {
  for_each_item(s.inputs, [&](Index i) {
    Computed<T> sum = 0;
    for_covering(s, Numbers::of_input(s, static_cast<int>(i)),
                 [&](int place, int tap, const Window&, const Window&, const Window&) {
                   if (static_cast<int>(taps[place]) == tap) sum += value(dy[place]);
                 });
    dx[i] = element<T>(sum);
  });
}

template <class Tap>
__global__ void locate_kernel(const Tap* taps, std::int64_t* index, Sizes s) {
  for_each_item(s.outputs, [&](Index i) {
    const Numbers at = Numbers::of_output(s, static_cast<int>(i));
    const int tap = static_cast<int>(taps[i]), row = over(tap, s.width.by_kernel),
              slice = over(row, s.height.by_kernel);
    const int d = Window(s.depth, at.d).first + slice * s.depth.dilation;
    const int h = Window(s.height, at.h).first + (row - slice * s.height.kernel) * s.height.dilation;
    const int w = Window(s.width, at.w).first + (tap - row * s.width.kernel) * s.width.dilation;
    index[i] = (d * s.height.in + h) * s.width.in + w;
  });
}

template <class T>
struct Divisor {  // of an average
  int given;      // or 0: the number of taps
  bool counts_padding;
  __device__ Computed<T> operator()(const Window& d, const Window& h, const Window& w) const {
    const auto counted = [&](const Window& window) {
      return counts_padding ? window.count : window.end - window.begin;
    };
    return static_cast<Computed<T>>(given ? given : counted(d) * counted(h) * counted(w));
  }
};
template <class T>
__global__ void average_forward_kernel(const T* x, T* y, Sizes s, Divisor<T> divisor, int lanes) {
  using C = Computed<T>;
  for_each_item(Index{s.outputs} * lanes, [&](Index item) {
    const int i = static_cast<int>(lanes == 1 ? item : item / kWarp), lane = lanes == 1 ? 0 : threadIdx.x % kWarp;
    const Numbers at = Numbers::of_output(s, i);
    C sum = 0;
    for_taps(s, at, lane, lanes, [&](int, int place) { sum += value(x[place]); });
    for (int step = kWarp / 2; lanes > 1 && step > 0; step /= 2) sum += __shfl_xor_sync(0xffffffff, sum, step);
    if (lane == 0)
      y[i] = element<T>(sum / divisor(Window(s.depth, at.d), Window(s.height, at.h), Window(s.width, at.w)));
  });
}
template <class T>
__global__ void average_backward_kernel(const T* dy, T* dx, Sizes s, Divisor<T> divisor) {
  for_each_item(s.inputs, [&](Index i) {
    Computed<T> sum = 0;
    for_covering(s, Numbers::of_input(s, static_cast<int>(i)),
                 [&](int place, int, const Window& d, const Window& h, const Window& w) {
                   sum += value(dy[place]) / divisor(d, h, w);
                 });
    dx[i] = element<T>(sum);
  });
}

int lanes_of(const PoolSizes& s) { return s.channels == 1 && taps(s) >= kWarpTaps ? kWarp : 1; }

// Calls f with the type that taps are kept in.
template <class F>
Status with_taps(const PoolSizes& s, const F& f) {
  return tap_bytes(s) == 1 ? f(std::uint8_t()) : f(std::int32_t());
}

template <class T>
Status max_pool_forward(const Context& context, const MaxPoolForward<T>& a) {
  if constexpr (!std::is_integral_v<T>) {
    if (has_window<2, 2>(a.sizes)) return max_window<T, 2, 2>(context, a);
    if (has_window<3, 2>(a.sizes)) return max_window<T, 3, 2>(context, a);
  }
  const int lanes = lanes_of(a.sizes);
  return with_taps(a.sizes, [&]<class Tap>(Tap) {
    return for_planes(a.sizes, [&](const PoolSizes& some, Index in, Index out) {
      const Sizes s(some);
      return launch_items(context, Index{s.outputs} * lanes, max_forward_kernel<T, Tap>, a.x + in, a.y + out,
                          static_cast<Tap*>(a.taps) + out, s, lanes);
    });
  });
}
template <class T>
Status max_pool_backward(const Context& context, const MaxPoolBackward<T>& a) {
  if (has_window<2, 2>(a.sizes)) return max_window_backward<T, 2, 2>(context, a);
  if (has_window<3, 2>(a.sizes)) return max_window_backward<T, 3, 2>(context, a);
  return with_taps(a.sizes, [&]<class Tap>(Tap) {
    return for_planes(a.sizes, [&](const PoolSizes& some, Index in, Index out) {
      const Sizes s(some);
      return launch_items(context, Index{s.inputs}, max_backward_kernel<T, Tap>, static_cast<const Tap*>(a.taps) + out,
                          a.dy + out, a.dx + in, s);
    });
  });
}
Status max_pool_locate(const Context& context, const MaxPoolLocate& a) {
  return with_taps(a.sizes, [&]<class Tap>(Tap) {
    return for_planes(a.sizes, [&](const PoolSizes& some, Index, Index out) {
      const Sizes s(some);
      return launch_items(context, Index{s.outputs}, locate_kernel<Tap>, static_cast<const Tap*>(a.taps) + out,
                          a.index + out, s);
    });
  });
}
template <class T>
Status average_pool_forward(const Context& context, const AveragePool<T>& a) {
  const int lanes = lanes_of(a.sizes);
  const Divisor<T> divisor{static_cast<int>(a.divisor), a.counts_padding};
  return for_planes(a.sizes, [&](const PoolSizes& some, Index in, Index out) {
    const Sizes s(some);
    return launch_items(context, Index{s.outputs} * lanes, average_forward_kernel<T>, a.x + in, a.y + out, s, divisor,
                        lanes);
  });
}
template <class T>
Status average_pool_backward(const Context& context, const AveragePool<T>& a) {
  const Divisor<T> divisor{static_cast<int>(a.divisor), a.counts_padding};
  return for_planes(a.sizes, [&](const PoolSizes& some, Index in, Index out) {
    const Sizes s(some);
    return launch_items(context, Index{s.inputs}, average_backward_kernel<T>, a.x + out, a.y + in, s, divisor);
  });
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
  offer(tables, kPool<float16>);
  offer(tables, kPool<std::int64_t>);
  offer(tables, kPool<std::int32_t>);
  offer(tables, kPool<std::int16_t>);
  offer(tables, kPool<std::int8_t>);
  offer(tables, kPool<std::uint8_t>);
}

}  // namespace dd2424::cuda
