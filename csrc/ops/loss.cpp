#include "ops/loss.h"

#include "ops/copy.h"
#include "ops/elementwise.h"
#include "ops/index.h"
#include "ops/reduce.h"
#include "ops/shape.h"

namespace dd2424::ops {
namespace {

struct Layout {  // x as (outer, classes, inner)
  Index outer = 1, classes = 1, inner = 1;
  Layout(const Shape& shape, int dim) {
    for (int d = 0; d < shape.size(); ++d) (d < dim ? outer : d == dim ? classes : inner) *= shape[d];
  }
};

Tensor run_softmax(const char* name, bool log, const Tensor& input, int dim);

struct SoftmaxNode final : Node {
  Saved y{this};
  bool log;
  int dim;
  SoftmaxNode(bool log, int dim) : log(log), dim(dim) {}
  const char* name() const override { return log ? "log_softmax" : "softmax"; }
  Tensors backward(const Tensors& grads, const Needs&) override {
    const Tensor out = y.get();
    if (grad_enabled()) {
      const Shape dims{dim};
      if (log) return {sub(grads[0], mul(unary(UnaryOp::exp, out), sum(grads[0], dims, true)))};
      return {mul(out, sub(grads[0], sum(mul(grads[0], out), dims, true)))};
    }
    const Tensor dy = contiguous(grads[0]), dx = empty(dy.shape(), dy.dtype(), dy.device());
    const Layout at(dy.shape(), dim);
    dispatch_float(name(), dy.dtype(), [&]<class T>(T) {
      const auto& table = kernels<LossKernels<T>>(dy.device());
      if (dy.numel() > 0)
        run(name(), log ? table.log_softmax_backward : table.softmax_backward, dy.numel(),
            Scratch(table.workspace(at.classes, at.inner), dy.device()),
            SoftmaxBackward<T>{out.data<T>(), dy.data<T>(), dx.data<T>(), at.outer, at.classes, at.inner});
    });
    return {dx};
  }
};

Tensor run_softmax(const char* name, bool log, const Tensor& input, int dim) {
  if (mode_is_active()) [[unlikely]]
    return through_door({name, {input}, [=](const Tensors& t) { return run_softmax(name, log, t[0], dim); }});
  const Tensor x = contiguous(input), y = empty(x.shape(), x.dtype(), x.device());
  const Layout at(x.shape(), dim);
  dispatch_float(name, x.dtype(), [&]<class T>(T) {
    const auto& table = kernels<LossKernels<T>>(x.device());
    if (y.numel() > 0)
      run(name, log ? table.log_softmax : table.softmax, y.numel(),
          Scratch(table.workspace(at.classes, at.inner), x.device()),
          Softmax<T>{x.data<T>(), y.data<T>(), at.outer, at.classes, at.inner});
  });
  if (auto* node = record<SoftmaxNode>(y, {&x}, log, dim)) node->y.save_output(y);
  return y;
}

struct LogSumExpNode final : Node {
  Saved x{this}, y{this};
  Shape dims;
  bool keepdim;
  LogSumExpNode(const Shape& dims, bool keepdim) : dims(dims), keepdim(keepdim) {}
  const char* name() const override { return "logsumexp"; }
  Tensors backward(const Tensors& grads, const Needs&) override {
    const Tensor input = x.get();
    Shape kept = input.shape();
    for (Index d : dims) kept[static_cast<int>(d)] = 1;
    const Tensor p = unary(UnaryOp::exp, sub(input, reshape(y.get(), kept)));
    return {mul(p, reshape(grads[0], kept))};
  }
};

Shape without(Shape shape, int dim, bool keepdim) {
  if (keepdim) shape[dim] = 1;
  else shape.erase(dim);
  return shape;
}

// Along one dimension.
Tensor logsumexp_of(const Tensor& input, int dim, bool keepdim) {
  const Tensor x = contiguous(detach(input)),
               y = empty(without(x.shape(), dim, keepdim), accumulator(x.dtype()), x.device());
  const Layout at(x.shape(), dim);
  dispatch_float("logsumexp", x.dtype(), [&]<class T>(T) {
    const auto& table = kernels<LossKernels<T>>(x.device());
    if (y.numel() > 0)
      run("logsumexp", table.logsumexp, 4 * x.numel(), Scratch(table.workspace(at.classes, at.inner), x.device()),
          LogSumExp<T>{x.data<T>(), y.data<Accumulator<T>>(), at.outer, at.classes, at.inner});
  });
  return to(y, x.dtype());
}

// By operations, along several.
Tensor logsumexp_composed(const Tensor& x, const Shape& dims, bool keepdim) {
  Shape kept = dims.empty() ? Shape::filled(x.ndim(), 1) : x.shape();
  for (Index d : dims) kept[static_cast<int>(d)] = 1;
  const Tensor top = x.numel() > 0 ? amax(x, dims, true) : full(kept, Scalar(0), x.dtype(), x.device());
  const Tensor shift = where(test(TestOp::isfinite, top), Operand(top), Operand(0.0));
  const Tensor y = add(unary(UnaryOp::log, sum(unary(UnaryOp::exp, sub(x, shift)), dims, true)), shift);
  return clone(keepdim ? y : reshape(y, sum(x, dims, false).shape()));
}

}  // namespace

Tensor softmax(const Tensor& x, Index dim) {
  return run_softmax("softmax", false, x, normalize_dim("softmax", dim, x.ndim()));
}
Tensor log_softmax(const Tensor& x, Index dim) {
  return run_softmax("log_softmax", true, x, normalize_dim("log_softmax", dim, x.ndim()));
}

// Shifted by the maximum, where that is finite.
Tensor logsumexp(const Tensor& input, const Shape& dims, bool keepdim) {
  if (mode_is_active()) [[unlikely]]
    return through_door({"logsumexp", {input}, [=](const Tensors& t) { return logsumexp(t[0], dims, keepdim); }});
  const Tensor x = is_floating(input.dtype()) ? input : to(input, default_dtype());
  Shape all;
  for (Index dim : dims) all.push_back(normalize_dim("logsumexp", dim, x.ndim()));
  if (x.ndim() == 0) all = {};
  Tensor y;
  {
    const GradMode off(false);
    const bool along_one = all.size() == 1 && x.size(static_cast<int>(all[0])) > 0;
    y = along_one ? logsumexp_of(x, static_cast<int>(all[0]), keepdim) : logsumexp_composed(x, all, keepdim);
  }
  if (auto* node = record<LogSumExpNode>(y, {&x}, all, keepdim)) {
    node->x.save(x);
    node->y.save_output(y);
  }
  return y;
}

namespace {

struct CrossEntropyNode final : Node {
  Saved x{this}, target{this}, weight{this}, lse{this}, total_weight{this};
  std::int64_t ignore_index;
  double smoothing;
  Reduction reduction;
  CrossEntropyNode(std::int64_t ignore_index, Reduction reduction, double smoothing)
      : ignore_index(ignore_index), smoothing(smoothing), reduction(reduction) {}
  const char* name() const override { return "cross_entropy"; }

  Tensors backward(const Tensors& grads, const Needs&) override {
    const Tensor input = x.get(), dloss = contiguous(grads[0]);
    if (grad_enabled()) return {composed(input, dloss)};
    const Tensor dx = empty(input.shape(), input.dtype(), input.device());
    const Layout at(input.shape(), 1);
    dispatch_float(name(), input.dtype(), [&]<class T>(T) {
      using Acc = Accumulator<T>;
      const auto& table = kernels<LossKernels<T>>(input.device());
      run(name(), table.cross_entropy_backward, 4 * dx.numel(),
          Scratch(table.workspace(at.classes, at.inner), dx.device()),
          CrossEntropyBackward<T>{input.data<T>(), target.get().data<Index>(), weight.get().data<Acc>(),
                                  lse.get().data<Acc>(), total_weight.get().data<Acc>(), dloss.data<T>(), dx.data<T>(),
                                  at.outer, at.classes, at.inner, ignore_index, smoothing, reduction});
    });
    return {dx};
  }

  // The same by operations: dx = dloss / total * (p * sum_c q_c - q), with q the weighted, smoothed target.
  Tensor composed(const Tensor& input, const Tensor& dloss) const {
    const Tensor labels = target.get(), w = weight.get();
    const Tensor counted = compare(CompareOp::ne, labels, Scalar(ignore_index));
    const Tensor safe = where(counted, Operand(labels), Operand(zeros({}, DType::int64, labels.device())));
    const Index classes = input.size(1);
    Tensor hot = scatter(zeros(input.shape(), input.dtype(), input.device()), 1, unsqueeze(safe, 1),
                         full(unsqueeze(safe, 1).shape(), Scalar(1.0 - smoothing), input.dtype(), input.device()));
    hot = add(hot, smoothing / static_cast<double>(classes));
    if (w.defined()) {
      Shape column = Shape::filled(input.ndim(), 1);
      column[1] = classes;
      hot = mul(hot, reshape(to(w, input.dtype()), column));
    }
    hot = mul(hot, unsqueeze(to(counted, input.dtype()), 1));
    const Tensor slope = sub(mul(softmax(input, 1), sum(hot, {1}, true)), hot);
    if (reduction == Reduction::none) return mul(slope, unsqueeze(reshape(dloss, labels.shape()), 1));
    if (reduction == Reduction::sum) return mul(slope, dloss);
    return mul(slope, div(dloss, reshape(to(total_weight.get(), input.dtype()), {})));
  }
};

}  // namespace

namespace {

void check_classes(const char* op, Index classes, const Tensor& target, std::int64_t ignore_index) {
  const std::int64_t* labels = target.data<Index>();
  for (Index i = 0; i < target.numel(); ++i)
    check<IndexError>((labels[i] >= 0 && labels[i] < classes) || labels[i] == ignore_index, op,
                      ": target must be from 0 to ", classes - 1, ", or ignore_index ", ignore_index, ", got ",
                      labels[i], " at position ", i);
}

}  // namespace

void check_targets(const char* op, const Shape& scores, const Tensor& target, const Tensor& weight,
                   std::int64_t ignore_index) {
  Shape expected = scores;
  expected.erase(1);
  check<ValueError>(target.shape() == expected, op, ": target must have shape ", expected, " for input ", scores,
                    ", got ", target.shape());
  check(!weight.defined() || (weight.ndim() == 1 && weight.size(0) == scores[1]), op,
        ": weight must have one element per class, ", scores[1]);
  if (target.device() == Device::cpu) check_classes(op, scores[1], target, ignore_index);
}
void check_on_gpu(const char* op, Answer<bool>& outside, Index classes, const Tensor& target,
                  std::int64_t ignore_index) {
  if (target.device() != Device::cpu && *outside.read())
    check_classes(op, classes, to(target, Device::cpu), ignore_index);
}

namespace {

// Targets that are probabilities: the mean is over the items, whatever the weights.
Tensor soft_cross_entropy(const Tensor& x, const Tensor& target, const Tensor& weight, Reduction reduction,
                          double smoothing) {
  check(x.shape() == target.shape(), "cross_entropy: target must have input's shape ", x.shape(), ", got ",
        target.shape());
  const int dim = x.ndim() > 1 ? 1 : 0;
  const Index classes = x.size(dim);
  Tensor q = target;
  if (smoothing != 0) q = add(mul(q, 1 - smoothing), smoothing / static_cast<double>(classes));
  if (weight.defined()) {
    Shape column = Shape::filled(x.ndim(), 1);
    column[dim] = classes;
    q = mul(q, reshape(weight, column));
  }
  const Tensor terms = mul(log_softmax(x, dim), q);
  if (reduction == Reduction::none) return neg(sum(terms, {dim}, false));
  if (reduction == Reduction::sum) return neg(sum(terms, {}, false));
  return mul(sum(terms, {}, false), -static_cast<double>(classes) / static_cast<double>(x.numel()));
}

}  // namespace

Tensor cross_entropy(const Tensor& input, const Tensor& target, const Tensor& weight, std::int64_t ignore_index,
                     Reduction reduction, double smoothing) {
  check_device("cross_entropy", {&input, &target, &weight});
  if (mode_is_active()) [[unlikely]]
    return through_door({"cross_entropy", {input, target, weight}, [=](const Tensors& t) {
                           return cross_entropy(t[0], t[1], t[2], ignore_index, reduction, smoothing);
                         }});
  check(input.ndim() >= 1, "cross_entropy: input must be (N, C, *) or (C,), got ", input.shape());
  check(smoothing >= 0 && smoothing <= 1, "cross_entropy: label_smoothing must be from 0 to 1, got ", smoothing);
  if (is_floating(target.dtype())) return soft_cross_entropy(input, target, weight, reduction, smoothing);
  if (input.ndim() == 1) {
    const Tensor loss =
        cross_entropy(unsqueeze(input, 0), unsqueeze(target, 0), weight, ignore_index, reduction, smoothing);
    return reduction == Reduction::none ? reshape(loss, {}) : loss;
  }
  check(target.dtype() != DType::bool_,
        "cross_entropy: target must hold class numbers (an integer dtype) or be probabilities of the input's shape ",
        input.shape(), ", got ", target.dtype(), " ", target.shape());
  const Tensor x = contiguous(input), labels = contiguous(to(target, DType::int64));
  const DType acc = accumulator(x.dtype());
  const Tensor w = weight.defined() ? contiguous(detach(to(weight, acc))) : Tensor();
  check_targets("cross_entropy", x.shape(), labels, w, ignore_index);
  const Layout at(x.shape(), 1);
  const Device device = x.device();
  const Tensor lse = empty({at.outer, at.inner}, acc, device), losses = empty(labels.shape(), acc, device),
               total = empty({1}, acc, device);
  const bool single = reduction != Reduction::none;
  Answer<bool> outside(device);
  Tensor loss = single ? empty({}, x.dtype(), x.device()) : Tensor();
  dispatch_float("cross_entropy", x.dtype(), [&]<class T>(T) {
    using Acc = Accumulator<T>;
    const auto& table = kernels<LossKernels<T>>(x.device());
    run("cross_entropy", table.cross_entropy, 4 * x.numel(), Scratch(table.workspace(at.classes, at.inner), device),
        CrossEntropy<T>{x.data<T>(), labels.data<Index>(), w.data<Acc>(), lse.data<Acc>(), losses.data<Acc>(),
                        total.data<Acc>(), loss.data<T>(), at.outer, at.classes, at.inner, ignore_index, smoothing,
                        reduction, device == Device::cpu ? nullptr : outside.data()});
  });
  check_on_gpu("cross_entropy", outside, at.classes, labels, ignore_index);
  if (!single) loss = to(losses, x.dtype());
  if (auto* node = record<CrossEntropyNode>(loss, {&x}, ignore_index, reduction, smoothing)) {
    node->x.save(x);
    node->target.save(labels);
    node->weight.save(w);
    node->lse.save(lse);
    node->total_weight.save(total);
  }
  return loss;
}

}  // namespace dd2424::ops
