#include "ops/copy.h"
#include "ops/elementwise.h"
#include "ops/norm.h"
#include "ops/reduce.h"
#include "ops/shape.h"

namespace dd2424::ops {
namespace {

const char* name_of(bool centred) { return centred ? "layer_norm" : "rms_norm"; }

struct RowNormNode final : Node {
  Saved x{this}, weight{this}, statistics{this};
  Shape normalized, bias_shape;
  double eps;
  bool centred;
  RowNormNode(const Shape& normalized, double eps, bool centred) : normalized(normalized), eps(eps), centred(centred) {}
  const char* name() const override { return name_of(centred); }

  Tensors backward(const Tensors& grads, const Needs& needs) override {
    const Tensor input = x.get(), scale = weight.get();
    if (grad_enabled()) return composed(input, scale, grads[0], needs);
    const Tensor dy = contiguous(grads[0]), saved = statistics.get();
    const DType acc = accumulator(input.dtype());
    const Index cols = product(normalized), rows = saved.size(1);
    const Tensor dx = needs[0] ? empty(input.shape(), input.dtype()) : Tensor();
    const Tensor dweight = needs[1] ? empty(normalized, acc) : Tensor();
    const Tensor dbias = needs[2] ? empty(normalized, acc) : Tensor();
    dispatch_float(name(), input.dtype(), [&]<class T>(T) {
      using Acc = Accumulator<T>;
      const auto& table = kernels<NormKernels<T>>(input.device());
      const Acc* of_rows = saved.data<Acc>();
      run(name(), table.row_norm_backward, 4 * input.numel(),
          dweight.defined() || dbias.defined() ? table.row_norm_workspace(rows, cols) : 0,
          RowNormBackward<T>{input.data<T>(), dy.data<T>(), scale.data<Acc>(), of_rows, of_rows + rows,
                             of_rows + 2 * rows, dx.data<T>(), dweight.data<Acc>(), dbias.data<Acc>(), rows, cols,
                             centred});
    });
    return {dx, dweight, dbias};
  }

  // By operations, from the input: what the gradient's own gradient needs.
  Tensors composed(const Tensor& input, const Tensor& scale, const Tensor& dy, const Needs& needs) const {
    const DType dtype = input.dtype();
    Shape dims, leading;
    for (int d = 0; d < input.ndim(); ++d) (d < input.ndim() - normalized.size() ? leading : dims).push_back(d);
    const auto mean_of_row = [&](const Tensor& t) { return ops::mean(t, dims, true); };
    const auto over_rows = [&](const Tensor& t) {
      return to(leading.empty() ? t : sum(t, leading), accumulator(dtype));
    };
    const Tensor distance = centred ? sub(input, mean_of_row(input)) : input;
    const Tensor rstd = unary(UnaryOp::rsqrt, add(mean_of_row(mul(distance, distance)), eps));
    const Tensor normal = mul(distance, rstd);
    Tensor dx, dweight, dbias;
    if (needs[0]) {
      const Tensor g = scale.defined() ? mul(dy, to(scale, dtype)) : dy;
      const Tensor tilted = mul(normal, mean_of_row(mul(g, normal)));
      dx = mul(rstd, sub(centred ? sub(g, mean_of_row(g)) : g, tilted));
    }
    if (needs[1]) dweight = over_rows(mul(dy, normal));
    if (needs[2]) dbias = over_rows(dy);
    return {dx, dweight, dbias};
  }
};

void check_parameter(const char* op, const char* argument, const Tensor& t, const Tensor& x, const Shape& normalized) {
  if (!t.defined()) return;
  check(t.shape() == normalized, op, ": ", argument, " must have shape normalized_shape ", normalized, ", got ",
        t.shape());
  check(t.dtype() == x.dtype() || t.dtype() == accumulator(x.dtype()), op, ": ", argument, " must have dtype ",
        accumulator(x.dtype()), " or the input's, ", x.dtype(), ", got ", t.dtype());
}

bool ends_with(const Shape& shape, const Shape& end) {
  return !end.empty() && end.size() <= shape.size() && std::equal(end.begin(), end.end(), shape.end() - end.size());
}

Tensor row_norm(const Tensor& input, const Shape& normalized, const Tensor& scale, const Tensor& shift, double eps,
                bool centred) {
  const char* op = name_of(centred);
  if (mode_is_active()) [[unlikely]]
    return through_door({op, {input, scale, shift}, [=](const Tensors& t) {
                           return row_norm(t[0], normalized, t[1], t[2], eps, centred);
                         }});
  check(ends_with(input.shape(), normalized), op, ": input must end in normalized_shape ", normalized, ", got ",
        input.shape());
  check_parameter(op, "weight", scale, input, normalized);
  check_parameter(op, "bias", shift, input, normalized);
  const DType acc = accumulator(input.dtype());
  const auto for_kernel = [&](const Tensor& t) { return t.defined() ? contiguous(to(t, acc)) : t; };
  const Tensor x = contiguous(input), weight = for_kernel(scale), bias = for_kernel(shift);
  const Index cols = product(normalized), rows = cols == 0 ? 0 : x.numel() / cols;
  const Tensor y = empty(x.shape(), x.dtype());
  const Tensor statistics = records({&x, &weight, &bias}) ? empty({3, rows}, acc) : Tensor();
  dispatch_float(op, x.dtype(), [&]<class T>(T) {
    using Acc = Accumulator<T>;
    Acc* of_rows = statistics.data<Acc>();
    run(op, kernels<NormKernels<T>>(x.device()).row_norm_forward, 4 * x.numel(), 0,
        RowNormForward<T>{x.data<T>(), weight.data<Acc>(), bias.data<Acc>(), y.data<T>(), of_rows,
                          of_rows ? of_rows + rows : nullptr, of_rows ? of_rows + 2 * rows : nullptr, rows, cols, eps,
                          centred});
  });
  if (auto* node = record<RowNormNode>(y, {&x, &weight, &bias}, normalized, eps, centred)) {
    node->x.save(x);
    node->weight.save(weight);
    node->statistics.save(statistics);
  }
  return y;
}

}  // namespace

Tensor layer_norm(const Tensor& x, const Shape& normalized_shape, const Tensor& weight, const Tensor& bias,
                  double eps) {
  return row_norm(x, normalized_shape, weight, bias, eps, true);
}
Tensor rms_norm(const Tensor& x, const Shape& normalized_shape, const Tensor& weight, double eps) {
  return row_norm(x, normalized_shape, weight, Tensor(), eps, false);
}

}  // namespace dd2424::ops
