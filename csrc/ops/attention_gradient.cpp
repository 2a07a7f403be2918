#include "ops/attention.h"
#include "ops/copy.h"
#include "ops/elementwise.h"
#include "ops/gemm.h"
#include "ops/loss.h"
#include "ops/reduce.h"
#include "ops/shape.h"

namespace dd2424::ops {
namespace {

Tensor mT(const Tensor& x) { return transpose(x, -2, -1); }
Tensor both(const Tensor& a, const Tensor& b) {
  if (!a.defined() || !b.defined()) return a.defined() ? a : b;
  return compare(CompareOp::logical_and, a, b);
}

// Which keys a query sees by its place, (queries, keys); undefined: all.
Tensor seen_by_place(const AttentionSizes& s, Device device) {
  if (!s.is_causal && s.window == 0) return {};
  const auto places = [&](Index first, Index count) {
    return arange(first, first + count, std::int64_t{1}, DType::int64, device);
  };
  const Tensor distance = sub(unsqueeze(places(s.offset, s.queries), 1), places(0, s.keys));
  const Tensor causal = s.is_causal ? compare(CompareOp::ge, distance, Scalar(0)) : Tensor();
  const Tensor near = s.window ? compare(CompareOp::lt, unary(UnaryOp::abs, distance), Scalar(s.window)) : Tensor();
  return both(causal, near);
}
Tensor seen(const AttentionSizes& s, const Tensor& mask, Device device) {
  const GradMode off(false);
  const Tensor by_place = seen_by_place(s, device);
  if (!mask.defined()) return by_place;
  const bool is_boolean = mask.dtype() == DType::bool_;
  return both(by_place, is_boolean ? mask : compare(CompareOp::gt, mask, -std::numeric_limits<double>::infinity()));
}

// 0 where dropout takes a weight, 1 / (1 - p) elsewhere: the kernel's own draw.
Tensor kept(const AttentionSizes& s, DType dtype, Device device) {
  const GradMode off(false);
  const Index width = (s.keys + 3) / 4 * 4;
  const Tensor all = full({s.batch, s.heads, s.queries, width}, 1.0, dtype, device);
  dispatch_float("dropout", dtype, [&]<class T>(T) {
    run("dropout", kernels<RandomKernels<T>>(all.device()).dropout, all.numel(), 0,
        Dropout<T>{all.data<T>(), all.data<T>(), all.numel(), 1, s.dropout, s.dropout == 1 ? 0 : 1 / (1 - s.dropout),
                   s.bits});
  });
  return narrow(all, -1, 0, s.keys);
}

// Each head of k or v once for every query head of its group, and back.
Tensor repeated(const Tensor& x, const AttentionSizes& s) {
  if (s.heads == s.key_heads) return x;
  const Index group = s.heads / s.key_heads;
  return reshape(expand(unsqueeze(x, 2), {s.batch, s.key_heads, group, s.keys, x.size(3)}),
                 {s.batch, s.heads, s.keys, x.size(3)});
}
Tensor gathered(const Tensor& x, const AttentionSizes& s) {
  if (s.heads == s.key_heads) return x;
  return sum(reshape(x, {s.batch, s.key_heads, s.heads / s.key_heads, s.keys, x.size(3)}), {2});
}

Tensor weights(const AttentionSizes& s, const Tensor& q, const Tensor& k, const Tensor& mask) {
  Tensor scores = mul(matmul(q, mT(k)), s.scale);
  if (mask.defined() && mask.dtype() != DType::bool_) scores = add(scores, mask);
  const Tensor visible = seen(s, mask, q.device());
  if (!visible.defined()) return softmax(scores, -1);
  const double hidden = -std::numeric_limits<double>::infinity();
  // A query that sees nothing: any finite score, and no weight.
  const Tensor floor =
      where(any(visible, {visible.ndim() - 1}, true), Operand(full({}, hidden, q.dtype(), q.device())), Operand(0.0));
  return where(visible, Operand(softmax(where(visible, Operand(scores), Operand(floor)), -1)), Operand(0.0));
}

}  // namespace

Tensors attention_gradients(const AttentionSizes& s, const Tensor& q, const Tensor& grouped_k, const Tensor& grouped_v,
                            const Tensor& mask, const Tensor& dy, const Needs& needs) {
  const Tensor k = repeated(grouped_k, s), v = repeated(grouped_v, s);
  const Tensor p = weights(s, q, k, mask), keep = s.dropout > 0 ? kept(s, q.dtype(), q.device()) : Tensor();
  const auto dropped = [&](const Tensor& x) { return keep.defined() ? mul(x, keep) : x; };
  const Tensor dp = dropped(matmul(dy, mT(v)));
  const Tensor ds = mul(p, sub(dp, sum(mul(dp, p), {3}, true)));
  return {needs[0] ? mul(matmul(ds, k), s.scale) : Tensor(),
          needs[1] ? gathered(mul(matmul(mT(ds), q), s.scale), s) : Tensor(),
          needs[2] ? gathered(matmul(mT(dropped(p)), dy), s) : Tensor(),
          needs[3] ? sum_to(ds, mask.shape()) : Tensor()};
}

}  // namespace dd2424::ops
