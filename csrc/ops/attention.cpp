#include "ops/attention.h"

#include <cmath>

#include "core/parallel.h"
#include "ops/copy.h"
#include "ops/elementwise.h"
#include "ops/shape.h"

namespace dd2424::ops {
namespace {

constexpr const char* kName = "scaled_dot_product_attention";

// Dense, its outer three dimensions in memory in the order of x's, the features innermost.
Tensor rows_like(const Tensor& x, const Shape& shape) {
  int order[] = {0, 1, 2};
  for (int i = 1; i < 3; ++i)
    for (int j = i; j > 0 && x.size(order[j - 1]) != 1 && x.size(order[j]) != 1 &&
                    x.strides()[order[j - 1]] < x.strides()[order[j]];
         --j)
      std::swap(order[j - 1], order[j]);
  const Tensor y = empty({shape[order[0]], shape[order[1]], shape[order[2]], shape[3]}, x.dtype(), x.device());
  Shape strides = Shape::filled(4, 1);
  for (int i = 0; i < 3; ++i) strides[order[i]] = y.strides()[i];
  return alias(y, shape, strides, 0);
}

template <class T>
HeadRows<T> head_rows(const Tensor& x) {
  if (!x.defined()) return {};
  return {x.data<std::remove_const_t<T>>(), x.strides()[0], x.strides()[1], x.strides()[2]};
}
template <class T>
AttentionMask<T> mask_of(const Tensor& mask) {
  if (!mask.defined()) return {};
  const bool is_boolean = mask.dtype() == DType::bool_;
  const Shape& strides = mask.strides();
  return {is_boolean ? mask.data<bool>() : nullptr,
          is_boolean ? nullptr : mask.data<T>(),
          strides[0],
          strides[1],
          strides[2],
          strides[3]};
}
Tensor features_together(const Tensor& x) { return x.size(3) <= 1 || x.strides()[3] == 1 ? x : contiguous(x); }

Index work(const AttentionSizes& s) {
  return s.batch * s.heads * s.queries * s.keys * (s.features + s.value_features) / 8;
}
template <class F>
void dispatch(DType dtype, F&& f) {
  dispatch_float(kName, dtype, f);
}

// Kernels of the short types read rows by chunks of 16 bytes. What they do not take has been converted to float32.
bool is_in_chunks(const Tensor& x) {
  bool holds = reinterpret_cast<std::uintptr_t>(x.data<std::byte>()) % 16 == 0;
  for (int d = 0; d < 3; ++d) holds &= x.strides()[d] % 8 == 0;
  return holds && x.strides()[3] == 1;
}
bool fits(const AttentionSizes& s, const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& mask) {
  if (!is_short(q.dtype())) return true;
  auto* const fits = q.dtype() == DType::float16 ? kernels<AttentionKernels<float16>>(q.device()).attention_fits
                                                 : kernels<AttentionKernels<bfloat16>>(q.device()).attention_fits;
  return fits && fits(s) && is_in_chunks(q) && is_in_chunks(k) && is_in_chunks(v) &&
         (!mask.defined() || mask.dtype() == DType::bool_);
}

struct Operands {
  Tensor q, k, v, mask;
};
Tensor expanded_mask(const Tensor& mask, const Shape& full) {
  return mask.defined() && mask.shape() != full ? expand(detach(mask), full) : mask;
}
void run_forward(AttentionSizes s, const Operands& given, const Tensor& y, const Tensor& lse) {
  if (y.numel() == 0) return;
  const Operands in{given.q, given.k, given.v, expanded_mask(given.mask, {s.batch, s.heads, s.queries, s.keys})};
  s.teams = num_threads();
  dispatch(y.dtype(), [&]<class T>(T) {
    const auto& table = kernels<AttentionKernels<T>>(y.device());
    run(kName, table.attention_forward, work(s), Scratch(table.attention_workspace(s), y.device()),
        AttentionForward<T>{s, head_rows<const T>(in.q), head_rows<const T>(in.k), head_rows<const T>(in.v),
                            mask_of<T>(in.mask), head_rows<T>(y), lse.data<Accumulator<T>>()});
  });
}
// What is undefined of `out` is not computed.
void run_backward_on(AttentionSizes s, const Operands& in, const Tensor& y, const Tensor& lse, const Tensor& dy,
                     const Operands& out) {
  s.teams = num_threads();
  dispatch(y.dtype(), [&]<class T>(T) {
    const auto& table = kernels<AttentionKernels<T>>(y.device());
    run(kName, table.attention_backward, 3 * work(s), Scratch(table.attention_workspace(s), y.device()),
        AttentionBackward<T>{s, head_rows<const T>(in.q), head_rows<const T>(in.k), head_rows<const T>(in.v),
                             mask_of<T>(in.mask), head_rows<const T>(y), head_rows<const T>(dy),
                             lse.data<Accumulator<T>>(), head_rows<T>(out.q), head_rows<T>(out.k), head_rows<T>(out.v),
                             out.mask.data<T>()});
  });
}

Tensor one_of(const Tensor& x, Index item) { return x.defined() ? narrow(x, 0, item, 1) : x; }
Operands one_of(const Operands& x, Index item) {
  return {one_of(x.q, item), one_of(x.k, item), one_of(x.v, item), one_of(x.mask, item)};
}

// The same, and the gradient of a mask that was broadcast to the scores, if it is wanted. Of one that all items of the
// batch share it is summed item by item, for the gradients of all scores at once would be the largest array there is.
Tensor run_backward(AttentionSizes s, const Operands& given, const Tensor& y, const Tensor& lse, const Tensor& grad,
                    Operands out, bool wants_mask) {
  const GradMode off(false);
  const bool is_read_as_it_lies = !is_short(y.dtype()) || is_in_chunks(grad);
  const Tensor dy = is_read_as_it_lies ? features_together(grad) : clone_contiguous(grad);
  const Shape full{s.batch, s.heads, s.queries, s.keys};
  const Operands in{given.q, given.k, given.v, expanded_mask(given.mask, full)};
  if (!wants_mask) return run_backward_on(s, in, y, lse, dy, out), Tensor();
  const DType dtype = y.dtype();
  if (given.mask.size(0) == s.batch || s.dropout > 0) {
    out.mask = zeros(full, dtype, given.q.device());
    run_backward_on(s, in, y, lse, dy, out);
    return sum_to(out.mask, given.mask.shape());
  }
  const Tensor total = zeros(given.mask.shape(), dtype, given.q.device()),
               of_item = zeros({1, s.heads, s.queries, s.keys}, dtype, given.q.device());
  const Index items = s.batch;
  s.batch = 1;
  for (Index i = 0; i < items; ++i) {
    Operands to = one_of(out, i);
    to.mask = of_item;
    run_backward_on(s, one_of(in, i), one_of(y, i), one_of(lse, i), one_of(dy, i), to);
    copy_into(total, add(total, sum_to(of_item, total.shape())));
  }
  return total;
}

Tensor widened(const Tensor& x) { return x.defined() && is_floating(x.dtype()) ? to(x, DType::float32) : x; }
// By operations; of short types in float32, as the kernels sum.
Tensors gradients_by_operations(const AttentionSizes& s, const Operands& in, const Tensor& dy, const Needs& needs) {
  if (!is_short(dy.dtype())) return attention_gradients(s, in.q, in.k, in.v, in.mask, dy, needs);
  Tensors all =
      attention_gradients(s, widened(in.q), widened(in.k), widened(in.v), widened(in.mask), widened(dy), needs);
  for (Tensor& x : all)
    if (x.defined()) x = to(x, dy.dtype());
  return all;
}

struct AttentionNode final : Node {
  AttentionSizes sizes;
  Saved q{this}, k{this}, v{this}, mask{this}, y{this}, lse{this};
  explicit AttentionNode(const AttentionSizes& sizes) : sizes(sizes) {}
  const char* name() const override { return kName; }

  Tensors backward(const Tensors& grads, const Needs& needs) override {
    const Operands in{q.get(), k.get(), v.get(), mask.get()};
    if (grad_enabled()) return gradients_by_operations(sizes, in, grads[0], needs);
    const auto wanted = [&](int i, const Tensor& x) { return needs[i] ? rows_like(x, x.shape()) : Tensor(); };
    const Operands out{wanted(0, in.q), wanted(1, in.k), wanted(2, in.v), {}};
    const Tensor dmask = run_backward(sizes, in, y.get(), lse.get(), grads[0], out, needs[3]);
    return {out.q, out.k, out.v, dmask};
  }
};

// All of four dimensions, leading ones equal but for the heads of k and v; the mask may have to be broadcast.
Tensor attend(const AttentionSizes& s, const Operands& given) {
  const Operands in{features_together(given.q), features_together(given.k), features_together(given.v), given.mask};
  const Tensor y = rows_like(in.q, {s.batch, s.heads, s.queries, s.value_features});
  const bool recorded = records({&in.q, &in.k, &in.v, &in.mask});
  const Tensor lse = recorded ? empty({s.batch, s.heads, s.queries}, accumulator(y.dtype()), y.device()) : Tensor();
  run_forward(s, in, y, lse);
  if (auto* node = record<AttentionNode>(y, {&in.q, &in.k, &in.v, &in.mask}, s)) {
    node->q.save(in.q), node->k.save(in.k), node->v.save(in.v), node->mask.save(in.mask);
    node->y.save_output(y);
    node->lse.save(lse);
  }
  return y;
}

// One of q, k and v, (batch, heads, rows, features), in a packed tensor (batch, rows, 3, heads, features).
Tensor part_of(const Tensor& packed, Index i) {
  const Shape& shape = packed.shape();
  const Shape& strides = packed.strides();
  return alias(packed, {shape[0], shape[3], shape[1], shape[4]}, {strides[0], strides[3], strides[1], strides[4]},
               packed.offset() + i * strides[2]);
}
Operands unpacked(const Tensor& packed, const Tensor& mask) {
  return {part_of(packed, 0), part_of(packed, 1), part_of(packed, 2), mask};
}

struct PackedNode final : Node {
  AttentionSizes sizes;
  Saved packed{this}, mask{this}, y{this}, lse{this};
  explicit PackedNode(const AttentionSizes& sizes) : sizes(sizes) {}
  const char* name() const override { return "packed_attention"; }

  Tensors backward(const Tensors& grads, const Needs& needs) override {
    const Tensor input = packed.get(), added = mask.get();
    if (grad_enabled()) {
      const auto part = [&](Index i) { return transpose(select(input, 2, i), 1, 2); };
      const Tensors all = gradients_by_operations(sizes, {part(0), part(1), part(2), added}, grads[0],
                                                  {needs[0], needs[0], needs[0], needs[1]});
      return {needs[0] ? permute(stack({all[0], all[1], all[2]}, 0), {1, 3, 0, 2, 4}) : Tensor(), all[3]};
    }
    const Tensor dinput = needs[0] ? empty_like(input) : Tensor();
    const Operands out = needs[0] ? unpacked(dinput, Tensor()) : Operands();
    const Tensor dmask = run_backward(sizes, unpacked(input, added), y.get(), lse.get(), grads[0], out, needs[1]);
    return {dinput, dmask};
  }
};

Tensor attend_packed(const AttentionSizes& s, const Tensor& given, const Tensor& mask) {
  const Tensor packed = given.size(4) <= 1 || given.strides()[4] == 1 ? given : contiguous(given);
  const Operands in = unpacked(packed, mask);
  const Tensor y = rows_like(in.q, {s.batch, s.heads, s.queries, s.features});
  const Tensor lse =
      records({&packed, &mask}) ? empty({s.batch, s.heads, s.queries}, accumulator(y.dtype()), y.device()) : Tensor();
  run_forward(s, in, y, lse);
  if (auto* node = record<PackedNode>(y, {&packed, &mask}, s)) {
    node->packed.save(packed), node->mask.save(mask);
    node->y.save_output(y);
    node->lse.save(lse);
  }
  return y;
}

Shape leading(const Tensor& x, int kept = 2) { return Shape(x.shape().begin(), x.shape().end() - kept); }
Shape with(Shape shape, std::initializer_list<Index> last) {
  for (Index size : last) shape.push_back(size);
  return shape;
}

void check_operands(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionOptions& options) {
  check_device(kName, {&q, &k, &v});
  const int least = options.enable_gqa ? 3 : 2;
  for (const auto& [name, x] : {std::pair("query", &q), std::pair("key", &k), std::pair("value", &v)}) {
    check(x->ndim() >= least, kName, ": ", name, " must have at least ", least, " dimensions, got shape ", x->shape());
    check(x->dtype() == q.dtype(), kName, ": ", name, " must have the dtype of query, ", q.dtype(), ", got ",
          x->dtype());
  }
  check(is_floating(q.dtype()), kName, ": query must have a floating dtype, got ", q.dtype());
  check(k.size(k.ndim() - 1) == q.size(q.ndim() - 1), kName, ": key must have as many features as query, got shapes ",
        k.shape(), " and ", q.shape());
  check(v.size(v.ndim() - 2) == k.size(k.ndim() - 2), kName, ": value must have as many rows as key, got shapes ",
        v.shape(), " and ", k.shape());
  check(options.dropout >= 0 && options.dropout <= 1, kName, ": dropout_p must be a probability from 0 to 1, got ",
        options.dropout);
}

// The leading dimensions of all, broadcast.
Shape common_leading(const Tensor& q, const Tensor& k, const Tensor& v, bool enable_gqa) {
  const int kept = enable_gqa ? 3 : 2;
  Shape shape = leading(q, kept);
  for (const Tensor* x : {&k, &v}) {
    const Shape other = leading(*x, kept);
    Shape wide = shape.size() < other.size() ? other : shape;
    for (int d = 1; d <= std::min(shape.size(), other.size()); ++d) {
      const Index a = shape[shape.size() - d], b = other[other.size() - d];
      check(a == b || a == 1 || b == 1, kName,
            ": query, key and value must have the same batch and heads (or heads in ",
            "groups, with enable_gqa=True), got shapes ", q.shape(), ", ", k.shape(), " and ", v.shape());
      wide[wide.size() - d] = a == 1 ? b : a;
    }
    shape = wide;
  }
  return shape;
}

Tensor expanded(const Tensor& x, const Shape& shape) { return x.shape() == shape ? x : expand(x, shape); }
Tensor four_dimensional(const Tensor& x) {
  if (x.ndim() == 4) return x;
  if (x.ndim() == 3) return unsqueeze(x, 0);
  if (x.ndim() == 2) return unsqueeze(unsqueeze(x, 0), 0);
  Index batch = 1;
  for (int d = 0; d < x.ndim() - 3; ++d) batch *= x.size(d);
  return reshape(x, {batch, x.size(x.ndim() - 3), x.size(x.ndim() - 2), x.size(x.ndim() - 1)});
}

// The mask with four dimensions, those of 1 to be broadcast.
Tensor mask_with_heads(const Tensor& mask, const Shape& shape, DType dtype) {
  check(mask.dtype() == DType::bool_ || mask.dtype() == dtype || mask.dtype() == DType::float32, kName,
        ": attn_mask must be boolean, float32 or of query's dtype, ", dtype, ", got ", mask.dtype());
  bool fits = mask.ndim() <= shape.size();
  for (int d = 1; fits && d <= mask.ndim(); ++d) {
    const Index size = mask.size(mask.ndim() - d);
    fits = size == 1 || size == shape[shape.size() - d];
  }
  check(fits, kName, ": attn_mask must broadcast to ", shape, ", got shape ", mask.shape());
  const Tensor values = mask.dtype() == DType::bool_ ? mask : to(mask, dtype);
  if (shape.size() > 4) return four_dimensional(expanded(values, shape));
  Shape ones = Shape::filled(4 - mask.ndim(), 1);
  for (const Index size : mask.shape()) ones.push_back(size);
  return reshape(values, ones);
}

void set_options(AttentionSizes& s, const AttentionOptions& options) {
  s.scale = options.scale.value_or(s.features > 0 ? 1 / std::sqrt(static_cast<double>(s.features)) : 1.0);
  s.offset = options.offset, s.window = options.window, s.is_causal = options.is_causal, s.dropout = options.dropout;
}

}  // namespace

Tensor attention(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& mask, const AttentionOptions& options,
                 Generator& generator) {
  if (mode_is_active()) [[unlikely]]
    return through_door({kName, {q, k, v, mask}, [=, &generator](const Tensors& t) {
                           return attention(t[0], t[1], t[2], t[3], options, generator);
                         }});
  check_device(kName, {&q, &mask});
  check_operands(q, k, v, options);
  const bool grouped = options.enable_gqa;
  const Shape common = common_leading(q, k, v, grouped);
  const auto heads_of = [&](const Tensor& x) { return x.size(x.ndim() - 3); };
  check(!grouped || (heads_of(k) == heads_of(v) && heads_of(k) > 0 && heads_of(q) % heads_of(k) == 0), kName,
        ": key and value must have the same number of heads, which divides that of query, got shapes ", q.shape(), ", ",
        k.shape(), " and ", v.shape());
  const auto laid_out = [&](const Tensor& x) {
    const Shape lead = grouped ? with(common, {heads_of(x)}) : common;
    return four_dimensional(expanded(x, with(lead, {x.size(x.ndim() - 2), x.size(x.ndim() - 1)})));
  };
  const Tensor q4 = laid_out(q), k4 = laid_out(k), v4 = laid_out(v);
  const Shape lead = grouped ? with(common, {heads_of(q)}) : common;
  AttentionSizes s{q4.size(0), q4.size(1), k4.size(1), q4.size(2), k4.size(2), q4.size(3), v4.size(3)};
  set_options(s, options);
  if (!fits(s, q4, k4, v4, mask))
    return to(attention(widened(q), widened(k), widened(v), widened(mask), options, generator), q.dtype());
  const Tensor mask4 = mask.defined() ? mask_with_heads(mask, with(lead, {s.queries, s.keys}), q.dtype()) : mask;
  if (s.dropout > 0) s.bits = generator.next(q.device());
  const Tensor y = attend(s, {q4, k4, v4, mask4});
  return y.ndim() == lead.size() + 2 ? y : reshape(y, with(lead, {s.queries, s.value_features}));
}

Tensor packed_attention(const Tensor& packed, const Tensor& mask, const AttentionOptions& options,
                        Generator& generator) {
  if (mode_is_active()) [[unlikely]]
    return through_door({"packed_attention", {packed, mask}, [=, &generator](const Tensors& t) {
                           return packed_attention(t[0], t[1], options, generator);
                         }});
  check(packed.ndim() == 5 && packed.size(2) == 3, "packed_attention: qkv must be (N, T, 3, H, D), got shape ",
        packed.shape());
  check(!options.enable_gqa, "packed_attention: heads must not come in groups");
  check_device("packed_attention", {&packed, &mask});
  const Tensor q = select(detach(packed), 2, 0);
  check_operands(q, q, q, options);
  const Index batch = packed.size(0), rows = packed.size(1), heads = packed.size(3), features = packed.size(4);
  AttentionSizes s{batch, heads, heads, rows, rows, features, features};
  set_options(s, options);
  const auto part = [&](Index i) { return transpose(select(detach(packed), 2, i), 1, 2); };
  if (!fits(s, part(0), part(1), part(2), mask))
    return to(packed_attention(widened(packed), widened(mask), options, generator), packed.dtype());
  const Tensor mask4 = mask.defined() ? mask_with_heads(mask, {batch, heads, rows, rows}, packed.dtype()) : mask;
  if (s.dropout > 0) s.bits = generator.next(q.device());
  return attend_packed(s, packed, mask4);
}

}  // namespace dd2424::ops
