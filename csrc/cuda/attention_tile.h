#pragma once
#include "core/attention.h"
#include "cuda/launch.h"
#include "cuda/value.h"

// What forward and backward of attention are made of. A block of threads has a square tile of scores, of which a thread
// has a square in registers: a product of rows with rows, both brought slice by slice of their features to shared
// memory; and a product of such a tile, now weights in shared memory, with rows. No thread adds to another's sums.
namespace dd2424::cuda {
namespace {

constexpr int kSide = 16;  // threads along each side of a tile
constexpr int kBlock = kSide * kSide;

template <class T, int n>
struct alignas(n * sizeof(T)) Pack {  // read and written at once
  T x[n];
};

template <class C>
struct Tile {
  static constexpr int per = 16 / sizeof(C);     // rows of a thread, and columns: what 16 bytes hold
  static constexpr int rows = kSide * per;       // 64 of float, 32 of double
  static constexpr int slice = 8 * per;          // features
  static constexpr int slice_row = slice + per;  // apart in shared memory: 16 bytes more spare its banks conflicts
  static constexpr int score_row = rows + per;
  static constexpr int slices = 2 * rows * slice_row;
};

// Two blocks share a multiprocessor: 128 registers a thread and 36 kB.
template <class C>
struct Shared {
  alignas(16) C slices[Tile<C>::slices];  // of the rows to multiply
  alignas(16) C weights[Tile<C>::rows * Tile<C>::score_row];
};

__device__ inline int across() { return static_cast<int>(threadIdx.x) % kSide; }
__device__ inline int down() { return static_cast<int>(threadIdx.x) / kSide; }

template <class C>
__device__ inline Pack<C, Tile<C>::per> read(const C* x) {
  return *reinterpret_cast<const Pack<C, Tile<C>::per>*>(x);
}

template <class T>
__device__ inline T* row_at(const HeadRows<T>& x, Index b, Index h, Index row) {
  return x.data + b * x.batch + h * x.head + row * x.row;
}

// Rows of one head, from one of them on: `left` are left, of so many features. `vectors`: they may be read in packs.
template <class T>
struct RowsOf {
  const T* data;
  Index row, left, features;
  bool vectors;
};
template <class T>
__device__ inline RowsOf<T> rows_of(const HeadRows<const T>& x, Index b, Index h, Index row, Index rows,
                                    Index features) {
  constexpr Index per = Tile<Computed<T>>::per;
  const auto at = reinterpret_cast<std::uintptr_t>(x.data);
  const bool vectors = ((x.batch | x.head | x.row | features) % per) == 0 && at % (per * sizeof(T)) == 0;
  return {row_at(x, b, h, row), x.row, rows - row, features, vectors};
}

// The pack of features from `f` on of row r; 0 beyond either end.
template <class T>
__device__ inline Pack<Computed<T>, Tile<Computed<T>>::per> pack_of(const RowsOf<T>& x, int r, Index f) {
  constexpr int per = Tile<Computed<T>>::per;
  Pack<Computed<T>, per> pack{};
  if (r >= x.left || f >= x.features) return pack;
  const T* from = x.data + r * x.row + f;
  if (x.vectors) {
    const auto found = *reinterpret_cast<const Pack<T, per>*>(from);
    for (int e = 0; e < per; ++e) pack.x[e] = value(found.x[e]);
  } else {
    for (int e = 0; e < per; ++e)
      if (f + e < x.features) pack.x[e] = value(from[e]);
  }
  return pack;
}

// Row r of a tile's columns stands at place `turned(r)`: a thread's columns are neighbours, and yet 16 threads that
// read one each find them in rows one after the other, in different banks.
template <class C>
__device__ inline int turned(int r) {
  return r % Tile<C>::per * kSide + r / Tile<C>::per;
}
template <bool turns, class T>
__device__ void load_slice(Computed<T>* to, const RowsOf<T>& x, Index first, Computed<T> scale) {
  using C = Computed<T>;
  using S = Tile<C>;
  constexpr int packs = S::slice / S::per;
  for (int i = static_cast<int>(threadIdx.x); i < S::rows * packs; i += kBlock) {
    const int r = i / packs, f = i % packs * S::per;
    auto pack = pack_of(x, r, first + f);
    for (int e = 0; e < S::per; ++e) pack.x[e] *= scale;
    *reinterpret_cast<Pack<C, S::per>*>(to + (turns ? turned<C>(r) : r) * S::slice_row + f) = pack;
  }
}

// A thread's square of scores: rows down() * per + i, columns across() * per + j.
template <class C>
struct Square {
  C at[Tile<C>::per][Tile<C>::per];
};

// left right^T over all features, the left rows scaled.
template <class T>
__device__ Square<Computed<T>> score(Shared<Computed<T>>& shared, const RowsOf<T>& left, const RowsOf<T>& right,
                                     Computed<T> scale) {
  using C = Computed<T>;
  using S = Tile<C>;
  C *left_slice = shared.slices, *right_slice = shared.slices + S::rows * S::slice_row;
  Square<C> sums{};
  for (Index first = 0; first < left.features; first += S::slice) {
    load_slice<false>(left_slice, left, first, scale);
    load_slice<true>(right_slice, right, first, C(1));
    __syncthreads();
    const int end = left.features - first < S::slice ? static_cast<int>(left.features - first) : S::slice;
    for (int f = 0; f < end; f += S::per) {
      Pack<C, S::per> a[S::per], b[S::per];
#pragma unroll
      for (int i = 0; i < S::per; ++i) {
        a[i] = read<C>(left_slice + (down() * S::per + i) * S::slice_row + f);
        b[i] = read<C>(right_slice + (i * kSide + across()) * S::slice_row + f);
      }
#pragma unroll
      for (int e = 0; e < S::per; ++e)
#pragma unroll
        for (int i = 0; i < S::per; ++i)
#pragma unroll
          for (int j = 0; j < S::per; ++j) sums.at[i][j] = fma(a[i].x[e], b[j].x[e], sums.at[i][j]);
    }
    __syncthreads();
  }
  return sums;
}

// A thread's part of rows of sums: as many features of each of its rows, kSide * per apart from one pack to the next.
template <class C, int chunks>
struct Sums {
  static constexpr int per = Tile<C>::per, width = chunks * kSide * per;  // features of a block
  C at[per][chunks][per];
};

template <bool hides, class C, int chunks>
__device__ inline void add_slice(Sums<C, chunks>& sums, const C* weights, const C* slice, int depth) {
  using S = Tile<C>;
  constexpr int width = Sums<C, chunks>::width;
  for (int p = 0; p < depth; p += S::per) {
    Pack<C, S::per> w[S::per];
#pragma unroll
    for (int i = 0; i < S::per; ++i) w[i] = read<C>(weights + (down() * S::per + i) * S::score_row + p);
#pragma unroll
    for (int e = 0; e < S::per; ++e)
#pragma unroll
      for (int c = 0; c < chunks; ++c) {
        const auto x = read<C>(slice + (p + e) * width + (c * kSide + across()) * S::per);
#pragma unroll
        for (int i = 0; i < S::per; ++i) {
          if (hides && w[i].x[e] == C(0)) continue;  // what it meets may be NaN
#pragma unroll
          for (int f = 0; f < S::per; ++f) sums.at[i][c][f] = fma(w[i].x[e], x.x[f], sums.at[i][c][f]);
        }
      }
  }
}

// sums += weights x, for the features from `first` on of up to a tile's rows of x. The weights are in shared memory, as
// this block has just written them. `hides`: some of them are 0 because a query does not see a key.
template <class T, int chunks>
__device__ void add_product(Sums<Computed<T>, chunks>& sums, Shared<Computed<T>>& shared, const RowsOf<T>& x,
                            Index first, bool hides) {
  using C = Computed<T>;
  using S = Tile<C>;
  constexpr int width = Sums<C, chunks>::width, depth = S::rows / chunks, packs = width / S::per;
  static_assert(width * depth <= S::slices);
  const int rows = x.left < S::rows ? static_cast<int>(x.left) : S::rows;
  for (int begin = 0; begin < rows; begin += depth) {
    int not_finite = 0;
    for (int i = static_cast<int>(threadIdx.x); i < depth * packs; i += kBlock) {
      const int r = i / packs, f = i % packs * S::per;
      const auto pack = pack_of(x, begin + r, first + f);
      for (int e = 0; e < S::per; ++e) not_finite |= !(pack.x[e] - pack.x[e] == C(0));
      *reinterpret_cast<Pack<C, S::per>*>(shared.slices + r * width + f) = pack;
    }
    const bool careful = __syncthreads_or(not_finite) && hides;
    const int count = rows - begin < depth ? rows - begin : depth;
    if (careful) add_slice<true>(sums, shared.weights + begin, shared.slices, count);
    else add_slice<false>(sums, shared.weights + begin, shared.slices, count);
    __syncthreads();
  }
}

// Writes a thread's square to where add_product finds it.
template <class C>
__device__ inline void keep_weights(Shared<C>& shared, const Square<C>& square) {
  using S = Tile<C>;
#pragma unroll
  for (int i = 0; i < S::per; ++i) {
    Pack<C, S::per> pack;
#pragma unroll
    for (int j = 0; j < S::per; ++j) pack.x[j] = square.at[i][j];
    *reinterpret_cast<Pack<C, S::per>*>(shared.weights + (down() * S::per + i) * S::score_row + across() * S::per) =
        pack;
  }
}

// y[row] = scales[i] * sums, where rows and features end.
template <class T, int chunks>
__device__ inline void store_sums(const HeadRows<T>& y, Index b, Index h, Index row, Index rows, Index first,
                                  Index features, const Sums<Computed<T>, chunks>& sums,
                                  const Computed<T> (&scales)[Tile<Computed<T>>::per]) {
  constexpr int per = Tile<Computed<T>>::per;
#pragma unroll
  for (int i = 0; i < per; ++i) {
    const Index r = row + down() * per + i;
    if (r >= rows) continue;
    T* to = row_at(y, b, h, r);
#pragma unroll
    for (int c = 0; c < chunks; ++c)
#pragma unroll
      for (int f = 0; f < per; ++f) {
        const Index at = first + (c * kSide + across()) * per + f;
        if (at < features) to[at] = element<T>(sums.at[i][c][f] * scales[i]);
      }
  }
}

}  // namespace

template <class T>
Status attention_backward(const Context& context, const AttentionBackward<T>& a);  // in attention_backward.cu
bool takes_floats(const AttentionForward<float>& a);                               // in attention_float.cu
bool takes_floats(const AttentionBackward<float>& a);
Status backward_of_floats(const Context& context, const AttentionBackward<float>& a);  // in attention_float_backward.cu
Status forward_of_floats(const Context& context, const AttentionForward<float>& a);    // what it takes
template <class T>
Status backward_on_tensor_cores(const Context& context,
                                const AttentionBackward<T>& a);  // in attention_tensor_backward.cu

}  // namespace dd2424::cuda
