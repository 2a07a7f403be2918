#include "core/resample.h"

#include "cuda/launch.h"
#include "cuda/offer.h"
#include "cuda/resample_grid.h"
#include "cuda/resample_scatter.h"
#include "cuda/value.h"

// Images of another size or shape. Every output gathers what it is made of, on the way back too.
namespace dd2424::cuda {
namespace {

template <class Word>
__global__ void take_kernel(Take a, Word fill, Index n) {
  const Word* x = static_cast<const Word*>(a.x);
  Word* y = static_cast<Word*>(a.y);
  for_each_item(n, [&](Index i) {
    Index row = quotient(i, a.inner), place = i - row * a.inner;
    bool is_inside = true;
    for (int d = a.ndim - 1; d >= 0; --d) {
      const Index rest = quotient(row, a.y_size[d]), at = row - rest * a.y_size[d];
      const Index from = a.from[d] ? a.from[d][at] : at * a.x_stride[d];
      is_inside = is_inside && from >= 0;
      place += from;
      row = rest;
    }
    y[i] = is_inside ? x[place] : fill;
  });
}
template <class Word>
Status take_words(const Context& context, const Take& a) {
  Index n = a.inner;
  for (int d = 0; d < a.ndim; ++d) n *= a.y_size[d];
  Word fill;
  __builtin_memcpy(&fill, a.value, sizeof fill);
  return launch_items(context, n, take_kernel<Word>, a, fill, n);
}
Status take(const Context& context, const Take& a) {
  switch (a.element_bytes) {
    case 8: return take_words<std::uint64_t>(context, a);
    case 4: return take_words<std::uint32_t>(context, a);
    case 2: return take_words<std::uint16_t>(context, a);
    default: return take_words<std::uint8_t>(context, a);
  }
}

template <class T>
__global__ void separable_kernel(Separable<T> a, Index n) {
  using Acc = Accumulator<T>;
  for_each_item(n, [&](Index i) {
    Index at[Separable<T>::kSpace], rest = quotient(i, a.inner);
    const Index c = i - rest * a.inner;
#pragma unroll
    for (int d = Separable<T>::kSpace - 1; d >= 0; --d) {
      const Index left = quotient(rest, a.out[d]);
      at[d] = rest - left * a.out[d];
      rest = left;
    }
    Acc sum = 0;
    for (Index p = a.first[0][at[0]]; p < a.first[0][at[0] + 1]; ++p)
      for (Index q = a.first[1][at[1]]; q < a.first[1][at[1] + 1]; ++q) {
        const T* x = a.x + ((rest * a.in[0] + a.index[0][p]) * a.in[1] + a.index[1][q]) * a.in[2] * a.inner + c;
        Acc part = 0;
        for (Index r = a.first[2][at[2]]; r < a.first[2][at[2] + 1]; ++r)
          part = fma(a.weight[2][r], value(x[a.index[2][r] * a.inner]), part);
        sum = fma(a.weight[0][p] * a.weight[1][q], part, sum);
      }
    a.y[i] = element<T>(sum);
  });
}
template <class T>
Status separable(const Context& context, const Separable<T>& a) {
  const Index n = a.planes * a.out[0] * a.out[1] * a.out[2] * a.inner;
  return launch_items(context, n, separable_kernel<T>, a, n);
}
template <class T>
std::size_t separable_workspace(const Separable<T>&) {
  return 0;
}

template <class T>
__global__ void unfold_kernel(Patches<T> a, Index n) {
  for_each_item(n, [&](Index i) {
    Index rest = i;
    const auto number = [&](Index size) {
      const Index left = quotient(rest, size), at = rest - left * size;
      rest = left;
      return at;
    };
    const Index column = number(a.out[1]), row = number(a.out[0]), q = number(a.kernel[1]), p = number(a.kernel[0]);
    const Index h = row * a.stride[0] + p * a.dilation[0] - a.padding[0];
    const Index w = column * a.stride[1] + q * a.dilation[1] - a.padding[1];
    const bool is_inside = h >= 0 && h < a.image[0] && w >= 0 && w < a.image[1];
    a.columns[i] = is_inside ? a.x[(rest * a.image[0] + h) * a.image[1] + w] : T{};
  });
}
template <class T>
Status unfold(const Context& context, const Patches<T>& a) {
  const Index n = a.planes * a.kernel[0] * a.kernel[1] * a.out[0] * a.out[1];
  return n == 0 ? Status::ok : launch_items(context, n, unfold_kernel<T>, a, n);
}

// The output at which tap p reads pixel `at` of a dimension, or -1.
template <class T>
__device__ inline Index output_of(const Patches<T>& a, int d, Index at, Index p) {
  const Index shifted = at + a.padding[d] - p * a.dilation[d];
  if (shifted < 0) return -1;
  const Index out = quotient(shifted, a.stride[d]);
  return out * a.stride[d] == shifted && out < a.out[d] ? out : -1;
}
template <class T>
__global__ void fold_kernel(Patches<T> a, Index n) {
  for_each_item(n, [&](Index i) {
    const Index line = quotient(i, a.image[1]), w = i - line * a.image[1];
    const Index plane = quotient(line, a.image[0]), h = line - plane * a.image[0];
    Accumulator<T> sum = 0;
    for (Index p = 0; p < a.kernel[0]; ++p) {
      const Index row = output_of(a, 0, h, p);
      for (Index q = 0; row >= 0 && q < a.kernel[1]; ++q) {
        const Index column = output_of(a, 1, w, q);
        const Index patch = (plane * a.kernel[0] + p) * a.kernel[1] + q;
        if (column >= 0) sum += value(a.columns[(patch * a.out[0] + row) * a.out[1] + column]);
      }
    }
    a.x[i] = element<T>(sum);
  });
}
template <class T>
Status fold(const Context& context, const Patches<T>& a) {
  const Index n = a.planes * a.image[0] * a.image[1];
  return n == 0 ? Status::ok : launch_items(context, n, fold_kernel<T>, a, n);
}

constexpr TakeKernels kTake{.take = take};
template <class T>
constexpr ResampleKernels<T> kResample{.separable = separable<T>,
                                       .separable_workspace = separable_workspace<T>,
                                       .unfold = unfold<T>,
                                       .fold = fold<T>,
                                       .grid_sample = grid_sample<T>,
                                       .grid_scatter = grid_scatter<T>,
                                       .grid_scatter_workspace = grid_scatter_workspace,
                                       .grid_gradient = grid_gradient<T>};
constexpr ResampleKernels<bfloat16> kHalf{.separable = separable<bfloat16>,
                                          .separable_workspace = separable_workspace<bfloat16>,
                                          .unfold = unfold<bfloat16>,
                                          .fold = fold<bfloat16>};  // operations convert for a grid

}  // namespace

void offer_resample(DeviceTables& tables) {
  offer(tables, kTake);
  offer(tables, kResample<float>);
  offer(tables, kResample<double>);
  offer(tables, kHalf);
}

}  // namespace dd2424::cuda
