#pragma once
#include "cuda/norm_sums.h"

// Batch norm's kernels: the moments of all channels in one pass, joined in a second small one; then the result in
// another. So the gradients.
namespace dd2424::cuda {
namespace {

// Of a channel: y = (x - mean) * scale + shift.
template <class Acc>
struct Affine {
  Acc mean, rstd, scale, shift;
};
template <class T, class Acc = Accumulator<T>>
__device__ Affine<Acc> affine(const BatchNormForward<T>& a, Index c, Acc mean, Acc low, Acc var) {
  const Acc rstd = Acc(1) / sqrt(var + static_cast<Acc>(a.eps)), scale = rstd * (a.weight ? a.weight[c] : Acc(1));
  return {mean, rstd, scale, (a.bias ? a.bias[c] : Acc(0)) - low * scale};
}
template <class T, class Acc>
__device__ void keep_affine(const BatchNormForward<T>& a, Index c, const Affine<Acc>& of) {
  a.mean[c] = of.mean;
  a.rstd[c] = of.rstd;
  a.scale[c] = of.scale;
  a.shift[c] = of.shift;
}

// With the sum of the squares about the mean, which is of.mean and what was left out of it.
template <class T, class Acc>
__device__ void keep_statistics(const BatchNormForward<T>& a, Index c, const Affine<Acc>& of, double m2) {
  const double n = static_cast<double>(a.outer * a.inner);
  const Acc moved = static_cast<Acc>(a.momentum), stays = static_cast<Acc>(1 - a.momentum);
  if (a.running_mean) a.running_mean[c] = stays * a.running_mean[c] + moved * of.mean;
  if (a.running_var) a.running_var[c] = stays * a.running_var[c] + moved * static_cast<Acc>(m2 / (n - 1));
  keep_affine(a, c, of);
}

template <class T>
__global__ void given_kernel(BatchNormForward<T> a) {
  for_each_item(a.channels, [&](Index c) {
    keep_affine(a, c, affine(a, c, a.running_mean[c], Accumulator<T>(0), a.running_var[c]));
  });
}

constexpr int kFinished = 8;  // channels of a block that joins chunks: 32 threads to each

// What a thread's channel has in every 32nd chunk, joined; the first threads of a block get the sums.
template <class State>
__device__ State joined_chunks(const State* parts, Index chunks, Index channels, Index c) {
  State sum{};
#pragma unroll 4
  for (Index chunk = threadIdx.x / kFinished; c < channels && chunk < chunks; chunk += kThreads / kFinished)
    sum = joined(sum, parts[chunk * channels + c]);
  return merged_down(sum, kFinished);
}

template <class T>
__global__ void finish_kernel(BatchNormForward<T> a, Index chunks, const Moments* parts) {
  using Acc = Accumulator<T>;
  const Index c = static_cast<Index>(blockIdx.x) * kFinished + threadIdx.x % kFinished;
  const Moments m = joined_chunks(parts, chunks, a.channels, c);
  if (static_cast<int>(threadIdx.x) >= kFinished || c >= a.channels) return;
  const double origin = static_cast<double>(value(a.x[c * a.inner])), beyond = m.mean();
  const Acc mean = static_cast<Acc>(origin + beyond);
  const Acc low = static_cast<Acc>(origin - static_cast<double>(mean) + beyond);
  keep_statistics(a, c, affine(a, c, mean, low, static_cast<Acc>(m.m2() / m.n)), m.m2());
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

// Backward: dx = g * slope - (x - mean) * tilt - shift, which the workspace holds, (3, channels), behind the sums.

template <class Acc>
struct GradientFactors {
  Acc slope, tilt, shift;
  double dweight;
};
template <class T, class Acc = Accumulator<T>>
__device__ GradientFactors<Acc> gradient_factors(const BatchNormBackward<T>& a, Index c, const Sums& s) {
  const double n = static_cast<double>(a.outer * a.inner), low = a.training ? s.x / n : 0;
  const double rstd = static_cast<double>(a.rstd[c]), slope = static_cast<double>(a.scale[c]);
  const double dweight = rstd * (s.gx - low * s.g), tilt = a.training ? slope * rstd * (dweight / n) : 0;
  return {a.scale[c], static_cast<Acc>(tilt), a.training ? static_cast<Acc>(slope * (s.g / n) - tilt * low) : Acc(0),
          dweight};
}
template <class T>
__device__ void keep_gradients(const BatchNormBackward<T>& a, Index c, double dbias, double dweight) {
  if (a.dweight) a.dweight[c] = static_cast<Accumulator<T>>(dweight);
  if (a.dbias) a.dbias[c] = static_cast<Accumulator<T>>(dbias);
}

template <class T>
__global__ void finish_gradients_kernel(BatchNormBackward<T> a, Index chunks, const Sums* parts,
                                        Accumulator<T>* found) {
  using Acc = Accumulator<T>;
  const Index c = static_cast<Index>(blockIdx.x) * kFinished + threadIdx.x % kFinished;
  const Sums s = joined_chunks(parts, chunks, a.channels, c);
  if (static_cast<int>(threadIdx.x) >= kFinished || c >= a.channels) return;
  const GradientFactors<Acc> of = gradient_factors(a, c, s);
  keep_gradients(a, c, s.g, of.dweight);
  found[c] = of.slope;
  found[a.channels + c] = of.tilt;
  found[2 * a.channels + c] = of.shift;
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

}  // namespace
}  // namespace dd2424::cuda
