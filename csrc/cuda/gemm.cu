#include "core/gemm.h"

#include "cuda/elementwise_functions.h"
#include "cuda/launch.h"
#include "cuda/offer.h"

// Matrix products without tensor cores: a block of threads makes a square tile of c, stepping along k by slices of a
// and b in shared memory, and a thread keeps a square of sums in registers. Every element of c is one chain of fused
// multiply-adds in the order of k, so that its bits do not depend on the tile.
namespace dd2424::cuda {
namespace {

constexpr int kSlice = 16;  // of k
constexpr int kSide = 16;   // threads along each side of a tile: 256 in all

// Copies a slice of a (tile rows by kSlice) or, with rows and columns exchanged, of b; beyond the matrix it is 0.
// Threads go first along the dimension whose neighbours lie closer in memory.
template <int tile, class T>
__device__ void load_slice(Computed<T> (&slice)[kSlice][tile], const T* x, Index row_stride, Index k_stride, Index row,
                           Index k, Index rows, Index ks) {
  constexpr int count = tile * kSlice, threads = kSide * kSide;
  const bool k_first = k_stride < row_stride;
  for (int i = static_cast<int>(threadIdx.x); i < count; i += threads) {
    const int r = k_first ? i / kSlice : i % tile, p = k_first ? i % kSlice : i / tile;
    const bool inside = row + r < rows && k + p < ks;
    slice[p][r] = inside ? value(x[(row + r) * row_stride + (k + p) * k_stride]) : Computed<T>(0);
  }
}

__device__ inline UnaryOp operation(Activation activation) {
  switch (activation) {
    case Activation::relu: return UnaryOp::relu;
    case Activation::gelu: return UnaryOp::gelu;
    case Activation::tanh: return UnaryOp::tanh;
    case Activation::sigmoid: return UnaryOp::sigmoid;
    case Activation::gelu_tanh: return UnaryOp::gelu_tanh;
    default: return UnaryOp::silu;
  }
}

template <bool has_epilogue, class T>
__device__ void store_sum(const Gemm<T>& g, T* c, Index i, Index j, Computed<T> sum) {
  using C = Computed<T>;
  T* at = c + i * g.c_row + j * g.c_column;
  C y = sum * static_cast<C>(g.alpha);
  if (g.beta != 0) y = fma(static_cast<C>(g.beta), value(*at), y);
  if (g.bias) y += g.bias[j];
  if constexpr (has_epilogue) y = apply(operation(g.epilogue), y, C(0), C(0));
  *at = element<T>(y);
}

// A thread's rows are side, 2 side ... apart, and so its columns: neighbours then read neighbours.
template <int per, bool has_epilogue, class T>
__global__ void __launch_bounds__(kSide* kSide) gemm_kernel(Gemm<T> g, Index batches) {
  constexpr int tile = per * kSide;
  using C = Computed<T>;
  __shared__ C a_slice[kSlice][tile], b_slice[kSlice][tile];
  const int across = static_cast<int>(threadIdx.x) % kSide, down = static_cast<int>(threadIdx.x) / kSide;
  const Index row = static_cast<Index>(blockIdx.x) * tile, column = static_cast<Index>(blockIdx.y) * tile;
  const Index ks = g.alpha == 0 ? 0 : g.k;
  for (Index batch = blockIdx.z; batch < batches; batch += gridDim.z) {
    const Places<3> place = g.batch.ndim > 0 ? places(g.batch, batch) : Places<3>{};
    C sums[per][per] = {};
    for (Index k = 0; k < ks; k += kSlice) {
      load_slice<tile>(a_slice, g.a + place.at[1], g.a_row, g.a_column, row, k, g.m, ks);
      load_slice<tile>(b_slice, g.b + place.at[2], g.b_column, g.b_row, column, k, g.n, ks);
      __syncthreads();
      for (int p = 0; p < kSlice; ++p) {
        C left[per], right[per];
        for (int i = 0; i < per; ++i) left[i] = a_slice[p][down + i * kSide], right[i] = b_slice[p][across + i * kSide];
        for (int i = 0; i < per; ++i)
          for (int j = 0; j < per; ++j) sums[i][j] = fma(left[i], right[j], sums[i][j]);
      }
      __syncthreads();
    }
    for (int i = 0; i < per; ++i)
      for (int j = 0; j < per; ++j) {
        const Index r = row + down + i * kSide, c = column + across + j * kSide;
        if (r < g.m && c < g.n) store_sum<has_epilogue>(g, g.c + place.at[0], r, c, sums[i][j]);
      }
  }
}

template <int per, class T>
Status run_tiles(const Context& context, const Gemm<T>& g) {
  constexpr Index tile = per * kSide, most = 65535;  // blocks along y and z
  const Index rows = (g.m + tile - 1) / tile, columns = (g.n + tile - 1) / tile;
  const Index batches = g.batch.ndim > 0 ? items(g.batch) : 1;
  if (rows == 0 || columns == 0 || batches == 0) return Status::ok;
  if (columns > most) return Status::unsupported;
  const dim3 blocks(static_cast<unsigned>(rows), static_cast<unsigned>(columns),
                    static_cast<unsigned>(batches < most ? batches : most));
  const auto kernel = g.epilogue == Activation::none ? gemm_kernel<per, false, T> : gemm_kernel<per, true, T>;
  return launch(context, blocks, dim3(kSide * kSide), kernel, g, batches);
}

constexpr Index kLarge = 512;  // from here on there are tiles of 128 enough to go round

template <class T>
Status gemm(const Context& context, const Gemm<T>& g) {
  if constexpr (sizeof(Computed<T>) == 4)
    if (g.m >= kLarge && g.n >= kLarge) return run_tiles<8>(context, g);
  return run_tiles<4>(context, g);
}
template <class T>
std::size_t gemm_workspace(const Gemm<T>&) {
  return 0;
}

template <class T>
constexpr GemmKernels<T> kGemm{.gemm = gemm<T>, .gemm_workspace = gemm_workspace<T>};

}  // namespace

void offer_gemm(DeviceTables& tables) {
  offer(tables, kGemm<float>);
  offer(tables, kGemm<double>);
  offer(tables, kGemm<bfloat16>);
}

}  // namespace dd2424::cuda
