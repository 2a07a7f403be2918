#include "ops/norm.h"

#include "ops/copy.h"
#include "ops/elementwise.h"
#include "ops/images.h"
#include "ops/reduce.h"
#include "ops/shape.h"

namespace dd2424::ops {
namespace {

struct Layout {  // x as (outer, channels, inner)
  Index outer, channels, inner = 1;
  Layout(const Tensor& x, bool channels_last) : outer(x.size(0)), channels(x.size(1)) {
    for (int d = 2; d < x.ndim(); ++d) (channels_last ? outer : inner) *= x.size(d);
  }
};

struct BatchNormNode final : Node {
  Saved x{this}, y{this}, weight{this}, statistics{this};  // (4, channels): mean, rstd, scale, shift
  Saved passed{this};                                      // BatchNormForward's, or undefined
  BatchNormOptions options;
  bool channels_last, has_residual;
  BatchNormNode(const BatchNormOptions& options, bool channels_last, bool has_residual)
      : options(options), channels_last(channels_last), has_residual(has_residual) {}
  const char* name() const override { return "batch_norm"; }

  Tensors backward(const Tensors& grads, const Needs& needs) override {
    const Tensor input = x.get(), dy = in_format(grads[0], channels_last);
    if (grad_enabled()) return composed(input, weight.get(), dy, needs);
    const DType acc = accumulator(input.dtype());
    const Layout at(input, channels_last);
    const bool gated = options.relu && has_residual;
    const auto like_input = [&] { return empty_images(input.shape(), input.dtype(), channels_last, input.device()); };
    const Tensor dx = needs[0] ? like_input() : Tensor();
    const Tensor dweight = needs[1] ? empty({at.channels}, acc, input.device()) : Tensor();
    const Tensor dbias = needs[2] ? empty({at.channels}, acc, input.device()) : Tensor();
    const Tensor dresidual = gated ? like_input() : Tensor();
    const Tensor bits = passed.defined() && needs[0] ? passed.get() : Tensor();
    dispatch_float(name(), input.dtype(), [&]<class T>(T) {
      using Acc = Accumulator<T>;
      const auto& table = kernels<NormKernels<T>>(input.device());
      const Tensor saved = statistics.get(), output = y.get();
      const Acc *mean = saved.data<Acc>(), *rstd = mean + at.channels, *scale = rstd + at.channels;
      run(name(), table.batch_norm_backward, 4 * input.numel(),
          Scratch(table.batch_norm_workspace(at.outer, at.channels, at.inner), input.device()),
          BatchNormBackward<T>{input.data<T>(), output.data<T>(), dy.data<T>(), mean, rstd, scale, scale + at.channels,
                               dx.data<T>(), dresidual.data<T>(), dweight.data<Acc>(), dbias.data<Acc>(), at.outer,
                               at.channels, at.inner, options.training, options.relu, bits.data<std::uint8_t>()});
    });
    return {dx, dweight, dbias, gated ? dresidual : dy};
  }

  // By operations, from the input: what the gradient's own gradient needs.
  Tensors composed(const Tensor& input, const Tensor& scale, Tensor dy, const Needs& needs) const {
    Shape dims, column = Shape::filled(input.ndim(), 1);
    for (int d = 0; d < input.ndim(); ++d)
      if (d != 1) dims.push_back(d);
    column[1] = input.size(1);
    const DType dtype = input.dtype();
    const auto batch_mean = [&](const Tensor& t) { return ops::mean(t, dims, true); };
    const auto saved = [&](Index i) { return reshape(to(select(statistics.get(), 0, i), dtype), column); };
    if (options.relu) {
      const Tensor output = has_residual ? y.get() : add(mul(sub(detach(input), saved(0)), saved(2)), saved(3));
      dy = mul(dy, to(compare(CompareOp::gt, output, 0.0), dy.dtype()));
    }
    Tensor m = saved(0), r = saved(1);
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
    return {dx, dweight, dbias, dy};
  }
};

void check_channels(const char* argument, const Tensor& t, const Tensor& x) {
  if (!t.defined()) return;
  check(t.ndim() == 1 && t.size(0) == x.size(1), "batch_norm: ", argument, " must have one element per channel, ",
        x.size(1), ", got shape ", t.shape());
  check(t.dtype() == x.dtype() || t.dtype() == accumulator(x.dtype()), "batch_norm: ", argument, " must have dtype ",
        accumulator(x.dtype()), " or the input's, ", x.dtype(), ", got ", t.dtype());
}

void check_residual(const Tensor& t, const Tensor& x) {
  if (!t.defined()) return;
  check(t.shape() == x.shape(), "batch_norm: residual must have the input's shape ", x.shape(), ", got ", t.shape());
  check(t.dtype() == x.dtype(), "batch_norm: residual must have the input's dtype ", x.dtype(), ", got ", t.dtype());
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
                  const Tensor& shift, const BatchNormOptions& options, const Tensor& added) {
  check_device("batch_norm", {&input, &running_mean, &running_var, &scale, &shift, &added});
  if (mode_is_active()) [[unlikely]]
    return through_door({"batch_norm", {input, running_mean, running_var, scale, shift, added}, [=](const Tensors& t) {
                           return batch_norm(t[0], t[1], t[2], t[3], t[4], options, t[5]);
                         }});
  check<ValueError>(input.ndim() >= 2, "batch_norm: input must be (N, C, *), got ", input.shape());
  const bool channels_last = suggests_channels_last(input);
  const Tensor x = in_format(input, channels_last);
  const DType acc = accumulator(x.dtype());
  check_channels("running_mean", running_mean, x);
  check_channels("running_var", running_var, x);
  check_channels("weight", scale, x);
  check_channels("bias", shift, x);
  check_residual(added, x);
  const Tensor weight = for_kernel(scale, acc), bias = for_kernel(shift, acc);
  const Tensor residual = added.defined() ? in_format(added, channels_last) : added;
  const Layout at(x, channels_last);
  check<ValueError>(!options.training || at.outer * at.inner > 1 || x.numel() == 0,
                    "batch_norm: training needs more than one value per channel, got input ", x.shape());
  check(options.training || (running_mean.defined() && running_var.defined()),
        "batch_norm: evaluation needs running_mean and running_var");
  if (options.training) {
    check_writable("running_mean", running_mean);
    check_writable("running_var", running_var);
  }
  const Tensor y = empty_images(x.shape(), x.dtype(), channels_last, x.device());
  const Tensor statistics = empty({4, at.channels}, acc, x.device());
  const bool gated = options.relu && residual.defined();
  const bool keeps = gated && x.device() == Device::cpu && keeps_passed(at.channels, at.inner) &&
                     records({&x, &weight, &bias, &residual});
  const Tensor passed = keeps ? empty({x.numel() / 8}, DType::uint8, x.device()) : Tensor();
  const Tensor moving_mean = for_kernel(running_mean, acc), moving_var = for_kernel(running_var, acc);
  dispatch_float("batch_norm", x.dtype(), [&]<class T>(T) {
    using Acc = Accumulator<T>;
    const auto& table = kernels<NormKernels<T>>(x.device());
    Acc *mean = statistics.data<Acc>(), *rstd = mean + at.channels, *of_x = rstd + at.channels;
    run("batch_norm", table.batch_norm_forward, 4 * x.numel(),
        Scratch(table.batch_norm_workspace(at.outer, at.channels, at.inner), x.device()),
        BatchNormForward<T>{x.data<T>(), residual.data<T>(), weight.data<Acc>(), bias.data<Acc>(), y.data<T>(), mean,
                            rstd, of_x, of_x + at.channels, moving_mean.data<Acc>(), moving_var.data<Acc>(), at.outer,
                            at.channels, at.inner, options.eps, options.momentum, options.training, options.relu,
                            passed.data<std::uint8_t>()});
  });
  if (options.training) {
    write_back(running_mean, moving_mean);
    write_back(running_var, moving_var);
  }
  if (auto* node =
          record<BatchNormNode>(y, {&x, &weight, &bias, &residual}, options, channels_last, residual.defined())) {
    node->x.save(x);
    node->weight.save(weight);
    node->statistics.save(statistics);
    if (gated) node->y.save_output(y);
    if (keeps) node->passed.save(passed);
  }
  return y;
}

}  // namespace dd2424::ops
