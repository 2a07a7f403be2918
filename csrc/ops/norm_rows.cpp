#include "ops/copy.h"
#include "ops/elementwise.h"
#include "ops/norm.h"
#include "ops/reduce.h"
#include "ops/shape.h"

namespace dd2424::ops {
namespace {

struct RowNorm {  // which norm
  Shape normalized;
  double eps;
  bool centred, adds;
  const char* name() const {
    return adds ? (centred ? "add_layer_norm" : "add_rms_norm") : centred ? "layer_norm" : "rms_norm";
  }
};

struct RowNormNode final : Node {
  Saved x{this}, weight{this}, statistics{this};  // x: what is normalised, with a residual the sum
  Shape normalized;
  double eps;
  bool centred;
  const char* op;
  explicit RowNormNode(const RowNorm& norm)
      : normalized(norm.normalized), eps(norm.eps), centred(norm.centred), op(norm.name()) {}
  const char* name() const override { return op; }

  // Of x, weight, bias and, where the sum is an output, of the residual, whose gradient is that of x.
  Tensors backward(const Tensors& grads, const Needs& needs) override {
    if (outputs == 1) return gradients(grads[0], Tensor(), needs);
    const bool moves = needs[0] || needs[3];
    if (!grads[0].defined()) return {grads[1], Tensor(), Tensor(), grads[1]};
    Tensors found = gradients(grads[0], grads[1], {moves, needs[1], needs[2]});
    found.push_back(found[0]);
    return found;
  }

  Tensors gradients(const Tensor& grad, const Tensor& of_sum, const Needs& needs) {
    const Tensor input = x.get(), scale = weight.get();
    if (grad_enabled()) {
      Tensors found = composed(input, scale, grad, needs);
      if (of_sum.defined() && needs[0]) found[0] = add(found[0], of_sum);
      return found;
    }
    const Tensor dy = contiguous(grad), dsum = of_sum.defined() ? contiguous(of_sum) : of_sum;
    const Tensor saved = statistics.get();
    const DType acc = accumulator(input.dtype());
    const Index cols = product(normalized), rows = saved.size(1);
    const Tensor dx = needs[0] ? empty(input.shape(), input.dtype(), input.device()) : Tensor();
    const Tensor dweight = needs[1] ? empty(normalized, acc, input.device()) : Tensor();
    const Tensor dbias = needs[2] ? empty(normalized, acc, input.device()) : Tensor();
    dispatch_float(name(), input.dtype(), [&]<class T>(T) {
      using Acc = Accumulator<T>;
      const auto& table = kernels<NormKernels<T>>(input.device());
      const Acc* of_rows = saved.data<Acc>();
      run(name(), table.row_norm_backward, 4 * input.numel(),
          Scratch(dweight.defined() || dbias.defined() ? table.row_norm_workspace(rows, cols) : 0, input.device()),
          RowNormBackward<T>{input.data<T>(), dy.data<T>(), scale.data<Acc>(), of_rows, of_rows + rows,
                             of_rows + 2 * rows, dx.data<T>(), dweight.data<Acc>(), dbias.data<Acc>(), rows, cols,
                             centred, dsum.data<T>()});
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

// A mode may have given the input and the residual different types: `any_dtype`, whose sum has the wider one.
void check_arguments(const RowNorm& norm, const Tensor& input, const Tensor& residual, const Tensor& scale,
                     const Tensor& shift, bool any_dtype = false) {
  const char* op = norm.name();
  check_device(op, {&input, &residual, &scale, &shift});
  check(ends_with(input.shape(), norm.normalized), op, ": input must end in normalized_shape ", norm.normalized,
        ", got ", input.shape());
  check_parameter(op, "weight", scale, input, norm.normalized);
  check_parameter(op, "bias", shift, input, norm.normalized);
  if (!norm.adds) return;
  check(residual.shape() == input.shape(), op, ": residual must have the input's shape ", input.shape(), ", got ",
        residual.shape());
  check(any_dtype || residual.dtype() == input.dtype(), op, ": residual must have the input's dtype ", input.dtype(),
        ", got ", residual.dtype());
}

NormAndSum row_norm(const RowNorm& norm, const Tensor& input, const Tensor& added, const Tensor& scale,
                    const Tensor& shift) {
  const char* op = norm.name();
  check_arguments(norm, input, added, scale, shift);
  const DType acc = accumulator(input.dtype());
  const auto for_kernel = [&](const Tensor& t) { return t.defined() ? contiguous(to(t, acc)) : t; };
  const Tensor x = contiguous(input), weight = for_kernel(scale), bias = for_kernel(shift);
  const Tensor residual = norm.adds ? contiguous(added) : added;
  const Index cols = product(norm.normalized), rows = cols == 0 ? 0 : x.numel() / cols;
  const Tensor y = empty(x.shape(), x.dtype(), x.device()),
               total = norm.adds ? empty(x.shape(), x.dtype(), x.device()) : Tensor();
  const Tensor statistics = records({&x, &weight, &bias, &residual}) ? empty({3, rows}, acc, input.device()) : Tensor();
  dispatch_float(op, x.dtype(), [&]<class T>(T) {
    using Acc = Accumulator<T>;
    Acc* of_rows = statistics.data<Acc>();
    run(op, kernels<NormKernels<T>>(x.device()).row_norm_forward, 4 * x.numel(), 0,
        RowNormForward<T>{x.data<T>(), weight.data<Acc>(), bias.data<Acc>(), y.data<T>(), of_rows,
                          of_rows ? of_rows + rows : nullptr, of_rows ? of_rows + 2 * rows : nullptr, rows, cols,
                          norm.eps, norm.centred, residual.data<T>(), total.data<T>()});
  });
  auto* node = norm.adds ? record<RowNormNode>(y, {&x, &weight, &bias, &residual}, norm)
                         : record<RowNormNode>(y, {&x, &weight, &bias}, norm);
  if (!node) return {y, total};
  node->weight.save(weight);
  node->statistics.save(statistics);
  if (norm.adds) {
    node->outputs = 2;
    set_node(total, Ref<Node>(node), 1);
    node->x.save_output(total);
  } else {
    node->x.save(x);
  }
  return {y, total};
}

Tensor plain(const RowNorm& norm, const Tensor& x, const Tensor& weight, const Tensor& bias) {
  if (mode_is_active()) [[unlikely]]
    return through_door(
        {norm.name(), {x, weight, bias}, [=](const Tensors& t) { return plain(norm, t[0], t[1], t[2]); }});
  return row_norm(norm, x, Tensor(), weight, bias).norm;
}

NormAndSum of_sum(const RowNorm& norm, const Tensor& x, const Tensor& residual, const Tensor& weight,
                  const Tensor& bias) {
  if (!mode_is_active()) [[likely]]
    return row_norm(norm, x, residual, weight, bias);
  check_arguments(norm, x, residual, weight, bias, true);  // modes know operations of one output: both by such ones
  const Tensor total = add(x, residual);
  return {plain({norm.normalized, norm.eps, norm.centred, false}, total, weight, bias), total};
}

}  // namespace

Tensor layer_norm(const Tensor& x, const Shape& normalized_shape, const Tensor& weight, const Tensor& bias,
                  double eps) {
  return plain({normalized_shape, eps, true, false}, x, weight, bias);
}
Tensor rms_norm(const Tensor& x, const Shape& normalized_shape, const Tensor& weight, double eps) {
  return plain({normalized_shape, eps, false, false}, x, weight, Tensor());
}
NormAndSum add_layer_norm(const Tensor& x, const Tensor& residual, const Shape& normalized_shape, const Tensor& weight,
                          const Tensor& bias, double eps) {
  return of_sum({normalized_shape, eps, true, true}, x, residual, weight, bias);
}
NormAndSum add_rms_norm(const Tensor& x, const Tensor& residual, const Shape& normalized_shape, const Tensor& weight,
                        double eps) {
  return of_sum({normalized_shape, eps, false, true}, x, residual, weight, Tensor());
}

}  // namespace dd2424::ops
