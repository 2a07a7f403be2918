#include "core/loss.h"

#include "cuda/loss_entropy.h"
#include "cuda/loss_rows.h"
#include "cuda/offer.h"

// Softmax and its kin: what a row needs is read once, unless it is longer than a block of threads can keep.
namespace dd2424::cuda {
namespace {

template <class T, bool is_log>
struct SoftmaxRow {
  using C = Computed<T>;
  static constexpr bool reads_again = true;
  Softmax<T> a;

  template <class Way>
  __device__ void run(const Seat<Way>& seat) const {
    Line<Way, T> x(a.x, seat, -static_cast<C>(INFINITY));
    const TopAndSum<C> row = top_and_sum(x, seat);
    if constexpr (is_log) {
      const C log_sum = log(row.total());
      map_line(x, a.y, seat, [=](C v, Index) { return (v - row.top) - log_sum; });
    } else {
      const C rate = 1 / row.total();
      map_line(x, a.y, seat, [=](C v, Index) { return exp(v - row.top) * rate; });
    }
  }
};

// dx = y * (dy - sum of y * dy), or of the logarithm dx = dy - exp(y) * sum of dy.
template <class T, bool is_log>
struct SoftmaxSlopeRow {
  using C = Computed<T>;
  static constexpr bool reads_again = false;  // two lines
  SoftmaxBackward<T> a;

  template <class Way>
  __device__ void run(const Seat<Way>& seat) const {
    Line<Way, T> y(a.y, seat, 0), dy(a.dy, seat, 0);
    constexpr int width = kWidth<Way, T>;
    C mine = 0;
    y.each(dy, [&](Index, const auto& p, const auto& g) {
      for (int i = 0; i < width; ++i) mine += is_log ? g[i] : p[i] * g[i];
    });
    const C sum = sum_over(seat, mine);
    y.each(dy, [&](Index c, const auto& p, const auto& g) {
      C out[width];
      for (int i = 0; i < width; ++i) out[i] = is_log ? g[i] - exp(p[i]) * sum : p[i] * (g[i] - sum);
      write<Way>(a.dx, seat, c, out);
    });
  }
};

// An infinite maximum is not subtracted: rows of -inf give -inf, rows with inf give inf, as in PyTorch.
template <class T>
struct LogSumExpRow {
  using C = Computed<T>;
  static constexpr bool reads_again = false;
  LogSumExp<T> a;

  template <class Way>
  __device__ void run(const Seat<Way>& seat) const {
    Line<Way, T> x(a.x, seat, -static_cast<C>(INFINITY));
    const TopAndSum<C> row = top_and_sum(x, seat);
    if (seat.is_first()) a.y[seat.row] = row.shift() + log(row.sum);
  }
};

template <class T, class Row, class Arguments>
Status by_rows(const Context& context, const Arguments& a) {
  return for_rows<T>(context, {a.outer, a.classes, a.inner}, Row{a});
}

template <class T>
Status cross_entropy(const Context& context, const CrossEntropy<T>& a) {
  const Status status = by_rows<T, EntropyRow<T>>(context, a);
  return status != Status::ok || a.reduction == Reduction::none ? status : reduce_losses(context, a);
}

std::size_t workspace(Index, Index) { return kMostParts * sizeof(LossPart); }

template <class T>
constexpr LossKernels<T> kLoss{.softmax = by_rows<T, SoftmaxRow<T, false>, Softmax<T>>,
                               .log_softmax = by_rows<T, SoftmaxRow<T, true>, Softmax<T>>,
                               .softmax_backward = by_rows<T, SoftmaxSlopeRow<T, false>, SoftmaxBackward<T>>,
                               .log_softmax_backward = by_rows<T, SoftmaxSlopeRow<T, true>, SoftmaxBackward<T>>,
                               .logsumexp = by_rows<T, LogSumExpRow<T>, LogSumExp<T>>,
                               .cross_entropy = cross_entropy<T>,
                               .cross_entropy_backward = by_rows<T, EntropySlopeRow<T>, CrossEntropyBackward<T>>,
                               .workspace = workspace};

}  // namespace

void offer_loss(DeviceTables& tables) {
  offer(tables, kLoss<float>);
  offer(tables, kLoss<double>);
  offer(tables, kLoss<bfloat16>);
  offer(tables, kLoss<float16>);
}

}  // namespace dd2424::cuda
