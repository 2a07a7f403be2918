#include "core/loss.h"

#include "core/float_mode.h"
#include "core/table.h"
#include "cpu/loss_rows.h"

namespace dd2424::cpu::DD2424_ISA {
namespace {

template <class L>
inline L log_of(L x) {
  Vec<L> v = log(broadcast(x));
  return v[0];
}

// Softmax and its kin.

// Terms of a sum that are to be read again are kept in y where it holds them without rounding.
template <class T>
inline auto keep_in([[maybe_unused]] T* y) {
  if constexpr (std::is_same_v<T, Lane<T>>) return [y](Index i, Vec<T> v, Index count) { store_some(y + i, v, count); };
  else return kPutNowhere;
}

template <class T>
Status softmax(const Context& context, const Softmax<T>& a) {
  const FloatMode mode;
  using L = Lane<T>;
  using V = Vec<L>;
  const Rows rows{a.outer, a.classes, a.inner};
  const auto line = [&](Index row) {
    const T* x = a.x + row * a.classes;
    T* y = a.y + row * a.classes;
    const L m = highest(x, a.classes);
    const L r = 1 / sum_line<L>(a.classes, keep_in(y), [=](V v) { return exp(v - m); }, x);
    if constexpr (std::is_same_v<T, L>) map(y, a.classes, [=](V e) { return e * r; }, y);
    else map(y, a.classes, [=](V v) { return exp(v - m) * r; }, x);
  };
  const auto strip = [&](const auto& in, const auto& y, Index, Index) {
    const auto& x = in[0];
    const V m = highest(x, a.classes);
    const V r = L(1) / sum_classes<V>(a.classes, [&](Index c) {
                  const V e = exp(x.at(c) - m);
                  y.put(c, e);
                  return e;
                });
    for (Index c = 0; c < a.classes; ++c) y.put(c, y.at(c) * r);
  };
  for_rows(context, rows, {a.x}, a.y, line, strip);
  return Status::ok;
}

template <class T>
Status log_softmax(const Context& context, const Softmax<T>& a) {
  const FloatMode mode;
  using L = Lane<T>;
  using V = Vec<L>;
  const Rows rows{a.outer, a.classes, a.inner};
  const auto line = [&](Index row) {
    const T* x = a.x + row * a.classes;
    const L m = highest(x, a.classes);
    const L s = log_of(sum_line<L>(a.classes, kPutNowhere, [=](V v) { return exp(v - m); }, x));
    map(a.y + row * a.classes, a.classes, [=](V v) { return (v - m) - s; }, x);
  };
  const auto strip = [&](const auto& in, const auto& y, Index, Index) {
    const auto& x = in[0];
    const V m = highest(x, a.classes);
    const V s = log(sum_classes<V>(a.classes, [&](Index c) { return exp(x.at(c) - m); }));
    for (Index c = 0; c < a.classes; ++c) y.put(c, (x.at(c) - m) - s);
  };
  for_rows(context, rows, {a.x}, a.y, line, strip);
  return Status::ok;
}

// dx = y * (dy - sum of y * dy)
template <class T>
Status softmax_backward(const Context& context, const SoftmaxBackward<T>& a) {
  const FloatMode mode;
  using L = Lane<T>;
  using V = Vec<L>;
  const Rows rows{a.outer, a.classes, a.inner};
  const auto line = [&](Index row) {
    const T *y = a.y + row * a.classes, *dy = a.dy + row * a.classes;
    const L s = sum_line<L>(a.classes, kPutNowhere, [](V p, V g) { return p * g; }, y, dy);
    map(a.dx + row * a.classes, a.classes, [=](V p, V g) { return p * (g - s); }, y, dy);
  };
  const auto strip = [&](const auto& in, const auto& dx, Index, Index) {
    const auto &y = in[0], &dy = in[1];
    const V s = sum_classes<V>(a.classes, [&](Index c) { return y.at(c) * dy.at(c); });
    for (Index c = 0; c < a.classes; ++c) dx.put(c, y.at(c) * (dy.at(c) - s));
  };
  for_rows(context, rows, {a.y, a.dy}, a.dx, line, strip);
  return Status::ok;
}

// dx = dy - exp(y) * sum of dy
template <class T>
Status log_softmax_backward(const Context& context, const SoftmaxBackward<T>& a) {
  const FloatMode mode;
  using L = Lane<T>;
  using V = Vec<L>;
  const Rows rows{a.outer, a.classes, a.inner};
  const auto line = [&](Index row) {
    const T *y = a.y + row * a.classes, *dy = a.dy + row * a.classes;
    const L s = sum_line<L>(a.classes, kPutNowhere, [](V g) { return g; }, dy);
    map(a.dx + row * a.classes, a.classes, [=](V l, V g) { return g - exp(l) * s; }, y, dy);
  };
  const auto strip = [&](const auto& in, const auto& dx, Index, Index) {
    const auto &y = in[0], &dy = in[1];
    const V s = sum_classes<V>(a.classes, [&](Index c) { return dy.at(c); });
    for (Index c = 0; c < a.classes; ++c) dx.put(c, dy.at(c) - exp(y.at(c)) * s);
  };
  for_rows(context, rows, {a.y, a.dy}, a.dx, line, strip);
  return Status::ok;
}

// An infinite maximum is not subtracted: rows of -inf give -inf, rows with inf give inf, as in PyTorch.
template <class T>
Status logsumexp(const Context& context, const LogSumExp<T>& a) {
  const FloatMode mode;
  using L = Lane<T>;
  using V = Vec<L>;
  const Rows rows{a.outer, a.classes, a.inner};
  constexpr L infinite = __builtin_huge_val();
  const auto line = [&](Index row) {
    const T* x = a.x + row * a.classes;
    const L top = highest(x, a.classes), m = top == infinite || top == -infinite ? L(0) : top;
    a.y[row] = m + log_of(sum_line<L>(a.classes, kPutNowhere, [=](V v) { return exp(v - m); }, x));
  };
  const auto strip = [&](const auto& in, const auto&, Index row, Index count) {
    const V top = highest(in[0], a.classes), m = absolute(top) == infinite ? V{} : top;
    const V s = sum_classes<V>(a.classes, [&](Index c) { return exp(in[0].at(c) - m); });
    store_some(a.y + row, m + log(s), count);
  };
  for_rows(context, rows, {a.x}, static_cast<T*>(nullptr), line, strip);
  return Status::ok;
}

// Cross-entropy.

// A row's contribution, from its maximum m, log sum exp about it, and the sum over c of weight[c] * (x[c] - m).
template <class T>
struct RowLoss {
  const CrossEntropy<T>& a;
  double weights;  // sum of weight[c]

  void operator()(Index row, Lane<T> m, Lane<T> log_sum, Lane<T> weighted) const {
    using L = Lane<T>;
    a.lse[row] = log_sum;
    const std::int64_t target = a.target[row];
    if (target == a.ignore_index) {
      a.losses[row] = 0;
      return;
    }
    const Index o = row / a.inner, i = row - o * a.inner;
    const T* x = a.x + (o * a.classes + target) * a.inner + i;
    L loss = log_sum - (load_one(x) - m);
    if (a.weight) loss *= a.weight[target];
    if (a.smoothing != 0) {
      const L share = static_cast<L>(a.smoothing / static_cast<double>(a.classes));
      loss = loss * static_cast<L>(1 - a.smoothing) + share * (log_sum * static_cast<L>(weights) - weighted);
    }
    a.losses[row] = loss;
  }
  static Lane<T> load_one(const T* x) {
    if constexpr (std::is_same_v<T, bfloat16>) return to_float(*x);
    else return *x;
  }
};

// Losses of rows begin ... end - 1.
template <class T>
void row_losses(const CrossEntropy<T>& a, double weights, Index begin, Index end, void* workspace) {
  using L = Lane<T>;
  using V = Vec<L>;
  const RowLoss<T> finish{a, weights};
  const bool smooth = a.smoothing != 0;
  const auto line = [&](Index row) {
    const T* x = a.x + row * a.classes;
    const L m = highest(x, a.classes);
    const L log_sum = log_of(sum_line<L>(a.classes, kPutNowhere, [=](V v) { return exp(v - m); }, x));
    L weighted = 0;
    if (smooth && a.weight)
      weighted = sum_line<L>(a.classes, kPutNowhere, [=](V v, V w) { return w * (v - m); }, x, a.weight);
    else if (smooth) weighted = sum_line<L>(a.classes, kPutNowhere, [=](V v) { return v - m; }, x);
    finish(row, m, log_sum, weighted);
  };
  const auto strip = [&](const auto& in, const auto&, Index row, Index count) {
    const auto& x = in[0];
    const V m = highest(x, a.classes);
    const V log_sum = log(sum_classes<V>(a.classes, [&](Index c) { return exp(x.at(c) - m); }));
    V weighted{};
    if (smooth)
      weighted = sum_classes<V>(a.classes, [&](Index c) { return (a.weight ? a.weight[c] : L(1)) * (x.at(c) - m); });
    for (Index k = 0; k < count; ++k) finish(row + k, m[k], log_sum[k], weighted[k]);
  };
  for_rows({a.outer, a.classes, a.inner}, {a.x}, static_cast<T*>(nullptr), begin, end, workspace, line, strip);
}

struct Totals {
  double loss, weight;
};

template <class T>
Totals sum_losses(const CrossEntropy<T>& a, Index begin, Index end) {
  double loss[4]{}, weight[4]{};
  for (Index row = begin; row < end; ++row) {
    const bool counts = a.target[row] != a.ignore_index;
    loss[row & 3] += a.losses[row];  // 0 where ignored
    weight[row & 3] += !counts ? 0.0 : a.weight ? a.weight[a.target[row]] : 1.0;
  }
  return {(loss[0] + loss[1]) + (loss[2] + loss[3]), (weight[0] + weight[1]) + (weight[2] + weight[3])};
}

inline void put_loss(bfloat16* to, double loss) { *to = to_bfloat16(static_cast<float>(loss)); }
template <class T>
inline void put_loss(T* to, double loss) {
  *to = static_cast<T>(loss);
}

inline double sum_weights(const auto* weight, Index classes) {
  if (!weight) return static_cast<double>(classes);
  double sum = 0;
  for (Index c = 0; c < classes; ++c) sum += weight[c];
  return sum;
}

template <class T>
Status cross_entropy(const Context& context, const CrossEntropy<T>& a) {
  const FloatMode mode;
  const Index rows = a.outer * a.inner;
  const Chunks chunks = reduction_chunks(rows, kGrain / (a.classes + 1) + 1);
  const double weights = a.smoothing != 0 ? sum_weights(a.weight, a.classes) : 0;
  Totals parts[kMaxChunks]{};
  parallel_for(chunks.count, 1, [&](Index begin, Index end, int slot) {
    void* workspace = tiles_of(context, {a.outer, a.classes, a.inner}, slot);
    for (Index c = begin; c < end; ++c) {
      const Index first = c * chunks.size, last = smaller(first + chunks.size, rows);
      row_losses(a, weights, first, last, workspace);
      if (a.reduction != Reduction::none) parts[c] = sum_losses(a, first, last);
    }
  });
  if (a.reduction == Reduction::none) return Status::ok;
  for (Index width = 1; width < chunks.count; width *= 2)
    for (Index c = 0; c + width < chunks.count; c += 2 * width) {
      parts[c].loss += parts[c + width].loss;
      parts[c].weight += parts[c + width].weight;
    }
  *a.total_weight = static_cast<Accumulator<T>>(parts[0].weight);
  put_loss(a.loss, a.reduction == Reduction::mean ? parts[0].loss / parts[0].weight : parts[0].loss);
  return Status::ok;
}

// What a row's gradient is made of: dx[c] = p[c] * scale - weight[c] * share - (c == target ? hit : 0). All are 0 where
// the row is ignored, and `target` is then -1.
template <class L>
struct RowGradient {
  L scale, share, hit;
  L target;  // exact up to 2^24 classes
};

template <class T>
struct RowGradients {
  const CrossEntropyBackward<T>& a;
  double weights, common;  // sum of weight[c]; dloss / total weight where one number serves all rows

  RowGradient<Lane<T>> operator()(Index row) const {
    using L = Lane<T>;
    const std::int64_t target = a.target[row];
    if (target == a.ignore_index) return {0, 0, 0, -1};
    const double g = a.reduction == Reduction::none ? static_cast<double>(RowLoss<T>::load_one(a.dloss + row)) : common;
    const double hit = g * (1 - a.smoothing) * (a.weight ? static_cast<double>(a.weight[target]) : 1.0);
    const double share = g * a.smoothing / static_cast<double>(a.classes);
    return {static_cast<L>(hit + share * weights), static_cast<L>(share), static_cast<L>(hit), static_cast<L>(target)};
  }
};

template <class T>
Status cross_entropy_backward(const Context& context, const CrossEntropyBackward<T>& a) {
  const FloatMode mode;
  using L = Lane<T>;
  using V = Vec<L>;
  double common = 0;
  if (a.reduction != Reduction::none) common = static_cast<double>(RowLoss<T>::load_one(a.dloss));
  if (a.reduction == Reduction::mean) common /= static_cast<double>(*a.total_weight);
  const RowGradients<T> gradient{a, a.smoothing != 0 ? sum_weights(a.weight, a.classes) : 0, common};
  const bool smooth = a.smoothing != 0;
  const auto line = [&](Index row) {
    const T* x = a.x + row * a.classes;
    T* dx = a.dx + row * a.classes;
    const RowGradient<L> g = gradient(row);
    if (g.target < 0) return map(dx, a.classes, [](V) { return V{}; }, x);
    const L m = highest(x, a.classes), log_sum = a.lse[row];
    const V numbers = lane_numbers<L>();
    for (Index c = 0; c < a.classes; c += kLanes<L>) {
      const Index count = smaller(kLanes<L>, a.classes - c);
      V v = exp((load_some(x + c, count) - m) - log_sum) * g.scale;
      if (smooth) v -= a.weight ? load_some(a.weight + c, count) * g.share : broadcast(g.share);
      v -= numbers == g.target - static_cast<L>(c) ? broadcast(g.hit) : V{};
      store_some(dx + c, v, count);
    }
  };
  const auto strip = [&](const auto& in, const auto& dx, Index row, Index count) {
    const auto& x = in[0];
    L scales[kLanes<L>]{}, shares[kLanes<L>]{}, hits[kLanes<L>]{}, targets[kLanes<L>]{};
    for (Index k = 0; k < count; ++k) {
      const RowGradient<L> g = gradient(row + k);
      scales[k] = g.scale, shares[k] = g.share, hits[k] = g.hit, targets[k] = g.target;
    }
    const V m = highest(x, a.classes), log_sum = load_some(a.lse + row, count);
    const V scale = load(scales), share = load(shares), hit = load(hits), target = load(targets);
    for (Index c = 0; c < a.classes; ++c) {
      V v = exp((x.at(c) - m) - log_sum) * scale;
      if (smooth) v -= (a.weight ? a.weight[c] : L(1)) * share;
      v -= target == static_cast<L>(c) ? hit : V{};
      dx.put(c, target < L(0) ? V{} : v);
    }
  };
  for_rows(context, {a.outer, a.classes, a.inner}, {a.x}, a.dx, line, strip);
  return Status::ok;
}

template <class T>
constexpr LossKernels<T> kLoss{.softmax = softmax<T>,
                               .log_softmax = log_softmax<T>,
                               .softmax_backward = softmax_backward<T>,
                               .log_softmax_backward = log_softmax_backward<T>,
                               .logsumexp = logsumexp<T>,
                               .cross_entropy = cross_entropy<T>,
                               .cross_entropy_backward = cross_entropy_backward<T>,
                               .workspace = loss_workspace};

}  // namespace
}  // namespace dd2424::cpu::DD2424_ISA

namespace dd2424 {

DD2424_TABLE(LossKernels<float>, cpu::DD2424_ISA::kLoss<float>)
DD2424_TABLE(LossKernels<double>, cpu::DD2424_ISA::kLoss<double>)
DD2424_TABLE(LossKernels<bfloat16>, cpu::DD2424_ISA::kLoss<bfloat16>)

}  // namespace dd2424
