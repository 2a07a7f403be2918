#pragma once
#include <limits>

#include "core/pool.h"
#include "cuda/value.h"
#include "cuda/walk.h"

// Where the windows of pooling lie. Numbers have 32 bits: a launch has planes of no more elements than that.
namespace dd2424::cuda {
namespace {

__device__ inline int smaller(int a, int b) { return a < b ? a : b; }
__device__ inline int larger(int a, int b) { return a > b ? a : b; }

template <class T>
__device__ constexpr Computed<T> lowest() {
  using C = Computed<T>;
  if constexpr (std::is_floating_point_v<C>) return -std::numeric_limits<C>::infinity();
  else return std::numeric_limits<C>::lowest();
}

struct Axis {  // PoolAxis, with what divides by its numbers
  int in, out, kernel, stride, padding, dilation;
  bool adaptive;
  Divider by_in, by_out, by_stride, by_dilation, by_kernel;
  Axis() = default;
  explicit Axis(const PoolAxis& a)
      : in(static_cast<int>(a.in)),
        out(static_cast<int>(a.out)),
        kernel(static_cast<int>(a.kernel)),
        stride(static_cast<int>(a.stride)),
        padding(static_cast<int>(a.padding)),
        dilation(static_cast<int>(a.dilation)),
        adaptive(a.adaptive),
        by_in(a.in),
        by_out(a.out),
        by_stride(a.adaptive ? 1 : a.stride),
        by_dilation(a.adaptive ? 1 : a.dilation),
        by_kernel(a.kernel) {}
};
__device__ inline int over(int n, const Divider& by) {
  return static_cast<int>(by.quotient(static_cast<std::uint32_t>(n)));
}
__device__ inline int up(int n, const Divider& by) {
  return n <= 0 ? 0 : over(n + static_cast<int>(by.divisor) - 1, by);
}
// o * a / b, downwards or upwards, for an adaptive window.
__device__ inline int part(int o, int a, int b) { return static_cast<int>(quotient(Index{o} * a, b)); }
__device__ inline int part_up(int o, int a, int b) { return static_cast<int>(quotient(Index{o} * a + b - 1, b)); }

struct Window {                  // along one dimension
  int first, begin, end, count;  // where its taps begin, which of them are inside, how many in the padded image
  __device__ Window(const Axis& a, int o) {
    first = a.adaptive ? part(o, a.in, a.out) : o * a.stride - a.padding;
    const int size = a.adaptive ? part_up(o + 1, a.in, a.out) - first : a.kernel;
    begin = smaller(up(-first, a.by_dilation), size);
    end = larger(begin, smaller(size, up(a.in - first, a.by_dilation)));
    count = smaller(size, a.in + a.padding - first);
  }
};
struct Covering {  // the windows along one dimension that may hold element i
  int begin, end;
  __device__ Covering(const Axis& a, int i) {
    begin = a.adaptive ? part(i, a.out, a.in) : up(i + a.padding - (a.kernel - 1) * a.dilation, a.by_stride);
    end = a.adaptive ? part_up(i + 1, a.out, a.in) : smaller(a.out, over(i + a.padding, a.by_stride) + 1);
  }
};
// The tap of a window that is element i, or -1.
__device__ inline int tap_at(const Axis& a, const Window& window, int i) {
  int q = i - window.first;
  if (a.dilation > 1) {
    const int rest = q;
    q = over(q, a.by_dilation);
    if (q * a.dilation != rest) return -1;
  }
  return q < window.end ? q : -1;
}

struct Sizes {  // PoolSizes
  int channels, outputs, inputs;
  Divider by_channels;
  Axis depth, height, width;
  explicit Sizes(const PoolSizes& s)
      : channels(static_cast<int>(s.channels)),
        by_channels(s.channels),
        depth(s.axes[0]),
        height(s.axes[1]),
        width(s.axes[2]) {
    outputs = static_cast<int>(s.planes) * depth.out * height.out * width.out * channels;
    inputs = static_cast<int>(s.planes) * depth.in * height.in * width.in * channels;
  }
};

// An element's numbers: (planes, depth, height, width, channels).
struct Numbers {
  int plane, d, h, w, channel;
  __device__ Numbers(int i, const Divider& channels, const Divider& width, const Divider& height,
                     const Divider& depth) {
    const auto take = [&](const Divider& size) {
      const int rest = over(i, size), number = i - rest * static_cast<int>(size.divisor);
      i = rest;
      return number;
    };
    channel = take(channels), w = take(width), h = take(height), d = take(depth), plane = i;
  }
  __device__ static Numbers of_output(const Sizes& s, int i) {
    return {i, s.by_channels, s.width.by_out, s.height.by_out, s.depth.by_out};
  }
  __device__ static Numbers of_input(const Sizes& s, int i) {
    return {i, s.by_channels, s.width.by_in, s.height.by_in, s.depth.by_in};
  }
};
__device__ inline int input_place(const Sizes& s, const Numbers& at, int d, int h, int w) {
  return (((at.plane * s.depth.in + d) * s.height.in + h) * s.width.in + w) * s.channels + at.channel;
}
__device__ inline int output_place(const Sizes& s, const Numbers& at, int d, int h, int w) {
  return (((at.plane * s.depth.out + d) * s.height.out + h) * s.width.out + w) * s.channels + at.channel;
}
__device__ inline int tap_number(const Sizes& s, int qd, int qh, int qw) {
  return (qd * s.height.kernel + qh) * s.width.kernel + qw;
}

// Calls f(tap's number, place) for every lanes-th tap inside of a window, beginning with `lane`.
template <class F>
__device__ inline void for_taps(const Sizes& s, const Numbers& at, int lane, int lanes, const F& f) {
  const Window depth(s.depth, at.d), height(s.height, at.h), width(s.width, at.w);
  const auto visit = [&](int qd, int qh, int qw) {
    f(tap_number(s, qd, qh, qw),
      input_place(s, at, depth.first + qd * s.depth.dilation, height.first + qh * s.height.dilation,
                  width.first + qw * s.width.dilation));
  };
  if (lanes == 1) {
    for (int qd = depth.begin; qd < depth.end; ++qd)
      for (int qh = height.begin; qh < height.end; ++qh)
        for (int qw = width.begin; qw < width.end; ++qw) visit(qd, qh, qw);
    return;
  }
  const int high = height.end - height.begin, wide = width.end - width.begin, deep = depth.end - depth.begin;
  int row = 0, column = lane;  // of the rows of all slices
  for (const int rows = deep * high;;) {
    for (; column >= wide && row < rows; column -= wide) ++row;
    if (row >= rows) return;
    const int slice = deep == 1 ? 0 : row / high;
    visit(depth.begin + slice, height.begin + row - slice * high, width.begin + column);
    column += lanes;
  }
}

// Calls f(output's place, the tap of its window that is the element) for the windows that hold an element.
template <class F>
__device__ inline void for_covering(const Sizes& s, const Numbers& at, const F& f) {
  const Covering depth(s.depth, at.d), height(s.height, at.h), width(s.width, at.w);
  for (int od = depth.begin; od < depth.end; ++od) {
    const Window in_depth(s.depth, od);
    const int qd = tap_at(s.depth, in_depth, at.d);
    for (int oh = height.begin; qd >= 0 && oh < height.end; ++oh) {
      const Window in_height(s.height, oh);
      const int qh = tap_at(s.height, in_height, at.h);
      for (int ow = width.begin; qh >= 0 && ow < width.end; ++ow) {
        const Window in_width(s.width, ow);
        const int qw = tap_at(s.width, in_width, at.w);
        if (qw >= 0) f(output_place(s, at, od, oh, ow), tap_number(s, qd, qh, qw), in_depth, in_height, in_width);
      }
    }
  }
}

Index outputs_of_plane(const PoolSizes& s) { return s.axes[0].out * s.axes[1].out * s.axes[2].out * s.channels; }
Index inputs_of_plane(const PoolSizes& s) { return s.axes[0].in * s.axes[1].in * s.axes[2].in * s.channels; }
Index taps(const PoolSizes& s) { return s.axes[0].kernel * s.axes[1].kernel * s.axes[2].kernel; }

// Calls run(sizes of some planes, inputs before them, outputs before them).
template <class F>
Status for_planes(const PoolSizes& s, const F& run) {
  constexpr Index most = Index{1} << 30;  // so that what is added to a number has room
  const Index in = inputs_of_plane(s), out = outputs_of_plane(s), largest = in > out ? in : out;
  if (largest > most) return Status::unsupported;
  const Index planes = largest == 0 ? s.planes : most / largest;
  for (Index plane = 0; plane < s.planes; plane += planes) {
    PoolSizes some = s;
    some.planes = s.planes - plane < planes ? s.planes - plane : planes;
    const Status status = run(some, plane * in, plane * out);
    if (status != Status::ok) return status;
  }
  return Status::ok;
}

}  // namespace
}  // namespace dd2424::cuda
