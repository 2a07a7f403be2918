#pragma once
#include "cuda/attention_tile.h"

// What backward needs of each query beside what forward left.
namespace dd2424::cuda {
namespace {

// deltas[row] = sum of dy * y: a warp for each row.
template <class T>
__global__ void sum_products(AttentionBackward<T> a, Computed<T>* deltas) {
  using C = Computed<T>;
  const AttentionSizes& s = a.sizes;
  const Index rows = s.batch * s.heads * s.queries;
  const Index row = (static_cast<Index>(blockIdx.x) * blockDim.x + threadIdx.x) / kWarp;
  C sum = 0;
  if (row < rows) {
    const Index head = quotient(row, s.queries), query = row - head * s.queries;
    const Index b = quotient(head, s.heads), h = head - b * s.heads;
    const T *dy = row_at(a.dy, b, h, query), *y = row_at(a.y, b, h, query);
    for (Index f = threadIdx.x % kWarp; f < s.value_features; f += kWarp) sum = fma(value(dy[f]), value(y[f]), sum);
  }
  for (int step = kWarp / 2; step > 0; step /= 2) sum += __shfl_xor_sync(0xffffffff, sum, step);
  if (row < rows && threadIdx.x % kWarp == 0) deltas[row] = sum;
}
template <class T>
Status make_deltas(const Context& context, const AttentionBackward<T>& a) {
  const Index rows = a.sizes.batch * a.sizes.heads * a.sizes.queries;
  constexpr Index each = kThreads / kWarp;
  if (rows == 0) return Status::ok;
  const dim3 blocks(static_cast<unsigned>((rows + each - 1) / each));
  return launch(context, blocks, dim3(kThreads), sum_products<T>, a, static_cast<Computed<T>*>(context.workspace));
}

}  // namespace
}  // namespace dd2424::cuda
