#pragma once
#include "cuda/norm_sums.h"

// Group norm. In NCHW a group of an item is one run of memory, summed as if it were a channel; channels-last, an item's
// channels are summed, and joined to groups.
namespace dd2424::cuda {
namespace {

template <class G>
Extent extent_of(const G& a) {  // of items' channels
  return a.channels_last ? Extent{a.items, a.inner, a.channels, 1} : Extent{a.items, 1, a.channels, a.inner};
}
inline Extent extent_of_runs(Index items, Index channels, Index groups, Index inner) {
  return {1, 1, items * groups, channels / groups * inner};
}

// A block for each group of an item: joins the moments of its chunks, and of its channels where they were summed apart.
template <class T>
__global__ void finish_groups_kernel(GroupNormForward<T> a, Index chunks, const Moments* parts) {
  using Acc = Accumulator<T>;
  const Index item = quotient(blockIdx.x, a.groups), group = blockIdx.x - item * a.groups;
  const Index size = quotient(a.channels, a.groups), lists = a.channels_last ? size : 1;
  const Index begin = item * a.channels + group * size;  // of the group's channels
  const auto first = [&](Index c) {
    return static_cast<double>(
        value(a.x[a.channels_last ? item * a.inner * a.channels + group * size + c : begin * a.inner]));
  };
  Moments m{};
  for (Index i = threadIdx.x; i < chunks * lists; i += kThreads) {
    const Index chunk = quotient(i, lists), c = i - chunk * lists;
    const Moments& part = a.channels_last ? parts[(item * chunks + chunk) * a.channels + group * size + c]
                                          : parts[chunk * a.items * a.groups + blockIdx.x];
    m = joined(m, part.about(first(c) - first(0)));
  }
  m = merged_down(m, 1);
  if (threadIdx.x != 0) return;
  const double origin = first(0), beyond = m.mean();
  const Acc mean = static_cast<Acc>(origin + beyond);
  a.mean[blockIdx.x] = mean;
  a.low[blockIdx.x] = static_cast<Acc>(origin - static_cast<double>(mean) + beyond);
  a.rstd[blockIdx.x] = Acc(1) / sqrt(static_cast<Acc>(m.m2() / m.n) + static_cast<Acc>(a.eps));
}

template <class T>
struct NormalizeGroups {
  using Acc = Accumulator<T>;
  GroupNormForward<T> a;
  Index size;
  bool aligned;
  struct Known {
    Acc mean, scale, shift;
  };
  __device__ Known of(Index item, Index c) const {
    const Index at = item * a.groups + quotient(c, size);
    const Acc scale = a.rstd[at] * (a.weight ? a.weight[c] : Acc(1));
    return {a.mean[at], scale, (a.bias ? a.bias[c] : Acc(0)) - a.low[at] * scale};
  }
  template <int W, int S>
  __device__ void apply(Index place, const Known (&known)[S]) const {
    Pack<T, W> v = load_pack<W>(a.x + place, aligned);
#pragma unroll
    for (int w = 0; w < W; ++w) {
      const Known& of = known[w % S];
      v.of[w] = element<T>(fma(value(v.of[w]) - of.mean, of.scale, of.shift));
    }
    store_pack<W>(a.y + place, v, aligned);
  }
};

template <class T>
Status group_norm_forward(const Context& context, const GroupNormForward<T>& given) {
  using Acc = Accumulator<T>;
  GroupNormForward<T> a = given;
  const Index groups = a.items * a.groups;
  if (a.items * a.channels * a.inner == 0) return Status::ok;
  auto* statistics = static_cast<Acc*>(context.workspace);
  if (!a.mean) a.mean = statistics, a.low = statistics + groups, a.rstd = statistics + 2 * groups;
  auto* parts = reinterpret_cast<Moments*>(static_cast<double*>(context.workspace) + 3 * groups);
  const Extent at = extent_of(a), runs = extent_of_runs(a.items, a.channels, a.groups, a.inner);
  Index chunks = 0;
  Status status = sum_moments(context, a.channels_last ? at : runs, a.x, parts, &chunks);
  if (status == Status::ok)
    status = launch(context, dim3(grid_size(groups)), dim3(kThreads), finish_groups_kernel<T>, a, chunks,
                    static_cast<const Moments*>(parts));
  if (status != Status::ok) return status;
  return map_channels<T>(context, at, NormalizeGroups<T>{a, a.channels / a.groups, are_aligned({a.x, a.y})});
}

// Backward. With n = (x - mean) * rstd and g = dy * weight, over the M elements of a group,
//   dx = rstd * (g - sum(g) / M - n * sum(g n) / M) = dy * slope - (x - mean) * tilt - shift
// The workspace holds the chunks' sums, those of items' channels, and each group's tilt and shift.

struct ChannelSums {
  double dy, dyn;
};
__device__ inline ChannelSums joined(const ChannelSums& a, const ChannelSums& b) {
  return {a.dy + b.dy, a.dyn + b.dyn};
}
struct GroupGradient {
  double tilt, shift;
};

template <class T>
__global__ void group_gradients_kernel(GroupNormBackward<T> a, Index chunks, const Sums* parts, ChannelSums* sums,
                                       GroupGradient* gradients) {
  const Index item = quotient(blockIdx.x, a.groups), size = quotient(a.channels, a.groups);
  const Index begin = (blockIdx.x - item * a.groups) * size;
  const double low = static_cast<double>(a.low[blockIdx.x]), rstd = static_cast<double>(a.rstd[blockIdx.x]);
  ChannelSums total{};
  for (Index c = begin + threadIdx.x; c < begin + size; c += kThreads) {
    Sums s{};
    for (Index chunk = 0; chunk < chunks; ++chunk) s = joined(s, parts[(item * chunks + chunk) * a.channels + c]);
    const double weight = a.weight ? static_cast<double>(a.weight[c]) : 1, dyn = rstd * (s.gx - low * s.g);
    sums[item * a.channels + c] = {s.g, dyn};
    total = joined(total, {weight * s.g, weight * dyn});
  }
  total = merged_down(total, 1);
  if (threadIdx.x != 0) return;
  const double n = static_cast<double>(size * a.inner), tilt = rstd * rstd * total.dyn / n;
  gradients[blockIdx.x] = {tilt, rstd * total.dy / n - tilt * low};
}

// The items' sums: 32 channels a block, 8 threads to each.
template <class T>
__global__ void join_items_kernel(GroupNormBackward<T> a, const ChannelSums* sums) {
  const Index c = static_cast<Index>(blockIdx.x) * kWarp + threadIdx.x % kWarp;
  ChannelSums total{};
  for (Index item = threadIdx.x / kWarp; c < a.channels && item < a.items; item += kThreads / kWarp) {
    total = joined(total, sums[item * a.channels + c]);
  }
  total = merged_down(total, kWarp);
  if (static_cast<int>(threadIdx.x) >= kWarp || c >= a.channels) return;
  if (a.dbias) a.dbias[c] = static_cast<Accumulator<T>>(total.dy);
  if (a.dweight) a.dweight[c] = static_cast<Accumulator<T>>(total.dyn);
}

template <class T>
struct DifferentiateGroups {
  using Acc = Accumulator<T>;
  GroupNormBackward<T> a;
  const GroupGradient* gradients;
  Index size;
  bool aligned;
  struct Known {
    Acc mean, slope, tilt, shift;
  };
  __device__ Known of(Index item, Index c) const {
    const Index at = item * a.groups + quotient(c, size);
    return {a.mean[at], a.rstd[at] * (a.weight ? a.weight[c] : Acc(1)), static_cast<Acc>(gradients[at].tilt),
            static_cast<Acc>(gradients[at].shift)};
  }
  template <int W, int S>
  __device__ void apply(Index place, const Known (&known)[S]) const {
    Pack<T, W> v = load_pack<W>(a.x + place, aligned);
    const Pack<T, W> dy = load_pack<W>(a.dy + place, aligned);
#pragma unroll
    for (int w = 0; w < W; ++w) {
      const Known& of = known[w % S];
      v.of[w] = element<T>(fma(value(dy.of[w]), of.slope, -fma(value(v.of[w]) - of.mean, of.tilt, of.shift)));
    }
    store_pack<W>(a.dx + place, v, aligned);
  }
};

template <class T>
Status group_norm_backward(const Context& context, const GroupNormBackward<T>& a) {
  using Acc = Accumulator<T>;
  if (a.channels == 0) return Status::ok;
  if (a.items * a.inner == 0)
    return launch_items(context, a.channels, clear_kernel<Acc>, a.dweight, a.dbias, a.channels);
  const Extent at = extent_of(a);
  const Gradients<T> from{.x = a.x,
                          .y = nullptr,
                          .dy = a.dy,
                          .dresidual = nullptr,
                          .mean = a.mean,
                          .scale = nullptr,
                          .shift = nullptr,
                          .found_again = false,
                          .aligned = are_aligned({a.x, a.dy}),
                          .groups = a.groups,
                          .group_size = a.channels / a.groups};
  auto* sums = static_cast<ChannelSums*>(context.workspace);
  auto* gradients = reinterpret_cast<GroupGradient*>(sums + a.items * a.channels);
  auto* parts = reinterpret_cast<Sums*>(gradients + a.items * a.groups);
  Index chunks = 0;
  Status status = sum_gradients(context, at, from, parts, &chunks);
  if (status == Status::ok)
    status = launch(context, dim3(grid_size(a.items * a.groups)), dim3(kThreads), group_gradients_kernel<T>, a, chunks,
                    static_cast<const Sums*>(parts), sums, gradients);
  if (status == Status::ok && (a.dweight || a.dbias))
    status = launch(context, dim3(grid_size(ceil_divide(a.channels, kWarp))), dim3(kThreads), join_items_kernel<T>, a,
                    static_cast<const ChannelSums*>(sums));
  if (status != Status::ok || !a.dx) return status;
  return map_channels<T>(context, at,
                         DifferentiateGroups<T>{a, gradients, from.group_size, are_aligned({a.x, a.dy, a.dx})});
}

inline std::size_t group_norm_workspace(Index items, Index channels, Index groups, Index inner, bool) {
  const Index first = Extent{items, 1, channels, inner}.chunks(), last = Extent{items, inner, channels, 1}.chunks();
  const Index runs = extent_of_runs(items, channels, groups, inner).chunks() * groups;
  const Index sums = items * at_least(channels * at_least(first, last), runs);
  return static_cast<std::size_t>(sums) * sizeof(Sums) +
         static_cast<std::size_t>(items * (2 * channels + 3 * groups)) * sizeof(double);
}

}  // namespace
}  // namespace dd2424::cuda
