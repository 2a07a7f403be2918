#include "ops/norm.h"

#include "ops/copy.h"
#include "ops/elementwise.h"
#include "ops/reduce.h"
#include "ops/shape.h"

namespace dd2424::ops {
namespace {

struct Layout {  // x as (outer, channels, inner)
  Index outer, channels, inner;
  explicit Layout(const Tensor& x) : outer(x.size(0)), channels(x.size(1)), inner(1) {
    for (int d = 2; d < x.ndim(); ++d) inner *= x.size(d);
  }
};

struct BatchNormNode final : Node {
  Saved x{this}, y{this}, weight{this}, mean{this}, rstd{this};
  BatchNormOptions options;
  explicit BatchNormNode(const BatchNormOptions& options) : options(options) {}
  const char* name() const override { return "batch_norm"; }

  Tensors backward(const Tensors& grads, const Needs& needs) override {
    const Tensor input = x.get(), scale = weight.get(), dy = contiguous(grads[0]);
    if (grad_enabled()) return composed(input, scale, dy, needs);
    const DType acc = accumulator(input.dtype());
    const Layout at(input);
    const Tensor dx = needs[0] ? empty(input.shape(), input.dtype()) : Tensor();
    const Tensor dweight = needs[1] ? empty({at.channels}, acc) : Tensor();
    const Tensor dbias = needs[2] ? empty({at.channels}, acc) : Tensor();
    dispatch_float(name(), input.dtype(), [&]<class T>(T) {
      using Acc = Accumulator<T>;
      const auto& table = kernels<NormKernels<T>>(input.device());
      run(name(), table.batch_norm_backward, 4 * input.numel(),
          table.batch_norm_workspace(at.outer, at.channels, at.inner),
          BatchNormBackward<T>{input.data<T>(), y.get().data<T>(), dy.data<T>(), scale.data<Acc>(),
                               mean.get().data<Acc>(), rstd.get().data<Acc>(), dx.data<T>(), dweight.data<Acc>(),
                               dbias.data<Acc>(), at.outer, at.channels, at.inner, options.training, options.relu});
    });
    return {dx, dweight, dbias};
  }

  // By operations, from the input: what the gradient's own gradient needs.
  Tensors composed(const Tensor& input, const Tensor& scale, Tensor dy, const Needs& needs) const {
    Shape dims, column = Shape::filled(input.ndim(), 1);
    for (int d = 0; d < input.ndim(); ++d)
      if (d != 1) dims.push_back(d);
    column[1] = input.size(1);
    if (options.relu) dy = mul(dy, to(compare(CompareOp::gt, y.get(), 0.0), dy.dtype()));
    const DType dtype = input.dtype();
    const auto batch_mean = [&](const Tensor& t) { return ops::mean(t, dims, true); };
    Tensor m = reshape(to(mean.get(), dtype), column), r = reshape(to(rstd.get(), dtype), column);
    if (options.training) {
      m = batch_mean(input);
      const Tensor centred = sub(input, m);
      r = unary(UnaryOp::rsqrt, add(batch_mean(mul(centred, centred)), options.eps));
    }
    const Tensor normal = mul(sub(input, m), r);
    Tensor dx, dweight, dbias;
    if (needs[0]) {
      const Tensor dnormal = scale.defined() ? mul(dy, reshape(to(scale, dtype), column)) : dy;
      dx = options.training
               ? mul(r, sub(sub(dnormal, batch_mean(dnormal)), mul(normal, batch_mean(mul(dnormal, normal)))))
               : mul(r, dnormal);
    }
    if (needs[1]) dweight = to(sum(mul(dy, normal), dims), scale.dtype());
    if (needs[2]) dbias = sum(dy, dims);
    return {dx, dweight, dbias};
  }
};

void check_channels(const char* argument, const Tensor& t, const Tensor& x) {
  if (!t.defined()) return;
  check(t.ndim() == 1 && t.size(0) == x.size(1), "batch_norm: ", argument, " must have one element per channel, ",
        x.size(1), ", got shape ", t.shape());
  check(t.dtype() == x.dtype() || t.dtype() == accumulator(x.dtype()), "batch_norm: ", argument, " must have dtype ",
        accumulator(x.dtype()), " or the input's, ", x.dtype(), ", got ", t.dtype());
}

// The running statistics move in training.
void check_writable(const char* argument, const Tensor& t) {
  check(!t.defined() || t->storage->writable, "batch_norm: ", argument,
        " must be writable in training, got one over read-only memory");
}

// Per channel, in the type that kernels compute in; itself where it is so already.
Tensor for_kernel(const Tensor& t, DType acc) { return t.defined() ? contiguous(to(t, acc)) : t; }
void write_back(const Tensor& t, const Tensor& moved) {
  if (!t.defined()) return;
  if (!moved.same(t)) copy_into(t, moved);
  count_write(t);
}

}  // namespace

Tensor batch_norm(const Tensor& input, const Tensor& running_mean, const Tensor& running_var, const Tensor& scale,
                  const Tensor& shift, const BatchNormOptions& options) {
  if (mode_is_active()) [[unlikely]]
    return through_door({"batch_norm", {input, running_mean, running_var, scale, shift}, [=](const Tensors& t) {
                           return batch_norm(t[0], t[1], t[2], t[3], t[4], options);
                         }});
  check<ValueError>(input.ndim() >= 2, "batch_norm: input must be (N, C, *), got ", input.shape());
  const Tensor x = contiguous(input);
  const DType acc = accumulator(x.dtype());
  check_channels("running_mean", running_mean, x);
  check_channels("running_var", running_var, x);
  check_channels("weight", scale, x);
  check_channels("bias", shift, x);
  const Tensor weight = for_kernel(scale, acc), bias = for_kernel(shift, acc);
  const Layout at(x);
  check<ValueError>(!options.training || at.outer * at.inner > 1,
                    "batch_norm: training needs more than one value per channel, got input ", x.shape());
  check(options.training || (running_mean.defined() && running_var.defined()),
        "batch_norm: evaluation needs running_mean and running_var");
  const Tensor y = empty(x.shape(), x.dtype());
  Tensor mean, rstd, moving_mean, moving_var;
  if (options.training) {
    check_writable("running_mean", running_mean);
    check_writable("running_var", running_var);
    mean = empty({at.channels}, acc);
    rstd = empty({at.channels}, acc);
    moving_mean = for_kernel(running_mean, acc);
    moving_var = for_kernel(running_var, acc);
  } else {
    const GradMode off(false);
    mean = for_kernel(running_mean, acc);
    rstd = unary(UnaryOp::rsqrt, add(for_kernel(running_var, acc), options.eps));
  }
  dispatch_float("batch_norm", x.dtype(), [&]<class T>(T) {
    using Acc = Accumulator<T>;
    const auto& table = kernels<NormKernels<T>>(x.device());
    run("batch_norm", table.batch_norm_forward, 4 * x.numel(),
        table.batch_norm_workspace(at.outer, at.channels, at.inner),
        BatchNormForward<T>{x.data<T>(), weight.data<Acc>(), bias.data<Acc>(), y.data<T>(), mean.data<Acc>(),
                            rstd.data<Acc>(), moving_mean.data<Acc>(), moving_var.data<Acc>(), at.outer, at.channels,
                            at.inner, options.eps, options.momentum, options.training, options.relu});
  });
  if (options.training) {
    write_back(running_mean, moving_mean);
    write_back(running_var, moving_var);
  }
  if (auto* node = record<BatchNormNode>(y, {&x, &weight, &bias}, options)) {
    node->x.save(x);
    node->weight.save(weight);
    node->mean.save(mean);
    node->rstd.save(rstd);
    if (options.relu) node->y.save_output(y);
  }
  return y;
}

}  // namespace dd2424::ops
