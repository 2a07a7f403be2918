#include "ops/copy.h"
#include "ops/elementwise.h"
#include "ops/images.h"
#include "ops/norm.h"
#include "ops/reduce.h"
#include "ops/shape.h"

namespace dd2424::ops {
namespace {

Index positions(const Tensor& x) {
  Index count = 1;
  for (int d = 2; d < x.ndim(); ++d) count *= x.size(d);
  return count;
}

// What the kernel is told: images of one pixel lie both ways, and channels-last is the faster.
bool for_columns(const Tensor& x, Index groups, bool channels_last) {
  return channels_last || (positions(x) == 1 && x.size(1) / groups <= kMostChannelsLast);
}

struct GroupNormNode final : Node {
  Saved x{this}, weight{this}, statistics{this};  // (3, items, groups): mean, low, rstd
  Index groups;
  double eps;
  bool channels_last;
  GroupNormNode(Index groups, double eps, bool channels_last)
      : groups(groups), eps(eps), channels_last(channels_last) {}
  const char* name() const override { return "group_norm"; }

  Tensors backward(const Tensors& grads, const Needs& needs) override {
    const Tensor input = x.get(), scale = weight.get();
    if (grad_enabled()) return composed(input, scale, grads[0], needs);
    const Tensor dy = in_format(grads[0], channels_last), saved = statistics.get();
    const DType acc = accumulator(input.dtype());
    const Index items = input.size(0), channels = input.size(1);
    const Tensor dx = needs[0] ? empty_images(input.shape(), input.dtype(), channels_last, input.device()) : Tensor();
    const Tensor dweight = needs[1] ? empty({channels}, acc, input.device()) : Tensor();
    const Tensor dbias = needs[2] ? empty({channels}, acc, input.device()) : Tensor();
    dispatch_float(name(), input.dtype(), [&]<class T>(T) {
      using Acc = Accumulator<T>;
      const auto& table = kernels<NormKernels<T>>(input.device());
      const Acc *mean = saved.data<Acc>(), *low = mean + items * groups;
      run(name(), table.group_norm_backward, 4 * input.numel(),
          Scratch(table.group_norm_workspace(items, channels, groups, positions(input), false), input.device()),
          GroupNormBackward<T>{input.data<T>(), dy.data<T>(), scale.data<Acc>(), mean, low, low + items * groups,
                               dx.data<T>(), dweight.data<Acc>(), dbias.data<Acc>(), items, channels, groups,
                               positions(input), for_columns(input, groups, channels_last)});
    });
    return {dx, dweight, dbias};
  }

  // By operations, from the input: what the gradient's own gradient needs.
  Tensors composed(const Tensor& input, const Tensor& scale, const Tensor& dy, const Needs& needs) const {
    const DType dtype = input.dtype();
    Shape column = Shape::filled(input.ndim(), 1), others;
    column[1] = input.size(1);
    for (int d = 0; d < input.ndim(); ++d)
      if (d != 1) others.push_back(d);
    const Shape rows{input.size(0), groups, input.size(1) / groups * positions(input)};
    const auto mean_of_group = [](const Tensor& t) { return ops::mean(t, Shape{2}, true); };
    const Tensor of_groups = reshape(input, rows), distance = sub(of_groups, mean_of_group(of_groups));
    const Tensor rstd = unary(UnaryOp::rsqrt, add(mean_of_group(mul(distance, distance)), eps));
    const Tensor normal = mul(distance, rstd);
    Tensor dx, dweight, dbias;
    if (needs[0]) {
      const Tensor g = reshape(scale.defined() ? mul(dy, reshape(to(scale, dtype), column)) : dy, rows);
      const Tensor tilted = mul(normal, mean_of_group(mul(g, normal)));
      dx = reshape(mul(rstd, sub(sub(g, mean_of_group(g)), tilted)), input.shape());
    }
    if (needs[1]) dweight = to(sum(mul(dy, reshape(normal, input.shape())), others), accumulator(dtype));
    if (needs[2]) dbias = to(sum(dy, others), accumulator(dtype));
    return {dx, dweight, dbias};
  }
};

void check_parameter(const char* argument, const Tensor& t, const Tensor& x) {
  if (!t.defined()) return;
  check(t.ndim() == 1 && t.size(0) == x.size(1), "group_norm: ", argument, " must have one element per channel, ",
        x.size(1), ", got shape ", t.shape());
  check(t.dtype() == x.dtype() || t.dtype() == accumulator(x.dtype()), "group_norm: ", argument, " must have dtype ",
        accumulator(x.dtype()), " or the input's, ", x.dtype(), ", got ", t.dtype());
}

}  // namespace

Tensor group_norm(const Tensor& input, Index groups, const Tensor& scale, const Tensor& shift, double eps) {
  if (mode_is_active()) [[unlikely]]
    return through_door({"group_norm", {input, scale, shift}, [=](const Tensors& t) {
                           return group_norm(t[0], groups, t[1], t[2], eps);
                         }});
  check_device("group_norm", {&input, &scale, &shift});
  check(input.ndim() >= 2, "group_norm: input must be (N, C, *), got ", input.shape());
  const Index items = input.size(0), channels = input.size(1), inner = positions(input);
  check(groups > 0 && channels % groups == 0, "group_norm: num_groups must divide the ", channels,
        " channels of input, got ", groups);
  check_parameter("weight", scale, input);
  check_parameter("bias", shift, input);
  const DType acc = accumulator(input.dtype());
  const auto for_kernel = [&](const Tensor& t) { return t.defined() ? contiguous(to(t, acc)) : t; };
  const bool channels_last = suggests_channels_last(input) && channels / groups <= kMostChannelsLast;
  const Tensor x = in_format(input, channels_last), weight = for_kernel(scale), bias = for_kernel(shift);
  const Tensor y = empty_images(x.shape(), x.dtype(), channels_last, x.device());
  const Tensor statistics = records({&x, &weight, &bias}) ? empty({3, items, groups}, acc, x.device()) : Tensor();
  dispatch_float("group_norm", x.dtype(), [&]<class T>(T) {
    using Acc = Accumulator<T>;
    Acc *mean = statistics.data<Acc>(), *low = mean ? mean + items * groups : nullptr;
    const auto& table = kernels<NormKernels<T>>(x.device());
    run("group_norm", table.group_norm_forward, 4 * x.numel(),
        Scratch(table.group_norm_workspace(items, channels, groups, inner, true), x.device()),
        GroupNormForward<T>{x.data<T>(), weight.data<Acc>(), bias.data<Acc>(), y.data<T>(), mean, low,
                            low ? low + items * groups : nullptr, items, channels, groups, inner, eps,
                            for_columns(x, groups, channels_last)});
  });
  if (auto* node = record<GroupNormNode>(y, {&x, &weight, &bias}, groups, eps, channels_last)) {
    node->x.save(x);
    node->weight.save(weight);
    node->statistics.save(statistics);
  }
  return channels_last == suggests_channels_last(input) ? y : in_format(y, true);
}

}  // namespace dd2424::ops
