#include "core/activation.h"

#include "cuda/elementwise_functions.h"
#include "cuda/launch.h"
#include "cuda/offer.h"
#include "cuda/pack.h"

// Gates, and what lies behind a bias and an activation.
namespace dd2424::cuda {
namespace {

template <class C>
__device__ inline C activated(Activation activation, C x) {
  switch (activation) {
    case Activation::sigmoid: return sigmoid(x);
    case Activation::gelu: return gelu(x);
    case Activation::gelu_tanh: return gelu_tanh(x);
    default: return silu(x);
  }
}
// dy times the slope at x, the activation's input.
template <class C>
__device__ inline C through_gate(Activation activation, C dy, C x) {
  switch (activation) {
    case Activation::sigmoid: return sigmoid_backward(dy, sigmoid(x));
    case Activation::gelu: return gelu_backward(dy, x);
    case Activation::gelu_tanh: return gelu_tanh_backward(dy, x);
    default: return silu_backward(dy, x);
  }
}
template <class T>
constexpr int kWide = 16 / sizeof(T);  // elements that are read together
bool is_gate(Activation activation) {
  return activation == Activation::sigmoid || activation == Activation::gelu || activation == Activation::gelu_tanh ||
         activation == Activation::silu;
}

template <class T, int W>
__global__ void gated_kernel(Gated<T> g, Index packs) {
  for_each_item(g.rows * packs, [&](Index i) {
    const Index row = quotient(i, packs), col = (i - row * packs) * W;
    Pack<T, W> a = load_pack<W>(g.a + row * g.a_row + col, W > 1);
    const Pack<T, W> b = load_pack<W>(g.b + row * g.b_row + col, W > 1);
#pragma unroll
    for (int w = 0; w < W; ++w) a.of[w] = element<T>(activated(g.activation, value(a.of[w])) * value(b.of[w]));
    store_pack<W>(g.y + row * g.cols + col, a, W > 1);
  });
}
template <class T, int W>
__global__ void gated_backward_kernel(GatedBackward<T> g, Index packs) {
  using C = Computed<T>;
  for_each_item(g.rows * packs, [&](Index i) {
    const Index row = quotient(i, packs), col = (i - row * packs) * W;
    Pack<T, W> a = load_pack<W>(g.a + row * g.a_row + col, W > 1), b = load_pack<W>(g.b + row * g.b_row + col, W > 1);
    const Pack<T, W> dy = load_pack<W>(g.dy + row * g.cols + col, W > 1);
#pragma unroll
    for (int w = 0; w < W; ++w) {
      const C x = value(a.of[w]), d = value(dy.of[w]);
      a.of[w] = element<T>(through_gate(g.activation, d * value(b.of[w]), x));
      b.of[w] = element<T>(d * activated(g.activation, x));
    }
    store_pack<W>(g.da + row * g.da_row + col, a, W > 1);
    store_pack<W>(g.db + row * g.db_row + col, b, W > 1);
  });
}

// Elements do not depend on each other: whether they are read together may hang by where they lie.
template <class T>
bool are_packed(Index cols, std::initializer_list<Index> rows, std::initializer_list<const void*> pointers) {
  for (const Index row : rows)
    if (row % kWide<T> != 0) return false;
  return cols % kWide<T> == 0 && are_aligned(pointers);
}

template <class T>
Status gated(const Context& context, const Gated<T>& g) {
  if (!is_gate(g.activation)) return Status::unsupported;
  if (g.rows * g.cols == 0) return Status::ok;
  if (!are_packed<T>(g.cols, {g.a_row, g.b_row}, {g.a, g.b, g.y}))
    return launch_items(context, g.rows * g.cols, gated_kernel<T, 1>, g, g.cols);
  const Index packs = g.cols / kWide<T>;
  return launch_items(context, g.rows * packs, gated_kernel<T, kWide<T>>, g, packs);
}
template <class T>
Status gated_backward(const Context& context, const GatedBackward<T>& g) {
  if (!is_gate(g.activation)) return Status::unsupported;
  if (g.rows * g.cols == 0) return Status::ok;
  if (!are_packed<T>(g.cols, {g.a_row, g.b_row, g.da_row, g.db_row}, {g.a, g.b, g.dy, g.da, g.db}))
    return launch_items(context, g.rows * g.cols, gated_backward_kernel<T, 1>, g, g.cols);
  const Index packs = g.cols / kWide<T>;
  return launch_items(context, g.rows * packs, gated_backward_kernel<T, kWide<T>>, g, packs);
}

// dz, and the sums of its columns: a warp has 32 columns, 8 warps the rows of a chunk; a second walk joins chunks.

constexpr Index kRowsOfChunk = 64, kMostChunks = 512;
constexpr int kRowsAtOnce = kThreads / kWarp;
constexpr int kAhead = 4;  // rows that a thread reads before it writes any

Index chunks_of(Index rows) {
  const Index wanted = (rows + kRowsOfChunk - 1) / kRowsOfChunk;
  return wanted < 1 ? 1 : wanted < kMostChunks ? wanted : kMostChunks;
}

template <class C>
__device__ inline C through_bias(Activation activation, C dy, C saved) {
  switch (activation) {
    case Activation::relu: return saved <= C(0) ? C(0) : dy;
    case Activation::tanh: return tanh_backward(dy, saved);
    case Activation::sigmoid: return sigmoid_backward(dy, saved);
    default: return through_gate(activation, dy, saved);
  }
}

// What the block's threads have for its 32 columns, in the first warp.
__device__ inline double column_sum(double mine) {
  __shared__ double sums[kThreads];
  sums[threadIdx.x] = mine;
  __syncthreads();
  double total = 0;
  for (int i = 0; i < kRowsAtOnce; ++i) total += sums[i * kWarp + threadIdx.x % kWarp];
  return total;
}

template <class T>
__global__ void bias_backward_kernel(BiasBackward<T> a, double* parts) {
  using C = Computed<T>;
  const Index col = static_cast<Index>(blockIdx.x) * kWarp + threadIdx.x % kWarp;
  double sum = 0;
  const Index step = static_cast<Index>(gridDim.y) * kRowsAtOnce;
  for (Index row = blockIdx.y * kRowsAtOnce + threadIdx.x / kWarp; col < a.cols && row < a.rows; row += kAhead * step) {
    T dy[kAhead], saved[kAhead];
#pragma unroll
    for (int k = 0; k < kAhead; ++k) {
      const Index at = (row + k * step < a.rows ? row + k * step : row) * a.cols + col;
      dy[k] = a.dy[at], saved[k] = a.saved[at];
    }
#pragma unroll
    for (int k = 0; k < kAhead; ++k) {
      if (row + k * step >= a.rows) continue;
      const C dz = through_bias(a.activation, value(dy[k]), value(saved[k]));
      a.dz[(row + k * step) * a.cols + col] = element<T>(dz);
      sum += static_cast<double>(dz);
    }
  }
  sum = column_sum(sum);
  if (threadIdx.x < kWarp && col < a.cols) parts[blockIdx.y * a.cols + col] = sum;
}
template <class T>
__global__ void join_columns_kernel(BiasBackward<T> a, Index chunks, const double* parts) {
  const Index col = static_cast<Index>(blockIdx.x) * kWarp + threadIdx.x % kWarp;
  double sum = 0;
  for (Index chunk = threadIdx.x / kWarp; col < a.cols && chunk < chunks; chunk += kRowsAtOnce)
    sum += parts[chunk * a.cols + col];
  sum = column_sum(sum);
  if (threadIdx.x < kWarp && col < a.cols) a.dbias[col] = element<T>(static_cast<Computed<T>>(sum));
}

template <class T>
Status bias_backward(const Context& context, const BiasBackward<T>& a) {
  if (a.activation == Activation::none) return Status::unsupported;
  if (a.cols == 0) return Status::ok;
  auto* parts = static_cast<double*>(context.workspace);
  const Index chunks = chunks_of(a.rows);
  const unsigned columns = static_cast<unsigned>((a.cols + kWarp - 1) / kWarp);
  const Status status =
      launch(context, dim3(columns, static_cast<unsigned>(chunks)), dim3(kThreads), bias_backward_kernel<T>, a, parts);
  if (status != Status::ok) return status;
  return launch(context, dim3(columns), dim3(kThreads), join_columns_kernel<T>, a, chunks,
                static_cast<const double*>(parts));
}
std::size_t bias_backward_workspace(Index rows, Index cols) {
  return static_cast<std::size_t>(chunks_of(rows) * cols) * sizeof(double);
}

template <class T>
constexpr ActivationKernels<T> kActivation{.gated = gated<T>,
                                           .gated_backward = gated_backward<T>,
                                           .bias_backward = bias_backward<T>,
                                           .bias_backward_workspace = bias_backward_workspace};

}  // namespace

void offer_activation(DeviceTables& tables) {
  offer(tables, kActivation<float>);
  offer(tables, kActivation<double>);
  offer(tables, kActivation<bfloat16>);
  offer(tables, kActivation<float16>);
}

}  // namespace dd2424::cuda
