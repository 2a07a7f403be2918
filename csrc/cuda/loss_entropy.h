#pragma once
#include "core/loss.h"
#include "cuda/loss_rows.h"

// Cross-entropy, row by row, and the sum of the rows' losses.
namespace dd2424::cuda {
namespace {

template <class T>
__device__ inline bool is_class(const CrossEntropy<T>& a, std::int64_t target) {
  return target >= 0 && target < a.classes;
}

template <class T>
struct EntropyRow {
  using C = Computed<T>;
  static constexpr bool reads_again = false;  // or rarely
  CrossEntropy<T> a;

  template <class Way>
  __device__ void run(const Seat<Way>& seat) const {
    Line<Way, T> x(a.x, seat, -static_cast<C>(INFINITY));
    const TopAndSum<C> row = top_and_sum(x, seat);
    const C log_sum = log(row.total());
    C weighted = 0, weights = 0;  // sums over c of weight[c] * (x[c] - top), and of weight[c]
    if (a.smoothing != 0) {
      x.each([&](Index c, const auto& v) {
        for (int i = 0; i < kWidth<Way, T>; ++i) {
          if (c + i >= a.classes) break;
          const C weight = a.weight ? a.weight[c + i] : C(1);
          weighted += weight * (v[i] - row.top);
          weights += weight;
        }
      });
      weighted = sum_over(seat, weighted);
      weights = sum_over(seat, weights);
    }
    if (seat.is_first()) finish(x, seat.row, row.top, log_sum, weighted, weights);
  }

  template <class Line>
  __device__ void finish(const Line& x, Index row, C top, C log_sum, C weighted, C weights) const {
    a.lse[row] = log_sum;
    const std::int64_t target = a.target[row];
    const bool counts = target != a.ignore_index && is_class(a, target);
    if (!counts) {
      if (target != a.ignore_index && a.outside) *a.outside = true;
      a.losses[row] = 0;
      return;
    }
    C loss = log_sum - (x.at(target) - top);
    if (a.weight) loss *= a.weight[target];
    if (a.smoothing != 0) {
      const C share = static_cast<C>(a.smoothing / static_cast<double>(a.classes));
      loss = loss * static_cast<C>(1 - a.smoothing) + share * (log_sum * weights - weighted);
    }
    a.losses[row] = loss;
  }
};

// dx[c] = p[c] * scale - weight[c] * share - (c == target ? hit : 0); 0 where the row is ignored.
template <class T>
struct EntropySlopeRow {
  using C = Computed<T>;
  static constexpr bool reads_again = true;
  CrossEntropyBackward<T> a;

  template <class Way>
  __device__ void run(const Seat<Way>& seat) const {
    Line<Way, T> x(a.x, seat, -static_cast<C>(INFINITY));
    C top = -static_cast<C>(INFINITY), weights = 0;
    x.each([&](Index c, const auto& v) {
      for (int i = 0; i < kWidth<Way, T>; ++i) {
        top = fmax(v[i], top);  // NaN loses
        if (a.smoothing != 0 && c + i < a.classes) weights += a.weight ? a.weight[c + i] : C(1);
      }
    });
    top = merged(seat, Sum<C>{top}, [](const Sum<C>& p, const Sum<C>& q) { return p.sum > q.sum ? p : q; }).sum;
    if (a.smoothing != 0) weights = sum_over(seat, weights);
    if (seat.classes > 0) write_row(x, seat, top, weights);
  }

  template <class Way>
  __device__ void write_row(Line<Way, T>& x, const Seat<Way>& seat, C top, C weights) const {
    const std::int64_t target = a.target[seat.row];
    if (target == a.ignore_index || target < 0 || target >= a.classes)
      return map_line(x, a.dx, seat, [](C, Index) { return C(0); });
    C slope = value(a.dloss[a.reduction == Reduction::none ? seat.row : 0]);
    if (a.reduction == Reduction::mean) slope /= *a.total_weight;
    const C hit = slope * static_cast<C>(1 - a.smoothing) * (a.weight ? a.weight[target] : C(1));
    const C share = slope * static_cast<C>(a.smoothing / static_cast<double>(a.classes));
    const C scale = hit + share * weights, log_sum = a.lse[seat.row];
    const C* const weight = a.smoothing != 0 ? a.weight : nullptr;
    constexpr int width = kWidth<Way, T>;
    x.each([&](Index c, const auto& v) {
      const Index place = target - c;
      const int at = place >= 0 && place < width ? static_cast<int>(place) : width;  // of the target in the vector
      C dx[width];
#pragma unroll
      for (int i = 0; i < width; ++i) {
        const C rate = weight && c + i < seat.classes ? weight[c + i] : C(1);
        dx[i] = exp((v[i] - top) - log_sum) * scale - rate * share;
        if (i == at) dx[i] -= hit;
      }
      write<Way>(a.dx, seat, c, dx);
    });
  }
};

struct LossPart {
  double loss, weight;
};
constexpr Index kRowsOfPart = 4096, kMostParts = 256;

template <class T>
__device__ inline void finish_losses(const CrossEntropy<T>& a, const LossPart& whole) {
  *a.total_weight = static_cast<Computed<T>>(whole.weight);
  const double loss = a.reduction == Reduction::mean ? whole.loss / whole.weight : whole.loss;
  *a.loss = element<T>(static_cast<Computed<T>>(loss));
}

// A block's threads add up what `term` has for their items; the first thread has the sum.
template <class Term>
__device__ inline LossPart sum_in_block(Index begin, Index end, const Term& term) {
  __shared__ LossPart parts[kThreads];
  LossPart mine{0, 0};
  for (Index i = begin + threadIdx.x; i < end; i += kThreads) {
    const LossPart each = term(i);
    mine.loss += each.loss, mine.weight += each.weight;
  }
  parts[threadIdx.x] = mine;
  for (unsigned step = kThreads / 2; step > 0; step /= 2) {
    __syncthreads();
    if (threadIdx.x >= step) continue;
    parts[threadIdx.x].loss += parts[threadIdx.x + step].loss;
    parts[threadIdx.x].weight += parts[threadIdx.x + step].weight;
  }
  return parts[0];
}

template <class T>
__global__ void sum_losses_kernel(CrossEntropy<T> a, Index rows, Index size, LossPart* parts) {
  const Index begin = static_cast<Index>(blockIdx.x) * size, end = begin + size < rows ? begin + size : rows;
  const LossPart sum = sum_in_block(begin, end, [&](Index row) {
    const std::int64_t target = a.target[row];
    const bool counts = target != a.ignore_index && is_class(a, target);
    return LossPart{static_cast<double>(a.losses[row]), !counts ? 0.0 : a.weight ? double(a.weight[target]) : 1.0};
  });
  if (threadIdx.x != 0) return;
  if (gridDim.x == 1) finish_losses(a, sum);
  else parts[blockIdx.x] = sum;
}
template <class T>
__global__ void sum_parts_kernel(CrossEntropy<T> a, Index count, const LossPart* parts) {
  const LossPart sum = sum_in_block(0, count, [&](Index i) { return parts[i]; });
  if (threadIdx.x == 0) finish_losses(a, sum);
}

template <class T>
Status reduce_losses(const Context& context, const CrossEntropy<T>& a) {
  const Index rows = a.outer * a.inner, even = (rows + kMostParts - 1) / kMostParts,
              size = even > kRowsOfPart ? even : kRowsOfPart, count = rows > size ? (rows + size - 1) / size : 1;
  auto* const parts = static_cast<LossPart*>(context.workspace);
  const Status status =
      launch(context, dim3(static_cast<unsigned>(count)), dim3(kThreads), sum_losses_kernel<T>, a, rows, size, parts);
  if (status != Status::ok || count == 1) return status;
  return launch(context, dim3(1), dim3(kThreads), sum_parts_kernel<T>, a, count, static_cast<const LossPart*>(parts));
}

}  // namespace
}  // namespace dd2424::cuda
