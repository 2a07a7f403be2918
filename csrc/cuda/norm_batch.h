#pragma once
#include "cuda/norm_sums.h"

// Batch norm: the moments of all channels in one pass, joined in a second small one; then the result in another.
namespace dd2424::cuda {
namespace {

template <class T>
__device__ void keep_affine(const BatchNormForward<T>& a, Index c, Accumulator<T> mean, Accumulator<T> low,
                            Accumulator<T> var) {
  using Acc = Accumulator<T>;
  const Acc rstd = Acc(1) / sqrt(var + static_cast<Acc>(a.eps)), scale = rstd * (a.weight ? a.weight[c] : Acc(1));
  a.mean[c] = mean;
  a.rstd[c] = rstd;
  a.scale[c] = scale;
  a.shift[c] = (a.bias ? a.bias[c] : Acc(0)) - low * scale;
}

template <class T>
__global__ void given_kernel(BatchNormForward<T> a) {
  for_each_item(a.channels,
                [&](Index c) { keep_affine(a, c, a.running_mean[c], Accumulator<T>(0), a.running_var[c]); });
}

// 32 channels a block; 8 threads of each join every 8th chunk.
template <class T>
__global__ void finish_kernel(BatchNormForward<T> a, Index chunks, const Moments* parts) {
  using Acc = Accumulator<T>;
  const Index c = static_cast<Index>(blockIdx.x) * kWarp + threadIdx.x % kWarp;
  Moments m{};
  for (Index chunk = threadIdx.x / kWarp; c < a.channels && chunk < chunks; chunk += kThreads / kWarp)
    m = joined(m, parts[chunk * a.channels + c]);
  m = merged_down(m, kWarp);
  if (static_cast<int>(threadIdx.x) >= kWarp || c >= a.channels) return;
  const double origin = static_cast<double>(value(a.x[c * a.inner]));
  const Acc mean = static_cast<Acc>(origin + m.mean);
  const Acc low = static_cast<Acc>(origin - static_cast<double>(mean) + m.mean);
  const Acc moved = static_cast<Acc>(a.momentum), stays = static_cast<Acc>(1 - a.momentum);
  if (a.running_mean) a.running_mean[c] = stays * a.running_mean[c] + moved * mean;
  if (a.running_var) a.running_var[c] = stays * a.running_var[c] + moved * static_cast<Acc>(m.m2 / (m.n - 1));
  keep_affine(a, c, mean, low, static_cast<Acc>(m.m2 / m.n));
}

template <class T>
struct Normalize {
  using Acc = Accumulator<T>;
  BatchNormForward<T> a;
  bool aligned;
  struct Known {
    Acc mean, scale, shift;
  };
  __device__ Known of(Index, Index c) const { return {a.mean[c], a.scale[c], a.shift[c]}; }
  template <int W, int S>
  __device__ void apply(Index place, const Known (&known)[S]) const {
    Pack<T, W> v = load_pack<W>(a.x + place, aligned), more;
    if (a.residual) more = load_pack<W>(a.residual + place, aligned);
#pragma unroll
    for (int w = 0; w < W; ++w) {
      const Known& of = known[w % S];
      Acc y = fma(value(v.of[w]) - of.mean, of.scale, of.shift);
      if (a.residual) y += value(more.of[w]);
      v.of[w] = element<T>(a.relu && y < Acc(0) ? Acc(0) : y);  // NaN stays NaN
    }
    store_pack<W>(a.y + place, v, aligned);
  }
};

template <class T>
Status batch_norm_forward(const Context& context, const BatchNormForward<T>& a) {
  const Extent at{1, a.outer, a.channels, a.inner};
  if (a.channels == 0 || (a.training && at.count() == 0)) return Status::ok;
  Status status;
  if (a.training) {
    auto* parts = static_cast<Moments*>(context.workspace);
    Index chunks = 0;
    status = sum_moments(context, at, a.x, parts, &chunks);
    if (status == Status::ok)
      status = launch(context, dim3(grid_size(ceil_divide(a.channels, kWarp))), dim3(kThreads), finish_kernel<T>, a,
                      chunks, static_cast<const Moments*>(parts));
  } else {
    status = launch_items(context, a.channels, given_kernel<T>, a);
  }
  if (status != Status::ok || at.count() == 0) return status;
  return map_channels<T>(context, at, Normalize<T>{a, are_aligned({a.x, a.residual, a.y})});
}

// Backward: dx = g * slope - (x - mean) * tilt - shift, which the workspace holds, (3, channels), behind the sums.

template <class T>
__global__ void finish_gradients_kernel(BatchNormBackward<T> a, Index chunks, const Sums* parts,
                                        Accumulator<T>* found) {
  using Acc = Accumulator<T>;
  const Index c = static_cast<Index>(blockIdx.x) * kWarp + threadIdx.x % kWarp;
  Sums s{};
  for (Index chunk = threadIdx.x / kWarp; c < a.channels && chunk < chunks; chunk += kThreads / kWarp)
    s = joined(s, parts[chunk * a.channels + c]);
  s = merged_down(s, kWarp);
  if (static_cast<int>(threadIdx.x) >= kWarp || c >= a.channels) return;
  const double n = static_cast<double>(a.outer * a.inner), low = a.training ? s.x / n : 0;
  const double rstd = static_cast<double>(a.rstd[c]), slope = static_cast<double>(a.scale[c]);
  const double dweight = rstd * (s.gx - low * s.g);
  if (a.dweight) a.dweight[c] = static_cast<Acc>(dweight);
  if (a.dbias) a.dbias[c] = static_cast<Acc>(s.g);
  const double tilt = a.training ? slope * rstd * (dweight / n) : 0;
  found[c] = a.scale[c];
  found[a.channels + c] = static_cast<Acc>(tilt);
  found[2 * a.channels + c] = a.training ? static_cast<Acc>(slope * (s.g / n) - tilt * low) : Acc(0);
}

template <class T>
struct Differentiate {
  using Acc = Accumulator<T>;
  Gradients<T> from;
  T* dx;
  const Acc* found;
  Index channels;
  bool aligned;
  struct Known {
    typename Gradients<T>::Known forward;
    Acc slope, tilt, shift;
  };
  __device__ Known of(Index item, Index c) const {
    return {from.of(item, c), found[c], found[channels + c], found[2 * channels + c]};
  }
  template <int W, int S>
  __device__ void apply(Index place, const Known (&known)[S]) const {
    Pack<T, W> v = load_pack<W>(from.x + place, aligned);
    const Pack<T, W> dy = load_pack<W>((from.y ? from.dresidual : from.dy) + place, aligned);
#pragma unroll
    for (int w = 0; w < W; ++w) {
      const Known& of = known[w % S];
      const Acc d = value(v.of[w]) - of.forward.mean;
      const Acc g = through(value(dy.of[w]), fma(d, of.forward.scale, of.forward.shift));
      v.of[w] = element<T>(fma(g, of.slope, -fma(d, of.tilt, of.shift)));
    }
    store_pack<W>(dx + place, v, aligned);
  }
};

template <class Acc>
__global__ void clear_kernel(Acc* dweight, Acc* dbias, Index n) {
  for_each_item(n, [&](Index i) {
    if (dweight) dweight[i] = 0;
    if (dbias) dbias[i] = 0;
  });
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
  auto* parts = static_cast<Sums*>(context.workspace);
  auto* found = reinterpret_cast<Acc*>(parts + at.chunks() * a.channels);
  Index chunks = 0;
  Status status = sum_gradients(context, at, from, parts, &chunks);
  if (status != Status::ok) return status;
  status = launch(context, dim3(grid_size(ceil_divide(a.channels, kWarp))), dim3(kThreads), finish_gradients_kernel<T>,
                  a, chunks, static_cast<const Sums*>(parts), found);
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
