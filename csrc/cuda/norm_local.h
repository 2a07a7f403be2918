#pragma once
#include "cuda/norm_walk.h"

// Local response normalisation, an element a thread: the few neighbours that it needs are in the cache, so that their
// sums are made anew for each.
namespace dd2424::cuda {
namespace {

template <class T>
__device__ inline Accumulator<T> scale_at(const LocalResponse<T>& a, Index place, Index channel) {
  using Acc = Accumulator<T>;
  const Index begin = channel > a.before ? channel - a.before : 0;
  const Index end = channel + a.after + 1 < a.channels ? channel + a.after + 1 : a.channels;
  Acc sum = 0;
  for (Index c = begin; c < end; ++c) {
    const Acc v = value(a.x[place + (c - channel) * a.inner]);
    sum = fma(v, v, sum);
  }
  return fma(sum, static_cast<Acc>(a.slope), static_cast<Acc>(a.k));
}

template <class T>
__global__ void local_response_kernel(LocalResponse<T> a, Index n) {
  using Acc = Accumulator<T>;
  const Acc beta = static_cast<Acc>(a.beta);
  for_each_item(n, [&](Index i) {
    const Index row = quotient(i, a.inner), channel = row - quotient(row, a.channels) * a.channels;
    const Acc x = value(a.x[i]), gate = exp(log(scale_at(a, i, channel)) * -beta);
    if (!a.dy) {
      a.y[i] = element<T>(x * gate);
      return;
    }
    const Index begin = channel > a.after ? channel - a.after : 0;  // of the channels whose windows hold this one
    const Index end = channel + a.before + 1 < a.channels ? channel + a.before + 1 : a.channels;
    Acc sum = 0;
    for (Index c = begin; c < end; ++c) {
      const Index place = i + (c - channel) * a.inner;
      const Acc s = scale_at(a, place, c);
      sum += value(a.dy[place]) * exp(log(s) * -beta) * value(a.x[place]) / s;
    }
    a.y[i] = element<T>(fma(Acc(-2) * beta * static_cast<Acc>(a.slope) * x, sum, value(a.dy[i]) * gate));
  });
}

template <class T>
Status local_response(const Context& context, const LocalResponse<T>& a) {
  const Index n = a.outer * a.channels * a.inner;
  return launch_items(context, n, local_response_kernel<T>, a, n);
}
template <class T>
std::size_t local_response_workspace(const LocalResponse<T>&) {
  return 0;
}

}  // namespace
}  // namespace dd2424::cuda
