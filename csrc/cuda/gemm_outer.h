#pragma once
#include "cuda/gemm_product.h"

// Products of few steps, such as the gradient of a weight by a small batch: what takes the time is to write the result.
// A thread keeps its four columns of b and walks down the rows; a row of a is the same for all of a warp.
namespace dd2424::cuda {

constexpr int kOuterSteps = 4, kOuterRows = 32;  // the most, and of a block
constexpr int kOuterColumns = kThreads / 4 * kUnit;
constexpr Index kOuterLeast = 1 << 16;  // elements of the result, and
constexpr Index kOuterAcross = 64;      // columns: fewer would leave most of a block idle

inline bool is_outer(Index rows, Index columns, Index steps) {
  return steps > 0 && steps <= kOuterSteps && columns >= kOuterAcross && rows * columns >= kOuterLeast;
}

template <class T, class Problem>
__global__ void __launch_bounds__(kThreads) outer_kernel(Problem problem, unsigned across) {
  using C = Computed<T>;
  using Four = Run<T, kUnit>;
  alignas(16) __shared__ C left[kOuterRows][kOuterSteps];
  const int thread = static_cast<int>(threadIdx.x), place = thread % (kOuterColumns / kUnit);
  const Index first = Index{blockIdx.x / across} * kOuterRows;
  const Index column = Index{blockIdx.x % across} * kOuterColumns + place * kUnit;
  const int steps = static_cast<int>(problem.steps);
  for (Index item = blockIdx.y; item < problem.count; item += gridDim.y) {
    const auto part = problem.part(item);
    __syncthreads();
    for (int i = thread; i < kOuterRows * kOuterSteps; i += kThreads) {
      const int k = i % kOuterSteps;
      const Index r = first + i / kOuterSteps;
      left[i / kOuterSteps][k] =
          r < problem.rows && k < steps ? value(part.a.data[r * part.a.row_stride + k * part.a.k_stride]) : C(0);
    }
    C right[kOuterSteps][kUnit];
#pragma unroll
    for (int k = 0; k < kOuterSteps; ++k)
#pragma unroll
      for (int j = 0; j < kUnit; ++j)
        right[k][j] = column + j < problem.columns && k < steps
                          ? value(part.b.data[(column + j) * part.b.row_stride + k * part.b.k_stride])
                          : C(0);
    __syncthreads();
    const bool is_dense = part.is_dense() && column + kUnit <= problem.columns;
#pragma unroll 1
    for (int i = thread / (kOuterColumns / kUnit); i < kOuterRows && first + i < problem.rows; i += 4) {
      C sums[kUnit] = {};
#pragma unroll
      for (int k = 0; k < kOuterSteps; ++k)
#pragma unroll
        for (int j = 0; j < kUnit; ++j) sums[j] = fma(left[i][k], right[k][j], sums[j]);
      auto* line = part.line(first + i);
      if (is_dense) {
        Four y;
#pragma unroll
        for (int j = 0; j < kUnit; ++j) y.at[j] = part.result(line, column + j, sums[j]);
        *reinterpret_cast<Four*>(line + column) = y;
      } else {
#pragma unroll
        for (int j = 0; j < kUnit; ++j)
          if (column + j < problem.columns) part.store(line, column + j, sums[j]);
      }
    }
  }
}

template <class T, class Problem>
Status run_outer(const Context& context, const Problem& problem) {
  if (problem.count == 0) return Status::ok;
  const Index across = ceil_div(problem.columns, kOuterColumns), down = ceil_div(problem.rows, kOuterRows);
  constexpr Index most = (Index{1} << 31) - 1;  // blocks along x
  if (down > most / across) return Status::unsupported;
  const dim3 blocks(static_cast<unsigned>(across * down),
                    static_cast<unsigned>(problem.count < kMostAlong ? problem.count : kMostAlong));
  return launch(context, blocks, dim3(kThreads), outer_kernel<T, Problem>, problem, static_cast<unsigned>(across));
}

}  // namespace dd2424::cuda
