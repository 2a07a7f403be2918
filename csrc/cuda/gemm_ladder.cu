#include "core/gemm.h"

#include "cuda/gemm_result.h"
#include "cuda/launch.h"
#include "cuda/offer.h"

// Four ways to multiply two matrices on a GPU, each a step from the one before. docs/ladder.md walks through them.
namespace dd2424::cuda {
namespace {

constexpr int kSide = 16;  // threads stand 16 by 16 in a block
constexpr int kDepth = 8;  // steps of a slice
template <class T>
constexpr int kEach = sizeof(T) == 4 ? 8 : 4;  // a thread has 8 by 8 sums, or 4 by 4 of double
template <class T>
constexpr int kWide = kSide * kEach<T>;  // of a tile

// One product of the batch; what lies outside of a matrix is 0.
template <class T>
struct Product {
  const Gemm<T>& g;
  const T *a, *b;
  T* c;
  Index k;

  __device__ T left(Index i, Index p) const { return i < g.m && p < k ? a[i * g.a_row + p * g.a_column] : T(0); }
  __device__ T right(Index p, Index j) const { return p < k && j < g.n ? b[p * g.b_row + j * g.b_column] : T(0); }
  __device__ void finish(Index i, Index j, T sum) const {
    if (i >= g.m || j >= g.n) return;
    T& y = c[i * g.c_row + j * g.c_column];
    y = gemm_result(g, y, j, sum);
  }
};

// f(product, row, column) of this block's tile of c, so many rows and columns wide, in every product of the batch.
template <class T, class F>
__device__ void for_each_product(const Gemm<T>& g, Index count, int size, const F& f) {
  const Index across = (g.n + size - 1) / size;
  const Index down = quotient(blockIdx.x, across), along = blockIdx.x - down * across;
  for (Index item = blockIdx.y; item < count; item += gridDim.y) {
    const Places<3> at = g.batch.ndim > 0 ? places(g.batch, item) : Places<3>{};
    f(Product<T>{g, g.a + at.at[1], g.b + at.at[2], g.c + at.at[0], g.alpha == 0 ? 0 : g.k}, down * size, along * size);
  }
}

// Naive: a thread for each element of c. Two reads from far memory for every multiplication.
template <class T>
__global__ void multiply_naive(Gemm<T> g, Index count) {
  for_each_product(g, count, kSide, [](const Product<T>& x, Index row, Index column) {
    const Index i = row + threadIdx.y, j = column + threadIdx.x;
    T sum = 0;
    for (Index p = 0; p < x.k; ++p) sum = fma(x.left(i, p), x.right(p, j), sum);
    x.finish(i, j, sum);
  });
}

// Blocked: a block's threads copy a slice of a and of b into shared memory, where each number then serves 16 of them.
template <class T>
__global__ void multiply_blocked(Gemm<T> g, Index count) {
  __shared__ T a[kSide][kSide + 1], b[kSide][kSide];
  for_each_product(g, count, kSide, [&](const Product<T>& x, Index row, Index column) {
    const int down = static_cast<int>(threadIdx.y), across = static_cast<int>(threadIdx.x);
    T sum = 0;
    for (Index p = 0; p < x.k; p += kSide) {
      a[down][across] = x.left(row + down, p + across);
      b[down][across] = x.right(p + down, column + across);
      __syncthreads();
      for (int q = 0; q < kSide; ++q) sum = fma(a[down][q], b[q][across], sum);
      __syncthreads();
    }
    x.finish(row + down, column + across, sum);
  });
}

template <class T>
struct Slices {
  T a[kDepth][kWide<T> + 4],
      b[kDepth][kWide<T>];  // four more: numbers that go into one column at once are in other banks
};
template <class T>
struct alignas(sizeof(T) * 4 < 16 ? sizeof(T) * 4 : 16) Four {
  T at[4];
};

// What a thread copies of a slice: some numbers of each matrix.
template <class T>
struct Carried {
  static constexpr int count = kWide<T> * kDepth / (kSide * kSide);
  T a[count], b[count];

  __device__ static int a_row(int u) { return thread() / kDepth + u * (kSide * kSide / kDepth); }
  __device__ static int a_step() { return thread() % kDepth; }
  __device__ static int b_column() { return thread() % kWide<T>; }
  __device__ static int b_step(int u) { return thread() / kWide<T> + u * (kSide * kSide / kWide<T>); }
  __device__ static int thread() { return static_cast<int>(threadIdx.y) * kSide + static_cast<int>(threadIdx.x); }

  __device__ void load(const Product<T>& x, Index row, Index column, Index p) {
#pragma unroll
    for (int u = 0; u < count; ++u) {
      a[u] = x.left(row + a_row(u), p + a_step());
      b[u] = x.right(p + b_step(u), column + b_column());
    }
  }
  __device__ void store(Slices<T>& y) const {
#pragma unroll
    for (int u = 0; u < count; ++u) {
      y.a[a_step()][a_row(u)] = a[u];
      y.b[b_step(u)][b_column()] = b[u];
    }
  }
};

// A thread's rows are four neighbours and, 64 further on, four more; so are its columns.
__device__ inline int place_of(unsigned thread, int i) {
  return i / 4 * (4 * kSide) + static_cast<int>(thread) * 4 + i % 4;
}

template <class T>
__device__ void read(T (&y)[kEach<T>], const T* line, unsigned thread) {
#pragma unroll
  for (int i = 0; i < kEach<T>; i += 4) {
    const auto four = *reinterpret_cast<const Four<T>*>(line + place_of(thread, i));
#pragma unroll
    for (int s = 0; s < 4; ++s) y[i + s] = four.at[s];
  }
}

template <class T>
__device__ void multiply_slice(const Slices<T>& x, T (&sums)[kEach<T>][kEach<T>]) {
#pragma unroll
  for (int q = 0; q < kDepth; ++q) {
    T left[kEach<T>], right[kEach<T>];
    read(left, x.a[q], threadIdx.y);
    read(right, x.b[q], threadIdx.x);
#pragma unroll
    for (int i = 0; i < kEach<T>; ++i)
#pragma unroll
      for (int j = 0; j < kEach<T>; ++j) sums[i][j] = fma(left[i], right[j], sums[i][j]);
  }
}

// Vectorised: a thread has 64 sums in registers. Sixteen numbers, read four at a time, feed 64 multiplications.
// Ahead: while a slice is multiplied, the next one is already on its way, into the other half of shared memory.
template <class T, bool ahead>
__global__ void __launch_bounds__(kSide* kSide) multiply_registers(Gemm<T> g, Index count) {
  alignas(16) __shared__ Slices<T> slices[ahead ? 2 : 1];
  for_each_product(g, count, kWide<T>, [&](const Product<T>& x, Index row, Index column) {
    T sums[kEach<T>][kEach<T>] = {};
    Carried<T> next;
    if (ahead) next.load(x, row, column, 0);
    int half = 0;
    for (Index p = 0; p < x.k; p += kDepth) {
      if (!ahead) next.load(x, row, column, p);
      next.store(slices[half]);
      __syncthreads();
      if (ahead) next.load(x, row, column, p + kDepth);
      multiply_slice(slices[half], sums);
      if (ahead) half ^= 1;
      else __syncthreads();
    }
#pragma unroll
    for (int i = 0; i < kEach<T>; ++i)
#pragma unroll
      for (int j = 0; j < kEach<T>; ++j)
        x.finish(row + place_of(threadIdx.y, i), column + place_of(threadIdx.x, j), sums[i][j]);
    __syncthreads();  // of the next product's first slice
  });
}

template <class T, auto kernel, int size>
Status gemm(const Context& context, const Gemm<T>& g) {
  const Index count = g.batch.ndim > 0 ? items(g.batch) : 1;
  if (g.m == 0 || g.n == 0 || count == 0) return Status::ok;
  const Index down = (g.m + size - 1) / size, across = (g.n + size - 1) / size;
  if (down > ((Index{1} << 31) - 1) / across) return Status::unsupported;
  constexpr Index most = 65535;  // blocks along y
  const dim3 blocks(static_cast<unsigned>(down * across), static_cast<unsigned>(count < most ? count : most));
  return launch(context, blocks, dim3(kSide, kSide), kernel, g, count);
}

template <class T, auto kernel, int size>
constexpr GemmKernels<T> kRung{.gemm = gemm<T, kernel, size>,
                               .gemm_workspace = [](const Gemm<T>&) -> std::size_t { return 0; }};
template <class T>
constexpr Ladder<GemmKernels<T>> kLadder{&kRung<T, multiply_naive<T>, kSide>, &kRung<T, multiply_blocked<T>, kSide>,
                                         &kRung<T, multiply_registers<T, false>, kWide<T>>,
                                         &kRung<T, multiply_registers<T, true>, kWide<T>>};

}  // namespace

void offer_gemm_ladder(DeviceTables& tables) {
  offer(tables, kLadder<float>);
  offer(tables, kLadder<double>);
}

}  // namespace dd2424::cuda
