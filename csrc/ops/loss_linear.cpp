#include "ops/copy.h"
#include "ops/elementwise.h"
#include "ops/gemm.h"
#include "ops/index.h"
#include "ops/loss.h"
#include "ops/reduce.h"
#include "ops/shape.h"

// Cross-entropy of scores that a linear layer makes, a few rows at a time: of large vocabularies the scores of all rows
// would take far more memory than anything else. What a chunk's gradient adds to the layer's is worked out while its
// scores are there, so that they are made once.
namespace dd2424::ops {
namespace {

constexpr Index kScores = Index{1} << 24;  // at a time: 64 MB of float32
constexpr Index kRowStep = 64;             // rows come in multiples of it
constexpr Index kFewClasses = 64;          // whose scores take no more room than the input's rows

struct Layer {
  Tensor x, weight, bias;  // (N, D), (C, D), (C) or undefined
};
struct Loss {
  Tensor target, weight;  // (N); (C) or undefined
  std::int64_t ignore_index;
  Reduction reduction;
  double smoothing;
};

Tensor by_whole_scores(const Layer& a, const Loss& loss) {
  return cross_entropy(linear(a.x, a.weight, a.bias), loss.target, loss.weight, loss.ignore_index, loss.reduction,
                       loss.smoothing);
}

// The sum of the targets' weights, which a mean divides by. The host waits for no GPU.
Tensor total_weight(const Loss& loss, DType dtype) {
  if (loss.target.device() != Device::cpu) {
    const Tensor counted = compare(CompareOp::ne, loss.target, Scalar(loss.ignore_index));
    if (!loss.weight.defined()) return reshape(sum(to(counted, accumulator(dtype))), {1});
    const double last = static_cast<double>(loss.weight.numel() - 1);
    const Tensor safe = unary(UnaryOp::clamp, mul(loss.target, counted), 0, last);
    return reshape(sum(mul(gather(loss.weight, 0, safe), counted)), {1});
  }
  const Index* target = loss.target.data<Index>();
  double total = 0;
  dispatch_float("linear_cross_entropy", dtype, [&]<class T>(T) {
    const auto* weight = loss.weight.data<Accumulator<T>>();
    for (Index i = 0; i < loss.target.numel(); ++i)
      if (target[i] != loss.ignore_index) total += weight ? static_cast<double>(weight[target[i]]) : 1;
  });
  return full({1}, Scalar(total), accumulator(dtype), loss.target.device());
}

// The gradient of a loss by what made the scores: dx and dweight where the Layer has a tensor for them.
class Chunks {
 public:
  // dloss: (1), or (N) where the losses are not reduced. Undefined: only losses are wanted. `gradient` has tensors for
  // what is wanted, those of the parameters in the accumulator's type.
  Chunks(const Layer& layer, const Loss& loss, const Tensor& dloss, const Layer& gradient)
      : layer_(layer),
        loss_(loss),
        dloss_(dloss),
        gradient_(gradient),
        total_(total_weight(loss, layer.x.dtype())),
        losses_(empty({layer.x.size(0)}, accumulator(layer.x.dtype()), layer.x.device())),
        outside_(layer.x.device()) {
    const GradMode off(false);
    const Index rows = layer.x.size(0), classes = layer.weight.size(0);
    const Index step = std::max(kRowStep, kScores / classes / kRowStep * kRowStep);
    for (Index begin = 0; begin < rows; begin += step) run_chunk(begin, std::min(step, rows - begin));
    check_on_gpu("linear_cross_entropy", outside_, classes, loss.target, loss.ignore_index);
  }

  Layer gradients() const {
    const GradMode off(false);
    const auto like = [](const Tensor& t, const Tensor& of) { return t.defined() ? to(t, of.dtype()) : t; };
    return {gradient_.x, like(gradient_.weight, layer_.weight), like(gradient_.bias, layer_.bias)};
  }
  Tensor reduced() const {  // the losses, or their sum or mean
    const GradMode off(false);
    const DType dtype = layer_.x.dtype();
    if (loss_.reduction == Reduction::none) return to(losses_, dtype);
    const Tensor sum_of = sum(losses_);
    return to(loss_.reduction == Reduction::sum ? sum_of : div(sum_of, reshape(total_, {})), dtype);
  }

 private:
  void run_chunk(Index begin, Index rows) const {
    const Tensor x = narrow(layer_.x, 0, begin, rows), scores = linear(x, layer_.weight, layer_.bias);
    const Tensor lse = empty({rows}, losses_.dtype(), losses_.device()),
                 total = empty({1}, losses_.dtype(), losses_.device());
    const Index classes = scores.size(1), *target = loss_.target.data<Index>() + begin;
    dispatch_float("linear_cross_entropy", x.dtype(), [&]<class T>(T) {
      using Acc = Accumulator<T>;
      const auto& table = kernels<LossKernels<T>>(x.device());
      const Acc* weight = loss_.weight.data<Acc>();
      T* const s = scores.data<T>();
      run("linear_cross_entropy", table.cross_entropy, 4 * scores.numel(), 0,
          CrossEntropy<T>{s, target, weight, lse.data<Acc>(), losses_.data<Acc>() + begin, total.data<Acc>(), nullptr,
                          rows, classes, 1, loss_.ignore_index, loss_.smoothing, Reduction::none,
                          x.device() == Device::cpu ? nullptr : outside_.data()});
      if (!dloss_.defined()) return;
      const T* dloss = dloss_.data<T>() + (loss_.reduction == Reduction::none ? begin : 0);
      run("linear_cross_entropy", table.cross_entropy_backward, 4 * scores.numel(), 0,
          CrossEntropyBackward<T>{s, target, weight, lse.data<Acc>(), total_.data<Acc>(), dloss, s, rows, classes, 1,
                                  loss_.ignore_index, loss_.smoothing, loss_.reduction});
    });
    if (dloss_.defined()) add_gradients(x, scores, begin, rows);
  }

  void add_gradients(const Tensor& x, const Tensor& dscores, Index begin, Index rows) const {
    const bool adds = begin > 0, rounds = x.dtype() != losses_.dtype();  // short types: each chunk's sums, once
    if (gradient_.x.defined()) product_into(narrow(gradient_.x, 0, begin, rows), dscores, layer_.weight, false);
    const auto join = [&](const Tensor& total, const Tensor& part) {
      copy_into(total, adds ? add(total, part) : part);
    };
    if (gradient_.weight.defined()) {
      if (rounds) join(gradient_.weight, matmul(transpose(dscores, 0, 1), x));
      else product_into(gradient_.weight, transpose(dscores, 0, 1), x, adds);
    }
    if (gradient_.bias.defined()) join(gradient_.bias, sum(dscores, {0}));
  }

  const Layer& layer_;
  const Loss& loss_;
  const Tensor& dloss_;
  const Layer gradient_;
  Tensor total_, losses_;
  Answer<bool> outside_;
};

Layer gradients_for(const Layer& a, const Needs& needs) {
  const bool is_empty = a.x.size(0) == 0;  // then no chunk writes them
  const auto like = [=](const Tensor& t, DType dtype, bool needed) {
    return !needed ? Tensor() : is_empty ? zeros(t.shape(), dtype, t.device()) : empty(t.shape(), dtype, t.device());
  };
  const DType dtype = a.x.dtype(), acc = accumulator(dtype);
  return {like(a.x, dtype, needs[0]), like(a.weight, acc, needs[1]), like(a.bias, acc, needs[2])};
}

struct LinearCrossEntropyNode final : Node {
  Saved x{this}, weight{this}, bias{this}, target{this}, class_weight{this};
  Saved dx{this}, dweight{this}, dbias{this};  // of a reduced loss: its gradient where that of the loss is 1
  std::int64_t ignore_index;
  Reduction reduction;
  double smoothing;
  LinearCrossEntropyNode(std::int64_t ignore_index, Reduction reduction, double smoothing)
      : ignore_index(ignore_index), reduction(reduction), smoothing(smoothing) {}
  const char* name() const override { return "linear_cross_entropy"; }

  Tensors backward(const Tensors& grads, const Needs& needs) override {
    const Layer layer{x.get(), weight.get(), bias.get()};
    const Loss loss{target.get(), class_weight.get(), ignore_index, reduction, smoothing};
    if (grad_enabled()) return by_operations(layer, loss, grads[0], needs);
    if (reduction == Reduction::none) {
      const Tensor dloss = contiguous(grads[0]);
      const Layer gradient = Chunks(layer, loss, dloss, gradients_for(layer, needs)).gradients();
      return {gradient.x, gradient.weight, gradient.bias};
    }
    const bool is_one = grads[0].device() == Device::cpu && item(grads[0]).floating == 1;  // a GPU is not waited for
    const auto scaled = [&](const Saved& unit, bool needed) {
      return !needed ? Tensor() : is_one ? unit.get() : mul(unit.get(), grads[0]);
    };
    return {scaled(dx, needs[0]), scaled(dweight, needs[1]), scaled(dbias, needs[2])};
  }

  // To be differentiated again: through all scores, as if they had been made.
  static Tensors by_operations(const Layer& a, const Loss& loss, const Tensor& dloss, const Needs& needs) {
    const Tensor scores = linear(a.x, a.weight, a.bias);
    const Tensor value =
        cross_entropy(scores, loss.target, loss.weight, loss.ignore_index, loss.reduction, loss.smoothing);
    const Tensor dscores = grad_node(value)->backward({dloss}, Needs{true})[0];
    return {needs[0] ? matmul(dscores, a.weight) : Tensor(),
            needs[1] ? matmul(transpose(dscores, 0, 1), a.x) : Tensor(), needs[2] ? sum(dscores, {0}) : Tensor()};
  }
};

}  // namespace

Tensor linear_cross_entropy(const Tensor& input, const Tensor& weight, const Tensor& target, const Tensor& bias,
                            const Tensor& class_weight, std::int64_t ignore_index, Reduction reduction,
                            double smoothing) {
  check_device("linear_cross_entropy", {&input, &weight, &target, &bias});
  check(input.ndim() == 2 && weight.ndim() == 2 && input.size(1) == weight.size(1),
        "linear_cross_entropy: input must be (N, D) and linear_weight (C, D), got ", input.shape(), " and ",
        weight.shape());
  Layer layer{input, weight, bias};
  Loss loss{target, class_weight, ignore_index, reduction, smoothing};
  const Index classes = weight.size(0);
  if (classes <= kFewClasses || input.size(1) == 0 || is_floating(target.dtype()) || mode_is_active() ||
      !is_floating(input.dtype()) || input.dtype() == DType::float16)  // which gradients of a mean would leave
    return by_whole_scores(layer, loss);
  check(smoothing >= 0 && smoothing <= 1, "linear_cross_entropy: label_smoothing must be from 0 to 1, got ", smoothing);
  check(target.dtype() != DType::bool_,
        "linear_cross_entropy: target must hold class numbers (an integer dtype) or probabilities, got ",
        target.dtype());
  loss.target = contiguous(to(target, DType::int64));
  if (class_weight.defined()) loss.weight = contiguous(detach(to(class_weight, accumulator(input.dtype()))));
  check_targets("linear_cross_entropy", {input.size(0), classes}, loss.target, loss.weight, ignore_index);
  layer.x = contiguous(input);

  const Needs needs{records({&input}), records({&weight}), records({&bias})};
  const bool is_recorded = records({&input, &weight, &bias}), is_reduced = reduction != Reduction::none;
  Tensor dloss, value;
  Layer gradient;
  {
    const GradMode off(false);
    if (is_recorded && is_reduced) {
      dloss = full({1}, Scalar(1.0), input.dtype(), input.device());
      gradient = gradients_for(layer, needs);
    }
    const Layer held{detach(layer.x), detach(weight), bias.defined() ? detach(bias) : Tensor()};
    const Chunks chunks(held, loss, dloss, gradient);
    value = chunks.reduced();
    gradient = chunks.gradients();
  }
  if (auto* node =
          record<LinearCrossEntropyNode>(value, {&input, &weight, &bias}, ignore_index, reduction, smoothing)) {
    node->x.save(input), node->weight.save(weight);
    if (bias.defined()) node->bias.save(bias);
    node->target.save(loss.target);
    if (loss.weight.defined()) node->class_weight.save(loss.weight);
    if (gradient.x.defined()) node->dx.save(gradient.x);
    if (gradient.weight.defined()) node->dweight.save(gradient.weight);
    if (gradient.bias.defined()) node->dbias.save(gradient.bias);
  }
  return value;
}

}  // namespace dd2424::ops
