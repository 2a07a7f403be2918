#pragma once
// Images at the places of a grid. Weights and indices of a block of places are made once and serve all channels.
#include "core/parallel.h"
#include "cpu/resample_grid_taps.h"

namespace dd2424::cpu::DD2424_ISA {
namespace {

constexpr Index kGridBlock = 64;       // places
constexpr int kGridTaps = 16;          // of a place: 4 * 4, or 2 * 2 * 2
constexpr Index kGridGrain = 1 << 13;  // products that are worth a thread
constexpr Index kScatterChannels = 8;  // that one thread adds to in turn

template <class T>
struct GridBlock {
  static constexpr int kSpace = GridSizes::kSpace;
  alignas(64) T weight[kGridTaps][kGridBlock];  // 0: outside, whatever stands at the index
  alignas(64) typename SignedOf<sizeof(T)>::Type index[kGridTaps][kGridBlock];  // in a plane

  // For `count` places of one image; `order` of the derivative by dimension.
  [[gnu::noinline]] void fill(const GridSizes& s, const T* grid, Index count, const int* order) {
    const int skipped = kSpace - s.space;
    alignas(64) T places[kSpace][kGridBlock] = {};
    for (Index p = 0; p < count; ++p)
      for (int d = skipped; d < kSpace; ++d) places[d][p] = grid[p * s.space + kSpace - 1 - d];
    for (Index p = 0; p < count; p += kLanes<T>) {
      Taps<T> taps[kSpace] = {};
      for (int d = skipped; d < kSpace; ++d) taps[d] = taps_of<T>(s, load(&places[d][p]), d, order[d]);
      if (skipped) taps[0].weight[0] = broadcast(T(1)), taps[0].is_inside[0] = ~Whole<T>{};
      join(s, taps, p);
    }
  }
  // The products of what the dimensions say of the places from p on.
  void join(const GridSizes& s, const Taps<T> (&taps)[kSpace], Index p) {
    using Int = typename SignedOf<sizeof(T)>::Type;
    const Int rows = static_cast<Int>(s.image[1]), cols = static_cast<Int>(s.image[2]);
    const int along = taps_along(s.kernel);
    int t = 0;
    for (int i = 0; i < (s.space == 3 ? along : 1); ++i)
      for (int j = 0; j < along; ++j)
        for (int k = 0; k < along; ++k, ++t) {
          const Whole<T> is_inside = taps[0].is_inside[i] & taps[1].is_inside[j] & taps[2].is_inside[k];
          const Vec<T> w = taps[0].weight[i] * taps[1].weight[j] * taps[2].weight[k];
          store(&weight[t][p], is_inside ? w : Vec<T>{});
          store(&index[t][p], (taps[0].index[i] * rows + taps[1].index[j]) * cols + taps[2].index[k]);
        }
  }
};

inline int taps_in_all(const GridSizes& s) {
  const int along = taps_along(s.kernel);
  return along * along * (s.space == 3 ? along : 1);
}
inline Index product_of(const Index (&sizes)[GridSizes::kSpace]) { return sizes[0] * sizes[1] * sizes[2]; }

// Calls body(n, first place, count) on blocks of the places of each image.
template <class Body>
inline void for_each_block(const GridSizes& s, const Body& body) {
  const Index places = product_of(s.out), blocks = (places + kGridBlock - 1) / kGridBlock;
  const Index cost = kGridBlock * taps_in_all(s) * (s.channels + 4);
  parallel_for(s.batch * blocks, 1 + kGridGrain / cost, [&](Index begin, Index end) {
    for (Index b = begin; b < end; ++b) {
      const Index first = b % blocks * kGridBlock, rest = places - first;
      body(b / blocks, first, rest < kGridBlock ? rest : kGridBlock);
    }
  });
}

template <class T>
inline Vec<T> picked(const T* x, const GridBlock<T>& block, int t, Index p) {
  const Vec<T> v = pick(x, load(&block.index[t][p]));
  return load(&block.weight[t][p]) != 0 ? v : Vec<T>{};
}

template <class T>
Status grid_sample(const Context&, const GridSample<T>& a) {
  const GridSizes& s = a.sizes;
  const Index places = product_of(s.out), plane = product_of(s.image);
  const int taps = taps_in_all(s);
  for_each_block(s, [&](Index n, Index first, Index count) {
    GridBlock<T> block;
    block.fill(s, a.grid + (n * places + first) * s.space, count, s.order);
    for (Index c = 0; c < s.channels; ++c) {
      const T* x = a.x + (n * s.channels + c) * plane;
      T* y = a.y + (n * s.channels + c) * places + first;
      for (Index p = 0; p < count; p += kLanes<T>) {
        Vec<T> sum = load(&block.weight[0][p]) * picked(x, block, 0, p);
        for (int t = 1; t < taps; ++t) sum = fma(load(&block.weight[t][p]), picked(x, block, t, p), sum);
        if (count - p >= kLanes<T>) {
          store(y + p, sum);
        } else {
          store(y + p, sum, count - p);
        }
      }
    }
  });
  return Status::ok;
}

// Each plane of dx belongs to one thread, which adds place by place.
template <class T>
Status grid_scatter(const Context&, const GridScatter<T>& a) {
  const GridSizes& s = a.sizes;
  const Index places = product_of(s.out), plane = product_of(s.image);
  const Index groups = (s.channels + kScatterChannels - 1) / kScatterChannels;
  const int taps = taps_in_all(s);
  parallel_for(s.batch * groups, 1, [&](Index begin, Index end) {
    GridBlock<T> block;
    for (Index g = begin; g < end; ++g) {
      const Index n = g / groups, c = g % groups * kScatterChannels;
      const Index channels = s.channels - c < kScatterChannels ? s.channels - c : kScatterChannels;
      T* dx = a.dx + (n * s.channels + c) * plane;
      for (Index i = 0; i < channels * plane; ++i) dx[i] = 0;
      for (Index first = 0; first < places; first += kGridBlock) {
        const Index count = places - first < kGridBlock ? places - first : kGridBlock;
        block.fill(s, a.grid + (n * places + first) * s.space, count, s.order);
        const T* dy = a.dy + (n * s.channels + c) * places + first;
        for (Index i = 0; i < channels; ++i)
          for (Index p = 0; p < count; ++p)
            for (int t = 0; t < taps; ++t)
              if (block.weight[t][p] != 0) dx[i * plane + block.index[t][p]] += block.weight[t][p] * dy[i * places + p];
      }
    }
  });
  return Status::ok;
}

template <class T>
Status grid_gradient(const Context&, const GridGradient<T>& a) {
  constexpr int kSpace = GridSizes::kSpace;
  const GridSizes& s = a.sizes;
  const Index places = product_of(s.out), plane = product_of(s.image);
  const int taps = taps_in_all(s), skipped = kSpace - s.space;
  for_each_block(s, [&](Index n, Index first, Index count) {
    GridBlock<T> blocks[kSpace];
    for (int d = skipped; d < kSpace; ++d) {
      int order[kSpace];
      for (int e = 0; e < kSpace; ++e) order[e] = s.order[e] + (e == d);
      blocks[d].fill(s, a.grid + (n * places + first) * s.space, count, order);
    }
    T* dgrid = a.dgrid + (n * places + first) * s.space;
    for (Index p = 0; p < count; p += kLanes<T>) {
      const Index some = count - p < kLanes<T> ? count - p : kLanes<T>;
      Vec<T> sums[kSpace] = {};
      for (Index c = 0; c < s.channels; ++c) {
        const T* x = a.x + (n * s.channels + c) * plane;
        const T* dy = a.dy + (n * s.channels + c) * places + first + p;
        const Vec<T> g = some == kLanes<T> ? load(dy) : load(dy, some);
        for (int t = 0; t < taps; ++t) {
          const Vec<T> v = g * pick(x, load(&blocks[kSpace - 1].index[t][p]));
          for (int d = skipped; d < kSpace; ++d) {
            const Vec<T> w = load(&blocks[d].weight[t][p]);
            sums[d] = w != 0 ? fma(w, v, sums[d]) : sums[d];
          }
        }
      }
      for (int d = skipped; d < kSpace; ++d)
        for (Index l = 0; l < some; ++l) dgrid[(p + l) * s.space + kSpace - 1 - d] = sums[d][l];
    }
  });
  return Status::ok;
}

}  // namespace
}  // namespace dd2424::cpu::DD2424_ISA
