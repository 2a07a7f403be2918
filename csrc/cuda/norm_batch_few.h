#pragma once
#include "cuda/norm_batch.h"

// Batch norm of few elements a channel, as small networks have it: one launch in place of three. A channel's threads
// come back to its elements, which the processor's own cache still has.
namespace dd2424::cuda {
namespace {

constexpr int kFewThreads = 512;
constexpr int kFewSide = 8;          // channels of a block, where neighbouring elements are of neighbouring channels
constexpr Index kFewOfAThread = 16;  // elements, at most

struct FewCut {
  int side, lanes;  // channels of a block, threads of each
};
inline FewCut few_cut(const Extent& at) {
  const int side = at.in_columns() ? kFewSide : 1;
  const int lanes = power_of_two(ceil_divide(at.count(), 2), kFewThreads / side);
  return {side, lanes > kWarp / side ? lanes : kWarp / side};
}
inline dim3 few_grid(const Extent& at, const FewCut& cut) {
  return dim3(grid_size(ceil_divide(at.channels, cut.side)));
}
inline dim3 few_threads(const FewCut& cut) { return dim3(static_cast<unsigned>(cut.side * cut.lanes)); }
inline bool has_few(const Extent& at) {
  return at.count() <= kFewOfAThread * (kFewThreads / (at.in_columns() ? kFewSide : 1));
}

struct FewSeat {
  Index channel, lane;
  __device__ explicit FewSeat(const FewCut& cut)
      : channel(static_cast<Index>(blockIdx.x) * cut.side + threadIdx.x % static_cast<unsigned>(cut.side)),
        lane(static_cast<Index>(threadIdx.x) / cut.side) {}
  // Calls f(place) for each of the thread's elements.
  template <class F>
  __device__ void each(const Extent& at, const FewCut& cut, const F& f) const {
    if (channel >= at.channels) return;
#pragma unroll 4
    for (Index i = lane; i < at.count(); i += cut.lanes) {
      const Index row = at.in_columns() ? i : quotient(i, at.inner);
      f((row * at.channels + channel) * at.inner + (i - row * at.inner));
    }
  }
};

// The states of a channel's threads, joined; each of them gets the same.
template <class State>
__device__ State few_joined(State mine, const FewCut& cut) {
  __shared__ State states[kFewThreads / kWarp][kFewSide];
  const int thread = static_cast<int>(threadIdx.x), channel = thread % cut.side, warps = cut.side * cut.lanes / kWarp;
  for (int step = kWarp / 2; step >= cut.side; step /= 2) mine = joined(mine, shuffled_down(mine, step));
  __syncthreads();  // of the call before
  if (thread % kWarp < cut.side) states[thread / kWarp][channel] = mine;
  __syncthreads();
  State all = states[0][channel];
  for (int warp = 1; warp < warps; ++warp) all = joined(all, states[warp][channel]);
  return all;
}

template <class T>
__global__ void __launch_bounds__(kFewThreads) few_forward_kernel(Normalize<T> f, Extent at, FewCut cut) {
  using C = Computed<T>;
  const BatchNormForward<T>& a = f.a;
  const FewSeat seat(cut);
  Moments m{static_cast<double>(at.count()), 0, 0};
  seat.each(at, cut, [&](Index place) { m.sum += static_cast<double>(value(a.x[place])); });
  m.sum = few_joined(m, cut).sum;
  const C mean = static_cast<C>(m.mean());
  m = {};
  seat.each(at, cut, [&](Index place) {
    const double d = static_cast<double>(value(a.x[place]) - mean);
    m = joined(m, {1, d, d * d});
  });
  m = few_joined(m, cut);
  if (seat.channel >= at.channels) return;
  const auto of = affine(a, seat.channel, mean, static_cast<C>(m.mean()), static_cast<C>(m.m2() / m.n));
  if (seat.lane == 0) keep_statistics(a, seat.channel, of, m.m2());
  const typename Normalize<T>::Known known[1] = {{of.mean, of.scale, of.shift}};
  seat.each(at, cut, [&](Index place) { f.template apply<1>(place, known); });
}

template <class T>
__global__ void __launch_bounds__(kFewThreads)
    few_backward_kernel(BatchNormBackward<T> a, Gradients<T> from, Extent at, FewCut cut) {
  using C = Computed<T>;
  const FewSeat seat(cut);
  Sums sums{};
  typename Gradients<T>::Known of{};
  if (seat.channel < at.channels) of = from.of(0, seat.channel);
  seat.each(at, cut, [&](Index place) {
    const C d = value(a.x[place]) - of.mean;
    C g = through(value(a.dy[place]), fma(d, of.scale, of.shift));
    if (a.y) g = through(g, value(a.y[place])), a.dresidual[place] = element<T>(g);
    sums =
        joined(sums, {static_cast<double>(g), static_cast<double>(g) * static_cast<double>(d), static_cast<double>(d)});
  });
  sums = few_joined(sums, cut);
  if (seat.channel >= at.channels) return;
  const auto found = gradient_factors(a, seat.channel, sums);
  if (seat.lane == 0) keep_gradients(a, seat.channel, sums.g, found.dweight);
  if (!a.dx) return;
  const Differentiate<T> f{from, a.dx, nullptr, at.channels, false};
  const typename Differentiate<T>::Known known[1] = {{of, found.slope, found.tilt, found.shift}};
  seat.each(at, cut, [&](Index place) { f.template apply<1>(place, known); });
}

template <class T>
Status batch_norm_forward(const Context& context, const BatchNormForward<T>& a) {
  const Extent at{1, a.outer, a.channels, a.inner};
  if (a.channels == 0 || (a.training && at.count() == 0)) return Status::ok;
  const Normalize<T> normalize{a, are_aligned({a.x, a.residual, a.y})};
  if (a.training && has_few(at)) {
    const FewCut cut = few_cut(at);
    return launch(context, few_grid(at, cut), few_threads(cut), few_forward_kernel<T>, normalize, at, cut);
  }
  Status status;
  if (a.training) {
    auto* parts = static_cast<Moments*>(context.workspace);
    Index chunks = 0;
    status = sum_moments(context, at, a.x, parts, &chunks);
    if (status == Status::ok)
      status = launch(context, dim3(grid_size(ceil_divide(a.channels, kFinished))), dim3(kThreads), finish_kernel<T>, a,
                      chunks, static_cast<const Moments*>(parts));
  } else {
    status = launch_items(context, a.channels, given_kernel<T>, a);
  }
  if (status != Status::ok || at.count() == 0) return status;
  return map_channels<T>(context, at, normalize);
}

template <class T>
Status batch_norm_backward(const Context& context, const BatchNormBackward<T>& a) {
  using Acc = Accumulator<T>;
  const Extent at{1, a.outer, a.channels, a.inner};
  if (a.channels == 0) return Status::ok;
  if (at.count() == 0) return launch_items(context, a.channels, clear_kernel<Acc>, a.dweight, a.dbias, a.channels);
  const Gradients<T> from{.x = a.x,
                          .y = a.y,
                          .dy = a.dy,
                          .dresidual = a.dresidual,
                          .mean = a.mean,
                          .scale = a.scale,
                          .shift = a.shift,
                          .found_again = a.relu && !a.y,
                          .aligned = are_aligned({a.x, a.y, a.dy, a.dresidual}),
                          .groups = 0,
                          .group_size = 0};
  if (has_few(at)) {
    const FewCut cut = few_cut(at);
    return launch(context, few_grid(at, cut), few_threads(cut), few_backward_kernel<T>, a, from, at, cut);
  }
  auto* parts = static_cast<Sums*>(context.workspace);
  auto* found = reinterpret_cast<Acc*>(parts + at.chunks() * a.channels);
  Index chunks = 0;
  Status status = sum_gradients(context, at, from, parts, &chunks);
  if (status != Status::ok) return status;
  status = launch(context, dim3(grid_size(ceil_divide(a.channels, kFinished))), dim3(kThreads),
                  finish_gradients_kernel<T>, a, chunks, static_cast<const Sums*>(parts), found);
  if (status != Status::ok || !a.dx) return status;
  const bool aligned = are_aligned({a.x, a.y ? a.dresidual : a.dy, a.dx});
  return map_channels<T>(context, at, Differentiate<T>{from, a.dx, found, a.channels, aligned});
}

inline std::size_t batch_norm_workspace(Index outer, Index channels, Index inner) {
  const Index sums = Extent{1, outer, channels, inner}.chunks() * channels;
  return static_cast<std::size_t>(sums) * sizeof(Sums) + static_cast<std::size_t>(3 * channels) * sizeof(double);
}

}  // namespace
}  // namespace dd2424::cuda
