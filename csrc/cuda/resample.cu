#include "core/resample.h"

#include "cuda/offer.h"
#include "cuda/resample_grid.h"
#include "cuda/resample_scatter.h"
#include "cuda/value.h"
#include "cuda/walk.h"

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
      const Index from = a.from[d] ? a.from[d][at] : at;
      is_inside = is_inside && from >= 0;
      place += from * a.x_stride[d];
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

// A thread has W channels of an output, where they lie side by side.
struct SeparableSizes {
  Divider inner, out[3];  // packs of channels
  int items;
};
template <class T, int W>
__global__ void separable_kernel(Separable<T> a, SeparableSizes s) {
  using Acc = Accumulator<T>;
  for_each_item(s.items, [&](Index item) {
    std::uint32_t rest = static_cast<std::uint32_t>(item);
    const auto take = [&](const Divider& size) {
      const std::uint32_t left = size.quotient(rest), at = rest - left * size.divisor;
      rest = left;
      return static_cast<int>(at);
    };
    const int c = take(s.inner) * W, k = take(s.out[2]), j = take(s.out[1]), i = take(s.out[0]);
    const int inner = static_cast<int>(a.inner);
    const int first = static_cast<int>(a.first[2][k]), last = static_cast<int>(a.first[2][k + 1]);
    Acc sum[W] = {};
    for (Index p = a.first[0][i]; p < a.first[0][i + 1]; ++p)
      for (Index q = a.first[1][j]; q < a.first[1][j + 1]; ++q) {
        const T* x = a.x + ((rest * a.in[0] + a.index[0][p]) * a.in[1] + a.index[1][q]) * a.in[2] * inner + c;
        Acc part[W] = {};
        for (int r = first; r < last; ++r) {
          const Pack<T, W> taps = load_pack<W>(x + static_cast<int>(a.index[2][r]) * inner, true);
          const Acc weight = a.weight[2][r];
#pragma unroll
          for (int w = 0; w < W; ++w) part[w] = fma(weight, value(taps.of[w]), part[w]);
        }
        const Acc by = a.weight[0][p] * a.weight[1][q];
#pragma unroll
        for (int w = 0; w < W; ++w) sum[w] = fma(by, part[w], sum[w]);
      }
    Pack<T, W> total;
#pragma unroll
    for (int w = 0; w < W; ++w) total.of[w] = element<T>(sum[w]);
    store_pack<W>(a.y + item * W, total, true);
  });
}
template <class T, int W>
Status separable_planes(const Context& context, Separable<T> a) {
  const Index each = a.out[0] * a.out[1] * a.out[2] * (a.inner / W);
  SeparableSizes s{Divider(a.inner / W), {Divider(a.out[0]), Divider(a.out[1]), Divider(a.out[2])}, 0};
  constexpr Index most = Index{1} << 30;
  if (each > most || a.in[2] * a.inner > most) return Status::unsupported;
  for (Index left = a.planes; left > 0;) {
    const Index planes = left < most / each ? left : most / each;
    s.items = static_cast<int>(planes * each);
    const Status status = launch_items(context, Index{s.items}, separable_kernel<T, W>, a, s);
    if (status != Status::ok) return status;
    a.x += planes * a.in[0] * a.in[1] * a.in[2] * a.inner;
    a.y += planes * a.out[0] * a.out[1] * a.out[2] * a.inner;
    left -= planes;
  }
  return Status::ok;
}
template <class T>
Status separable(const Context& context, const Separable<T>& a) {
  if (a.inner % kPack<T> == 0 && are_aligned({a.x, a.y})) return separable_planes<T, kPack<T>>(context, a);
  return separable_planes<T, 1>(context, a);
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
template <class T>
constexpr ResampleKernels<T> kShortResample{.separable = separable<T>,
                                            .separable_workspace = separable_workspace<T>,
                                            .unfold = unfold<T>,
                                            .fold = fold<T>};  // operations convert for a grid

}  // namespace

void offer_resample(DeviceTables& tables) {
  offer(tables, kTake);
  offer(tables, kResample<float>);
  offer(tables, kResample<double>);
  offer(tables, kShortResample<bfloat16>);
  offer(tables, kShortResample<float16>);
}

}  // namespace dd2424::cuda
