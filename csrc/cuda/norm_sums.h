#pragma once
#include "cuda/norm_walk.h"

// The sums that norms are made of: moments on the way there, products with the gradient on the way back.
namespace dd2424::cuda {
namespace {

constexpr int kRun = 4;                  // packs on their way from memory at a time
constexpr Index kNormBlock = 16 * kRun;  // packs summed in the type's accumulator before they join sums in double

// Of n elements, the mean counted from the channel's first; joined by Chan, Golub and LeVeque, "Algorithms for
// computing the sample variance", 1983, equation 2.1.
struct Moments {
  double n, mean, m2;
};
__device__ inline Moments joined(const Moments& a, const Moments& b) {
  const double n = a.n + b.n;
  if (b.n == 0) return a;
  const double share = b.n / n, delta = b.mean - a.mean;
  return {n, a.mean + delta * share, a.m2 + b.m2 + delta * delta * (a.n * share)};
}

// The first block is taken about one element, the next ones about the mean of those before.
template <class T, int W, bool columns>
__global__ void moments_kernel(const T* x, Extent at, Cut cut, bool aligned, Moments* parts) {
  using C = Computed<T>;
  constexpr int S = columns ? W : 1;
  Share<W, columns> share(at, cut);
  Moments state[S]{};
  C origin[S]{};
#pragma unroll
  for (int s = 0; s < S; ++s)
    if (share.left > 0) origin[s] = value(x[(share.item * at.outer * at.channels + share.channel + s) * at.inner]);
  for (Index most = kRun; share.left > 0; most = kNormBlock) {
    C pivot[S]{}, sum[S]{}, squares[S]{};
    Index n = 0;
    while (n < most && share.left > 0) {
      Pack<T, W> v[kRun];
      const int count = static_cast<int>(share.left < kRun ? share.left : kRun);
#pragma unroll
      for (int r = 0; r < kRun; ++r)
        if (r < count) v[r] = load_pack<W>(x + share.next(), aligned);
      if (n == 0) {
#pragma unroll
        for (int s = 0; s < S; ++s)
          pivot[s] =
              state[s].n == 0 ? value(v[0].of[s]) : static_cast<C>(static_cast<double>(origin[s]) + state[s].mean);
      }
#pragma unroll
      for (int r = 0; r < kRun; ++r) {
        if (r >= count) continue;
#pragma unroll
        for (int w = 0; w < W; ++w) {
          const C d = value(v[r].of[w]) - pivot[w % S];
          sum[w % S] += d;
          squares[w % S] = fma(d, d, squares[w % S]);
        }
      }
      n += count;
    }
#pragma unroll
    for (int s = 0; s < S; ++s) {
      const double terms = static_cast<double>(n * (W / S)), shift = static_cast<double>(sum[s]) / terms;
      const double mean = static_cast<double>(pivot[s]) - static_cast<double>(origin[s]) + shift;
      state[s] = joined(state[s], {terms, mean, static_cast<double>(squares[s]) - static_cast<double>(sum[s]) * shift});
    }
  }
#pragma unroll
  for (int s = 0; s < S; ++s) {
    const Moments all = merged_down(state[s], cut.across);
    if (static_cast<int>(threadIdx.x) < cut.across && share.channel < at.channels)
      parts[(share.item * cut.chunks + blockIdx.y) * at.channels + share.channel + s] = all;
  }
}
template <class T>
Status sum_moments(const Context& context, const Extent& at, const T* x, Moments* parts, Index* chunks) {
  return with_layout<T>(at, [&]<int W, bool columns>(std::integral_constant<int, W>, std::bool_constant<columns>) {
    const Cut cut = cut_of<W>(at);
    *chunks = cut.chunks;
    return launch(context, grid_of(at, cut), dim3(kThreads), moments_kernel<T, W, columns>, x, at, cut,
                  are_aligned({x}), parts);
  });
}

// What backward reads. Channels have a mean each or, with groups, one for each group of an item.
template <class T>
struct Gradients {
  using Acc = Accumulator<T>;
  const T *x, *y, *dy;  // y: or null
  T* dresidual;         // null without y
  const Acc *mean, *scale, *shift;
  bool found_again;  // whether y > 0 is found from x
  bool aligned;
  Index groups, group_size;  // 0: none
  struct Known {
    Acc mean, scale, shift;
  };
  __device__ Known of(Index item, Index channel) const {
    const Index at = groups > 0 ? item * groups + quotient(channel, group_size) : channel;
    if (!found_again) return {mean[at], Acc(0), Acc(1)};
    return {mean[at], scale[at], shift[at]};
  }
};
template <class C>
__device__ inline C through(C dy, C y) {  // dy where the ReLU that made y let it through
  return y <= C(0) ? C(0) : dy;
}

struct Sums {
  double g, gx, x;  // of g = dy where it counts, g * (x - mean), x - mean
};
__device__ inline Sums joined(const Sums& a, const Sums& b) { return {a.g + b.g, a.gx + b.gx, a.x + b.x}; }

template <class T, int W, bool columns>
__global__ void gradient_sums_kernel(Gradients<T> a, Extent at, Cut cut, Sums* parts) {
  using C = Computed<T>;
  constexpr int S = columns ? W : 1, kHalf = kRun / 2;
  Share<W, columns> share(at, cut);
  Sums total[S]{};
  typename Gradients<T>::Known known[S]{};
#pragma unroll
  for (int s = 0; s < S; ++s)
    if (share.left > 0) known[s] = a.of(share.item, share.channel + s);
  while (share.left > 0) {
    C g[S]{}, gx[S]{}, x[S]{};
    for (Index n = 0; n < kNormBlock && share.left > 0; n += kHalf) {
      Pack<T, W> v[kHalf], dy[kHalf], y[kHalf];
      Index place[kHalf];
      const int count = static_cast<int>(share.left < kHalf ? share.left : kHalf);
#pragma unroll
      for (int r = 0; r < kHalf; ++r) {
        if (r >= count) continue;
        place[r] = share.next();
        v[r] = load_pack<W>(a.x + place[r], a.aligned);
        dy[r] = load_pack<W>(a.dy + place[r], a.aligned);
        if (a.y) y[r] = load_pack<W>(a.y + place[r], a.aligned);
      }
#pragma unroll
      for (int r = 0; r < kHalf; ++r) {
        if (r >= count) continue;
#pragma unroll
        for (int w = 0; w < W; ++w) {
          const auto& of = known[w % S];
          const C d = value(v[r].of[w]) - of.mean;
          C kept = through(value(dy[r].of[w]), fma(d, of.scale, of.shift));
          if (a.y) kept = through(kept, value(y[r].of[w]));
          dy[r].of[w] = element<T>(kept);
          g[w % S] += kept;
          gx[w % S] = fma(kept, d, gx[w % S]);
          x[w % S] += d;
        }
        if (a.y) store_pack<W>(a.dresidual + place[r], dy[r], a.aligned);
      }
    }
#pragma unroll
    for (int s = 0; s < S; ++s)
      total[s] = joined(total[s], {static_cast<double>(g[s]), static_cast<double>(gx[s]), static_cast<double>(x[s])});
  }
#pragma unroll
  for (int s = 0; s < S; ++s) {
    const Sums all = merged_down(total[s], cut.across);
    if (static_cast<int>(threadIdx.x) < cut.across && share.channel < at.channels)
      parts[(share.item * cut.chunks + blockIdx.y) * at.channels + share.channel + s] = all;
  }
}
template <class T>
Status sum_gradients(const Context& context, const Extent& at, const Gradients<T>& a, Sums* parts, Index* chunks) {
  return with_layout<T>(at, [&]<int W, bool columns>(std::integral_constant<int, W>, std::bool_constant<columns>) {
    const Cut cut = cut_of<W>(at);
    *chunks = cut.chunks;
    return launch(context, grid_of(at, cut), dim3(kThreads), gradient_sums_kernel<T, W, columns>, a, at, cut, parts);
  });
}

}  // namespace
}  // namespace dd2424::cuda
