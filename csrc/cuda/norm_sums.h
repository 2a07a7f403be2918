#pragma once
#include "cuda/norm_walk.h"

// The sums that norms are made of: moments on the way there, products with the gradient on the way back.
namespace dd2424::cuda {
namespace {

constexpr int kRun = 8;                  // packs on their way from memory at a time
constexpr Index kNormBlock = 16 * kRun;  // packs summed in the type's accumulator before they join sums in double

// Of n elements, each less the channel's first, which even as the only one of its kind takes no more than n roundings
// of double from the variance.
struct Moments {
  double n, sum, squares;
  __device__ double mean() const { return sum / n; }
  __device__ double m2() const { return larger_than_zero(squares - sum * (sum / n)); }
  __device__ Moments about(double lower) const {  // a number that is so much lower
    return {n, sum + n * lower, squares + lower * (2 * sum + n * lower)};
  }

 private:
  __device__ static double larger_than_zero(double x) { return x < 0 ? 0 : x; }  // NaN stays
};
__device__ inline Moments joined(const Moments& a, const Moments& b) {
  return {a.n + b.n, a.sum + b.sum, a.squares + b.squares};
}

// A thread's sums are taken about the mean of the first elements that it reads.
template <class T, int W, bool columns>
__global__ void __launch_bounds__(kThreads, 2)
    moments_kernel(const T* x, Extent at, Cut cut, bool aligned, Moments* parts) {
  using C = Computed<T>;
  constexpr int S = columns ? W : 1;
  Share<W, columns> share(at, cut);
  Moments state[S]{};
  C pivot[S]{};
  while (share.left > 0) {
    C sum[S]{}, squares[S]{};
    for (Index n = 0; n < kNormBlock && share.left > 0; n += kRun) {
      Pack<T, W> v[kRun];
      const int count = static_cast<int>(share.left < kRun ? share.left : kRun);
#pragma unroll
      for (int r = 0; r < kRun; ++r)
        if (r < count) v[r] = load_pack<W>(x + share.next(), aligned);
      if (state[0].n == 0) {
        C first[S]{};
#pragma unroll
        for (int r = 0; r < kRun; ++r)
#pragma unroll
          for (int w = 0; w < W; ++w)
            if (r < count) first[w % S] += value(v[r].of[w]) - value(v[0].of[w % S]);
#pragma unroll
        for (int s = 0; s < S; ++s) pivot[s] = value(v[0].of[s]) + first[s] / static_cast<C>(count * (W / S));
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
#pragma unroll
      for (int s = 0; s < S; ++s) state[s].n += count * (W / S);
    }
#pragma unroll
    for (int s = 0; s < S; ++s) {
      state[s].sum += static_cast<double>(sum[s]);
      state[s].squares += static_cast<double>(squares[s]);
    }
  }
  if (share.channel < at.channels) {
    const T* first = x + (share.item * at.outer * at.channels + share.channel) * at.inner;
#pragma unroll
    for (int s = 0; s < S; ++s)
      state[s] = state[s].about(static_cast<double>(pivot[s]) - static_cast<double>(value(first[s * at.inner])));
  }
  for_joined(state, cut.across, [&](int channel, const Moments& all) {
    if (share.tile + channel < at.channels)
      parts[(share.item * cut.chunks + blockIdx.y) * at.channels + share.tile + channel] = all;
  });
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
__global__ void __launch_bounds__(kThreads, 2) gradient_sums_kernel(Gradients<T> a, Extent at, Cut cut, Sums* parts) {
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
  for_joined(total, cut.across, [&](int channel, const Sums& all) {
    if (share.tile + channel < at.channels)
      parts[(share.item * cut.chunks + blockIdx.y) * at.channels + share.tile + channel] = all;
  });
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
