#pragma once
#include "cuda/norm_batch.h"

// Layer norm and root mean square norm. A warp has a row, or a block one of more than kWarpRow elements; up to kHeld
// packs a thread, it is read from memory once and stays in registers, and on the way back the sums over rows do too.
namespace dd2424::cuda {
namespace {

constexpr int kHeld = 4;
constexpr Index kWarpRow = 512;
constexpr Index kMostRowGroups = kWantedBlocks, kRowsOfGroup = 8;

struct RowCut {
  int lanes;  // threads of a row
  bool held;
  Index groups;  // of lanes threads, each of which takes every groups-th row
};
template <int W>
RowCut row_cut(Index rows, Index cols) {
  const int lanes = cols <= kWarpRow ? kWarp : kThreads;
  const Index wanted = ceil_divide(rows, kRowsOfGroup);
  return {lanes, cols <= static_cast<Index>(lanes) * kHeld * W, at_least(at_most(wanted, kMostRowGroups), 1)};
}
template <class T, class F>
Status with_row_layout(Index rows, Index cols, const F& f) {
  const auto held = [&]<int W>(std::integral_constant<int, W> pack) {
    const RowCut cut = row_cut<W>(rows, cols);
    return cut.held ? f(pack, std::integral_constant<int, kHeld>(), cut)
                    : f(pack, std::integral_constant<int, 0>(), cut);
  };
  return cols % kPack<T> == 0 ? held(std::integral_constant<int, kPack<T>>()) : held(std::integral_constant<int, 1>());
}

__device__ inline void wait_for_row(int lanes) {
  if (lanes == kWarp) __syncwarp();
  else __syncthreads();
}

// The sums over a row's threads, which all of them get.
template <int N>
__device__ inline void sum_row(double (&mine)[N], int lanes) {
  __shared__ double of_warps[kThreads / kWarp][N];
#pragma unroll
  for (int step = kWarp / 2; step > 0; step /= 2)
#pragma unroll
    for (int n = 0; n < N; ++n) mine[n] += __shfl_xor_sync(0xffffffff, mine[n], step);
  if (lanes == kWarp) return;
  __syncthreads();
  if (threadIdx.x % kWarp == 0)
    for (int n = 0; n < N; ++n) of_warps[threadIdx.x / kWarp][n] = mine[n];
  __syncthreads();
#pragma unroll
  for (int n = 0; n < N; ++n) {
    mine[n] = 0;
    for (int warp = 0; warp < kThreads / kWarp; ++warp) mine[n] += of_warps[warp][n];
  }
}

// Calls f(k, first element) for each pack of a row that is this thread's; k numbers them where they are held.
template <int W, int kPacks, class F>
__device__ inline void for_packs(Index cols, int lanes, const F& f) {
  const Index first = static_cast<Index>(threadIdx.x) % lanes * W;
  if constexpr (kPacks > 0) {
#pragma unroll
    for (int k = 0; k < kPacks; ++k)
      if (first + static_cast<Index>(k) * lanes * W < cols) f(k, first + static_cast<Index>(k) * lanes * W);
  } else {
    for (Index i = first; i < cols; i += static_cast<Index>(lanes) * W) f(0, i);
  }
}

template <int W, class Acc>
__device__ inline Pack<Acc, W> load_parameters(const Acc* p, Index i, Acc otherwise, bool aligned) {
  if (p) return load_pack<W>(p + i, aligned);
  Pack<Acc, W> x;
#pragma unroll
  for (int w = 0; w < W; ++w) x.of[w] = otherwise;
  return x;
}

template <class Acc>
struct RowStatistics {
  Acc mean, low, rstd;
};
// Of a row that pack(k, i) gives; its mean is taken about `first`, one of its elements.
template <int W, int kPacks, class T, class GetPack>
__device__ RowStatistics<Accumulator<T>> row_statistics(const RowNormForward<T>& a, int lanes, T first,
                                                        const GetPack& pack) {
  using Acc = Accumulator<T>;
  const double n = static_cast<double>(a.cols);
  Acc mean = 0;
  if (a.centred) {
    double sum[1] = {};
    for_packs<W, kPacks>(a.cols, lanes, [&](int k, Index i) {
      const Pack<T, W> v = pack(k, i);
      Acc part = 0;
#pragma unroll
      for (int w = 0; w < W; ++w) part += value(v.of[w]) - value(first);
      sum[0] += static_cast<double>(part);
    });
    sum_row(sum, lanes);
    mean = static_cast<Acc>(static_cast<double>(value(first)) + sum[0] / n);
  }
  double sums[2] = {};  // about the mean: of the elements, of their squares
  for_packs<W, kPacks>(a.cols, lanes, [&](int k, Index i) {
    const Pack<T, W> v = pack(k, i);
    Acc part = 0, square = 0;
#pragma unroll
    for (int w = 0; w < W; ++w) {
      const Acc d = value(v.of[w]) - mean;
      part += d;
      square = fma(d, d, square);
    }
    sums[0] += static_cast<double>(part);
    sums[1] += static_cast<double>(square);
  });
  sum_row(sums, lanes);
  const double low = a.centred ? sums[0] / n : 0;
  const Acc var = static_cast<Acc>(sums[1] / n - low * low);
  return {mean, static_cast<Acc>(low), Acc(1) / sqrt(var + static_cast<Acc>(a.eps))};
}

template <class T, int W, int kPacks>
__global__ void row_norm_kernel(RowNormForward<T> a, RowCut cut, bool aligned) {
  using Acc = Accumulator<T>;
  const Index row = (static_cast<Index>(blockIdx.x) * kThreads + threadIdx.x) / cut.lanes;
  if (row >= a.rows) return;  // whole warps
  const Index at = row * a.cols;
  const T first = a.x[at];
  if (a.residual) wait_for_row(cut.lanes);  // sum may be x, and its first element is another thread's to write
  Pack<T, W> held[kPacks > 0 ? kPacks : 1];
  for_packs<W, kPacks>(a.cols, cut.lanes, [&](int k, Index i) {
    held[k] = load_pack<W>(a.x + at + i, aligned);
    if (!a.residual) return;
    const Pack<T, W> more = load_pack<W>(a.residual + at + i, aligned);
#pragma unroll
    for (int w = 0; w < W; ++w) held[k].of[w] = element<T>(value(held[k].of[w]) + value(more.of[w]));
    store_pack<W>(a.sum + at + i, held[k], aligned);
  });
  const auto pack = [&](int k, Index i) {
    if constexpr (kPacks > 0) return held[k];
    else return load_pack<W>((a.residual ? a.sum : a.x) + at + i, aligned);
  };
  const RowStatistics<Acc> s = row_statistics<W, kPacks>(a, cut.lanes, first, pack);
  const Acc back = -s.low * s.rstd;
  for_packs<W, kPacks>(a.cols, cut.lanes, [&](int k, Index i) {
    Pack<T, W> v = pack(k, i);
    const Pack<Acc, W> weight = load_parameters<W>(a.weight, i, Acc(1), aligned),
                       bias = load_parameters<W>(a.bias, i, Acc(0), aligned);
#pragma unroll
    for (int w = 0; w < W; ++w)
      v.of[w] = element<T>(fma(fma(value(v.of[w]) - s.mean, s.rstd, back), weight.of[w], bias.of[w]));
    store_pack<W>(a.y + at + i, v, aligned);
  });
  if (!a.rstd || threadIdx.x % static_cast<unsigned>(cut.lanes) != 0) return;
  a.rstd[row] = s.rstd;
  if (a.centred) a.mean[row] = s.mean, a.low[row] = s.low;
}

template <class T>
Status row_norm_forward(const Context& context, const RowNormForward<T>& a) {
  if (a.rows * a.cols == 0) return Status::ok;
  const bool aligned = are_aligned({a.x, a.y, a.residual, a.sum, a.weight, a.bias});
  return with_row_layout<T>(
      a.rows, a.cols,
      [&]<int W, int P>(std::integral_constant<int, W>, std::integral_constant<int, P>, const RowCut& cut) {
        const dim3 grid(grid_size(ceil_divide(a.rows * cut.lanes, kThreads)));
        return launch(context, grid, dim3(kThreads), row_norm_kernel<T, W, P>, a, cut, aligned);
      });
}

// Backward. With n = (x - mean) * rstd and g = dy * weight,
//   dx = rstd * (g - E[g] - n * E[g * n]), dweight = sum of dy * n, dbias = sum of dy over the rows.
// Rows that are held leave their groups' sums of both in `parts`, (groups, 2, cols).

template <class Acc>
struct RowFactors {
  Acc mean, rstd, back, shift, tilt;
  __device__ Acc normal(Acc x) const { return fma(x - mean, rstd, back); }
};
// dx of W elements at `place`, given those of x and dy.
template <int W, class T>
__device__ inline void store_row_gradient(const RowNormBackward<T>& a, const RowFactors<Accumulator<T>>& f, Index place,
                                          Index i, Pack<T, W> x, const Pack<T, W>& dy, bool aligned) {
  using Acc = Accumulator<T>;
  Pack<T, W> more;
  if (a.dsum) more = load_pack<W>(a.dsum + place, aligned);
  const Pack<Acc, W> weight = load_parameters<W>(a.weight, i, Acc(1), aligned);
#pragma unroll
  for (int w = 0; w < W; ++w) {
    Acc dx = fma(value(dy.of[w]) * weight.of[w], f.rstd, -fma(f.normal(value(x.of[w])), f.tilt, f.shift));
    if (a.dsum) dx += value(more.of[w]);
    x.of[w] = element<T>(dx);
  }
  store_pack<W>(a.dx + place, x, aligned);
}

template <class T, int W, int kPacks>
__global__ void __launch_bounds__(kThreads, 2)
    row_gradient_kernel(RowNormBackward<T> a, RowCut cut, Accumulator<T>* parts, bool aligned) {
  using Acc = Accumulator<T>;
  constexpr int kSlots = kPacks > 0 ? kPacks : 1;
  const Index group = (static_cast<Index>(blockIdx.x) * kThreads + threadIdx.x) / cut.lanes;
  if (group >= cut.groups) return;  // whole warps
  Pack<Acc, W> dweight[kSlots]{}, dbias[kSlots]{};
  const double n = static_cast<double>(a.cols);
  for (Index row = group; row < a.rows; row += cut.groups) {
    RowFactors<Acc> f{a.centred ? a.mean[row] : Acc(0), a.rstd[row], Acc(0), Acc(0), Acc(0)};
    if (a.centred) f.back = -a.low[row] * f.rstd;
    const T *x = a.x + row * a.cols, *dy = a.dy + row * a.cols;
    Pack<T, W> held[kSlots], held_dy[kSlots];
    double sums[2] = {};  // of g, of g * n
    for_packs<W, kPacks>(a.cols, cut.lanes, [&](int k, Index i) {
      held[k] = load_pack<W>(x + i, aligned);
      held_dy[k] = load_pack<W>(dy + i, aligned);
      const Pack<Acc, W> weight = load_parameters<W>(a.weight, i, Acc(1), aligned);
      Acc part = 0, part_product = 0;
#pragma unroll
      for (int w = 0; w < W; ++w) {
        const Acc normal = f.normal(value(held[k].of[w])), d = value(held_dy[k].of[w]);
        if constexpr (kPacks > 0) {
          dweight[k].of[w] = fma(d, normal, dweight[k].of[w]);
          dbias[k].of[w] += d;
        }
        const Acc g = d * weight.of[w];
        part += g;
        part_product = fma(g, normal, part_product);
      }
      sums[0] += static_cast<double>(part);
      sums[1] += static_cast<double>(part_product);
    });
    if (!a.dx) continue;
    sum_row(sums, cut.lanes);
    if (a.centred) f.shift = f.rstd * static_cast<Acc>(sums[0] / n);
    f.tilt = f.rstd * static_cast<Acc>(sums[1] / n);
    for_packs<W, kPacks>(a.cols, cut.lanes, [&](int k, Index i) {
      const Index place = row * a.cols + i;
      if constexpr (kPacks > 0) store_row_gradient<W>(a, f, place, i, held[k], held_dy[k], aligned);
      else
        store_row_gradient<W>(a, f, place, i, load_pack<W>(a.x + place, aligned), load_pack<W>(a.dy + place, aligned),
                              aligned);
    });
  }
  if constexpr (kPacks > 0) {
    if (!parts) return;
    for_packs<W, kPacks>(a.cols, cut.lanes, [&](int k, Index i) {
#pragma unroll
      for (int w = 0; w < W; ++w) {
        parts[2 * group * a.cols + i + w] = dweight[k].of[w];
        parts[(2 * group + 1) * a.cols + i + w] = dbias[k].of[w];
      }
    });
  }
}

// The same sums for rows that are too long to be held: a thread goes down a column.
template <class T>
__global__ void column_sums_kernel(RowNormBackward<T> a, Index groups, Accumulator<T>* parts) {
  using Acc = Accumulator<T>;
  const Index c = static_cast<Index>(blockIdx.x) * kThreads + threadIdx.x, group = blockIdx.y;
  if (c >= a.cols) return;
  Acc dweight = 0, dbias = 0;
  for (Index row = group; row < a.rows; row += groups) {
    const Acc rstd = a.rstd[row], d = value(a.dy[row * a.cols + c]);
    const Acc mean = a.centred ? a.mean[row] : Acc(0), back = a.centred ? -a.low[row] * rstd : Acc(0);
    dweight = fma(d, fma(value(a.x[row * a.cols + c]) - mean, rstd, back), dweight);
    dbias += d;
  }
  parts[2 * group * a.cols + c] = dweight;
  parts[(2 * group + 1) * a.cols + c] = dbias;
}

struct RowSums {
  double dweight, dbias;
};
__device__ inline RowSums joined(const RowSums& a, const RowSums& b) {
  return {a.dweight + b.dweight, a.dbias + b.dbias};
}

// 8 columns a block; 32 threads of each join every 32nd group.
template <class T>
__global__ void join_rows_kernel(RowNormBackward<T> a, Index groups, const Accumulator<T>* parts) {
  const Index c = static_cast<Index>(blockIdx.x) * kFinished + threadIdx.x % kFinished;
  RowSums sum{};
#pragma unroll 4
  for (Index group = threadIdx.x / kFinished; c < a.cols && group < groups; group += kThreads / kFinished) {
    sum.dweight += static_cast<double>(parts[2 * group * a.cols + c]);
    sum.dbias += static_cast<double>(parts[(2 * group + 1) * a.cols + c]);
  }
  sum = merged_down(sum, kFinished);
  if (static_cast<int>(threadIdx.x) >= kFinished || c >= a.cols) return;
  if (a.dweight) a.dweight[c] = static_cast<Accumulator<T>>(sum.dweight);
  if (a.dbias) a.dbias[c] = static_cast<Accumulator<T>>(sum.dbias);
}

template <class T>
Status row_norm_backward(const Context& context, const RowNormBackward<T>& a) {
  using Acc = Accumulator<T>;
  if (a.cols == 0) return Status::ok;
  if (a.rows == 0) return launch_items(context, a.cols, clear_kernel<Acc>, a.dweight, a.dbias, a.cols);
  const bool aligned = are_aligned({a.x, a.dy, a.dx, a.dsum, a.weight}), has_sums = a.dweight || a.dbias;
  auto* parts = has_sums ? static_cast<Acc*>(context.workspace) : nullptr;
  return with_row_layout<T>(
      a.rows, a.cols,
      [&]<int W, int P>(std::integral_constant<int, W>, std::integral_constant<int, P>, const RowCut& cut) {
        Status status = Status::ok;
        if (a.dx || P > 0)
          status = launch(context, dim3(grid_size(ceil_divide(cut.groups * cut.lanes, kThreads))), dim3(kThreads),
                          row_gradient_kernel<T, W, P>, a, cut, parts, aligned);
        if (status != Status::ok || !has_sums) return status;
        if (P == 0)
          status = launch(context, dim3(grid_size(ceil_divide(a.cols, kThreads)), grid_size(cut.groups)),
                          dim3(kThreads), column_sums_kernel<T>, a, cut.groups, parts);
        if (status != Status::ok) return status;
        return launch(context, dim3(grid_size(ceil_divide(a.cols, kFinished))), dim3(kThreads), join_rows_kernel<T>, a,
                      cut.groups, static_cast<const Acc*>(parts));
      });
}

inline std::size_t row_norm_workspace(Index rows, Index cols) {
  return static_cast<std::size_t>(2 * row_cut<1>(rows, cols).groups * cols) * sizeof(double);
}

}  // namespace
}  // namespace dd2424::cuda
