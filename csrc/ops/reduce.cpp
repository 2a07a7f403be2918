#include "ops/reduce.h"

#include "ops/copy.h"
#include "ops/elementwise.h"
#include "ops/index.h"
#include "ops/shape.h"

namespace dd2424::ops {
namespace {

using Dims = std::array<bool, kMaxDims>;

Dims reduced_dims(const char* op, const Tensor& x, const Shape& dims) {
  Dims reduced{};
  if (dims.empty()) reduced.fill(true);
  for (Index dim : dims) {
    const int d = normalize_dim(op, dim, x.ndim());
    check(!std::exchange(reduced[d], true), op, ": dim must name each dimension once, got ", dims);
  }
  return reduced;
}

Shape reduced_shape(const Tensor& x, const Dims& reduced, bool keepdim) {
  Shape shape;
  for (int d = 0; d < x.ndim(); ++d) {
    if (!reduced[d]) shape.push_back(x.size(d));
    if (reduced[d] && keepdim) shape.push_back(1);
  }
  return shape;
}

// Appends the dimensions of x whose `reduced` is `wanted`, collapsed; returns how many. With `in_memory_order` they may
// be taken in any order, and the largest stride comes first.
int append_dims(ReduceShape& at, int begin, const Tensor& x, const Dims& reduced, bool wanted, bool in_memory_order) {
  int end = begin;
  for (int d = 0; d < x.ndim(); ++d) {
    if (reduced[d] != wanted || x.size(d) == 1) continue;
    int place = end++;
    for (; in_memory_order && place > begin && at.strides[place - 1] < x.strides()[d]; --place) {
      at.shape[place] = at.shape[place - 1];
      at.strides[place] = at.strides[place - 1];
    }
    at.shape[place] = x.size(d);
    at.strides[place] = x.strides()[d];
  }
  int last = begin;
  for (int i = begin + 1; i < end; ++i) {
    if (at.strides[last] == at.strides[i] * at.shape[i]) {
      at.shape[last] *= at.shape[i];
    } else {
      at.shape[++last] = at.shape[i];
    }
    at.strides[last] = at.strides[i];
  }
  return end == begin ? 0 : last + 1 - begin;
}

ReduceShape reduce_shape(const Tensor& x, const Dims& reduced, bool any_order) {
  ReduceShape at;
  at.kept = append_dims(at, 0, x, reduced, false, false);
  at.reduced = append_dims(at, at.kept, x, reduced, true, any_order);
  at.outputs = at.terms = 1;
  for (int d = 0; d < x.ndim(); ++d) (reduced[d] ? at.terms : at.outputs) *= x.size(d);
  return at;
}

Tensor run_reduce(const char* name, ReduceOp op, const Tensor& x, const Dims& reduced, bool keepdim, double scale) {
  const Tensor y = empty(reduced_shape(x, reduced, keepdim), x.dtype(), x.device());
  if (y.numel() == 0) return y;
  const ReduceShape at = reduce_shape(x, reduced, true);
  dispatch_all(x.dtype(), [&]<class T>(T) {
    const auto& table = kernels<ReduceKernels<T>>(x.device());
    run(name, table.reduce, x.numel(), {table.workspace(at), x.device()}, op,
        Reduce<T>{x.data<T>(), y.data<T>(), at, scale});
  });
  return y;
}

Tensor keep_dims(const Tensor& y, const Shape& x_shape,
                 const Dims& reduced) {  // puts the reduced dimensions back, of size 1
  Shape shape = x_shape;
  for (int d = 0; d < shape.size(); ++d)
    if (reduced[d]) shape[d] = 1;
  return y.shape() == shape ? y : reshape(y, shape);
}

struct SumNode final : Node {
  Shape shape;
  Dims reduced;
  double scale;
  SumNode(const Shape& shape, const Dims& reduced, double scale) : shape(shape), reduced(reduced), scale(scale) {}
  const char* name() const override { return "sum"; }
  Tensors backward(const Tensors& grads, const Needs&) override {
    const Tensor dy = scale == 1 ? grads[0] : mul(grads[0], scale);
    return {expand(keep_dims(dy, shape, reduced), shape)};
  }
};

Tensor sum_scaled(const char* op, const Tensor& x, const Dims& reduced, bool keepdim, double scale) {
  if (mode_is_active()) [[unlikely]]
    return through_door({op, {x}, [=](const Tensors& t) { return sum_scaled(op, t[0], reduced, keepdim, scale); }});
  const Tensor y = run_reduce(op, ReduceOp::sum, x, reduced, keepdim, scale);
  record<SumNode>(y, {&x}, x.shape(), reduced, scale);
  return y;
}

struct ProdNode final : Node {
  Saved x{this};
  Dims reduced;
  explicit ProdNode(const Dims& reduced) : reduced(reduced) {}
  const char* name() const override { return "prod"; }
  // The product of the others, from both sides: right also where terms are zero.
  Tensors backward(const Tensors& grads, const Needs&) override {
    const Tensor input = x.get();
    Shape order, back = input.shape();
    Index terms = 1;
    for (int pass = 0; pass < 2; ++pass) {
      for (int d = 0; d < input.ndim(); ++d)
        if (reduced[d] == (pass == 1)) order.push_back(d);
    }
    for (int i = 0; i < order.size(); ++i) back[static_cast<int>(order[i])] = i;
    for (int d = 0; d < input.ndim(); ++d) terms *= reduced[d] ? input.size(d) : 1;
    const Tensor moved = permute(input, order), rows = reshape(moved, {terms == 0 ? 0 : -1, terms});
    const Tensor ones = full({rows.size(0), 1}, Scalar(1), rows.dtype(), rows.device());
    const Tensor before = cat({ones, narrow(cumprod(rows, 1), 1, 0, terms - 1)}, 1);
    const Tensor from_end = flip(cumprod(flip(rows, {1}), 1), {1});
    const Tensor after = cat({narrow(from_end, 1, 1, terms - 1), ones}, 1);
    const Tensor others = permute(reshape(mul(before, after), moved.shape()), back);
    return {mul(others, keep_dims(grads[0], input.shape(), reduced))};
  }
};

struct SumSquaresNode final : Node {  // dx = 2 x dy
  Saved x{this};
  Dims reduced;
  explicit SumSquaresNode(const Dims& reduced) : reduced(reduced) {}
  const char* name() const override { return "sum_squares"; }
  Tensors backward(const Tensors& grads, const Needs&) override {
    const Tensor input = x.get();
    return {mul(input, mul(keep_dims(grads[0], input.shape(), reduced), 2.0))};
  }
};

struct ExtremumNode final : Node {  // shares dy among the equal
  Saved x{this}, y{this};
  Dims reduced;
  explicit ExtremumNode(const Dims& reduced) : reduced(reduced) {}
  const char* name() const override { return "amax"; }
  Tensors backward(const Tensors& grads, const Needs&) override {
    const Tensor input = x.get();
    const Tensor hits = to(compare(CompareOp::eq, input, keep_dims(y.get(), input.shape(), reduced)), input.dtype());
    Shape dims;
    for (int d = 0; d < input.ndim(); ++d)
      if (reduced[d]) dims.push_back(d);
    const Tensor share = dims.empty() ? hits : div(hits, sum(hits, dims, true));
    return {mul(share, keep_dims(grads[0], input.shape(), reduced))};
  }
};

Tensor extremum(const char* name, ReduceOp op, const Tensor& x, const Shape& dims, bool keepdim) {
  const Dims reduced = reduced_dims(name, x, dims);
  Index terms = 1;
  for (int d = 0; d < x.ndim(); ++d) terms *= reduced[d] ? x.size(d) : 1;
  check(terms > 0 || !dims.empty(), name, ": dim must be given for an empty input, got shape ", x.shape());
  check<IndexError>(terms > 0, name, ": the reduced dimensions must not be empty, got shape ", x.shape());
  const Tensor y = run_reduce(name, op, x, reduced, keepdim, 1);
  if (auto* node = record<ExtremumNode>(y, {&x}, reduced)) {
    node->x.save(x);
    node->y.save_output(y);
  }
  return y;
}

Tensor logic(const char* name, LogicOp op, const Tensor& x, const Shape& dims, bool keepdim) {
  const Dims reduced = reduced_dims(name, x, dims);
  const Tensor y = empty(reduced_shape(x, reduced, keepdim), DType::bool_, x.device());
  dispatch_all(x.dtype(), [&]<class T>(T) {
    if (y.numel() == 0) return;
    const ReduceShape at = reduce_shape(x, reduced, true);
    const auto& table = kernels<ReduceKernels<T>>(x.device());
    run(name, table.logic, x.numel(), {table.workspace(at), x.device()}, op, Logic<T>{x.data<T>(), y.data<bool>(), at});
  });
  return x.dtype() == DType::uint8 ? to(y, DType::uint8) : y;  // as PyTorch has it, from before there was bool
}

}  // namespace

Tensor sum(const Tensor& x, const Shape& dims, bool keepdim) {
  return sum_scaled("sum", is_floating(x.dtype()) ? x : to(x, DType::int64), reduced_dims("sum", x, dims), keepdim, 1);
}

Tensor mean(const Tensor& x, const Shape& dims, bool keepdim) {
  check(is_floating(x.dtype()), "mean: input must have a floating dtype, got ", x.dtype());
  const Dims reduced = reduced_dims("mean", x, dims);
  Index terms = 1;
  for (int d = 0; d < x.ndim(); ++d) terms *= reduced[d] ? x.size(d) : 1;
  return sum_scaled("mean", x, reduced, keepdim, 1 / static_cast<double>(terms));
}

Tensor prod(const Tensor& input, const Shape& dims, bool keepdim) {
  const Tensor x = is_floating(input.dtype()) ? input : to(input, DType::int64);
  const Dims reduced = reduced_dims("prod", x, dims);
  const Tensor y = run_reduce("prod", ReduceOp::prod, x, reduced, keepdim, 1);
  if (auto* node = record<ProdNode>(y, {&x}, reduced)) node->x.save(x);
  return y;
}

Tensor sum_squares(const Tensor& x, const Shape& dims, bool keepdim) {
  check(is_floating(x.dtype()), "sum_squares: input must have a floating dtype, got ", x.dtype());
  if (mode_is_active()) [[unlikely]]
    return sum(unary(UnaryOp::square, x), dims, keepdim);
  const Dims reduced = reduced_dims("sum_squares", x, dims);
  const Tensor y = run_reduce("sum_squares", ReduceOp::sum_squares, x, reduced, keepdim, 1);
  if (auto* node = record<SumSquaresNode>(y, {&x}, reduced)) node->x.save(x);
  return y;
}

Tensor amax(const Tensor& x, const Shape& dims, bool keepdim) {
  return extremum("amax", ReduceOp::max, x, dims, keepdim);
}
Tensor amin(const Tensor& x, const Shape& dims, bool keepdim) {
  return extremum("amin", ReduceOp::min, x, dims, keepdim);
}
Tensor any(const Tensor& x, const Shape& dims, bool keepdim) { return logic("any", LogicOp::any, x, dims, keepdim); }
Tensor all(const Tensor& x, const Shape& dims, bool keepdim) { return logic("all", LogicOp::all, x, dims, keepdim); }

namespace {

struct VarianceNode final : Node {  // dx = dy * 2 (x - mean) / (n - correction), n = correction giving inf or NaN
  Saved x{this}, root{this};
  Dims reduced;
  double divisor;
  VarianceNode(const Dims& reduced, double divisor) : reduced(reduced), divisor(divisor > 0 ? divisor : 0) {}
  const char* name() const override { return "var"; }
  Tensors backward(const Tensors& grads, const Needs&) override {
    const Tensor input = x.get(), y = root.get();
    Shape dims;
    for (int d = 0; d < input.ndim(); ++d)
      if (reduced[d]) dims.push_back(d);
    Tensor dy = grads[0];
    if (y.defined())  // of the standard deviation, whose slope is taken as 0 where it is 0
      dy = where(compare(CompareOp::eq, y, 0.0), Operand(0.0), div(dy, mul(y, 2.0)));
    const Tensor centred = sub(input, mean(input, dims, true));
    return {mul(mul(keep_dims(dy, input.shape(), reduced), 2 / divisor), centred)};
  }
};

Tensor spread(const char* op, const Tensor& x, const Shape& dims, double correction, bool keepdim, bool is_root) {
  check(is_floating(x.dtype()), op, ": input must have a floating dtype, got ", x.dtype());
  const Dims reduced = reduced_dims(op, x, dims);
  const Shape shape = reduced_shape(x, reduced, keepdim);
  const ReduceShape at = reduce_shape(x, reduced, true);
  const Tensor mean = empty(shape, accumulator(x.dtype()), x.device()),
               y = empty(shape, accumulator(x.dtype()), x.device());
  dispatch_float(op, x.dtype(), [&]<class T>(T) {
    using Acc = Accumulator<T>;
    const auto& table = kernels<ReduceKernels<T>>(x.device());
    if (y.numel() > 0) {
      run(op, table.variance, 2 * x.numel(), {table.workspace(at), x.device()},
          Variance<T>{x.data<T>(), mean.data<Acc>(), y.data<Acc>(), at, correction});
    }
  });
  if (is_root) {
    Tensor self = y;
    unary_(UnaryOp::sqrt, self);
  }
  const Tensor result = to(y, x.dtype());
  if (auto* node = record<VarianceNode>(result, {&x}, reduced, static_cast<double>(at.terms) - correction)) {
    node->x.save(x);
    if (is_root) node->root.save_output(result);
  }
  return result;
}

}  // namespace

Tensor variance(const Tensor& x, const Shape& dims, double correction, bool keepdim) {
  return spread("var", x, dims, correction, keepdim, false);
}
Tensor standard_deviation(const Tensor& x, const Shape& dims, double correction, bool keepdim) {
  return spread("std", x, dims, correction, keepdim, true);
}

Tensor sum_to(Tensor x, const Shape& shape) {
  if (x.shape() == shape) return x;
  const int shift = x.ndim() - shape.size();
  Shape dims;
  for (int d = 0; d < x.ndim(); ++d)
    if (d < shift || (shape[d - shift] == 1 && x.size(d) != 1)) dims.push_back(d);
  const Tensor y = dims.empty() ? x : sum(x, dims, true);
  return y.shape() == shape ? y : reshape(y, shape);
}

}  // namespace dd2424::ops
