#include "ops/gemm.h"

#include <atomic>

#include "ops/activation.h"
#include "ops/copy.h"
#include "ops/elementwise.h"
#include "ops/reduce.h"
#include "ops/shape.h"

namespace dd2424::ops {
namespace {

std::atomic<bool> allows_tf32{false};

Tensor mT(const Tensor& x) { return transpose(x, -2, -1); }

template <class T>
Gemm<T> describe(const Tensor& a, const Tensor& b, const Tensor& c) {
  const int da = a.ndim(), db = b.ndim(), dc = c.ndim();
  Gemm<T> g{.a = a.data<T>(), .b = b.data<T>(), .c = c.data<T>()};
  g.allows_tf32 = allows_tf32.load(std::memory_order_relaxed);
  g.m = a.size(da - 2), g.k = a.size(da - 1), g.n = b.size(db - 1);
  g.a_row = a.strides()[da - 2], g.a_column = a.strides()[da - 1];
  g.b_row = b.strides()[db - 2], g.b_column = b.strides()[db - 1];
  g.c_row = c.strides()[dc - 2], g.c_column = c.strides()[dc - 1];
  if (dc == 2) return g;
  const auto batch = [](const Tensor& t) {  // the batch dimensions alone
    const Shape shape(t.shape().begin(), t.shape().end() - 2), strides(t.strides().begin(), t.strides().end() - 2);
    return alias(t, shape, strides, t.offset());
  };
  const Tensor ca = batch(a), cb = batch(b), cc = batch(c);
  g.batch = strided<3>(cc.shape(), {&cc, &ca, &cb});
  return g;
}

template <class T>
void run_gemm(const char* op, const Gemm<T>& g, const Tensor& c) {
  const auto& table = kernels<GemmKernels<T>>(c.device());
  run(op, table.gemm, c.numel() * (g.k / 8 + 1), {table.gemm_workspace(g), c.device()}, g);
}

void check_product(const char* op, const Tensor& a, const Tensor& b) {
  check_device(op, {&a, &b});
  check(a.dtype() == b.dtype(), op, ": operands must have the same dtype, got ", a.dtype(), " and ", b.dtype());
  check(a.size(a.ndim() - 1) == b.size(b.ndim() - 2), op, ": inner sizes must agree, got ", a.shape(), " and ",
        b.shape());
}

Tensor product(const Tensor& a, const Tensor& b);

struct ProductNode final : Node {
  Saved a{this}, b{this};
  Shape a_shape, b_shape;
  const char* name() const override { return "matmul"; }
  Tensors backward(const Tensors& grads, const Needs& needs) override {
    return {needs[0] ? sum_to(product(grads[0], mT(b.get())), a_shape) : Tensor(),
            needs[1] ? sum_to(product(mT(a.get()), grads[0]), b_shape) : Tensor()};
  }
};

// For integers there is no kernel: every product is formed, then summed.
Tensor integer_product(const Tensor& a, const Tensor& b) {
  const Tensor terms = mul(unsqueeze(a, -1), unsqueeze(b, -3));
  return to(sum(terms, {-2}), a.dtype());
}

// Both with at least two dimensions.
Tensor product(const Tensor& a, const Tensor& b) {
  check_product("matmul", a, b);
  if (!is_floating(a.dtype())) return integer_product(a, b);
  Shape shape;
  if (a.ndim() > 2 || b.ndim() > 2) {
    shape = broadcast_shapes("matmul", Shape(a.shape().begin(), a.shape().end() - 2),
                             Shape(b.shape().begin(), b.shape().end() - 2));
  }
  shape.push_back(a.size(a.ndim() - 2));
  shape.push_back(b.size(b.ndim() - 1));
  const Tensor c = empty(shape, a.dtype(), a.device());
  if (c.numel() > 0)
    dispatch_float("matmul", a.dtype(), [&]<class T>(T) { run_gemm("matmul", describe<T>(a, b, c), c); });
  if (auto* node = record<ProductNode>(c, {&a, &b})) {
    if (node->edges[1]) node->a.save(a);
    if (node->edges[0]) node->b.save(b);
    node->a_shape = a.shape();
    node->b_shape = b.shape();
  }
  return c;
}

}  // namespace

void set_matmul_tf32(bool allowed) { allows_tf32.store(allowed); }
bool matmul_tf32_allowed() { return allows_tf32.load(); }

void product_into(const Tensor& c, const Tensor& a, const Tensor& b, bool adds) {
  check_device("matmul", {&c, &a, &b});
  check_product("matmul", a, b);
  dispatch_float("matmul", a.dtype(), [&]<class T>(T) {
    Gemm<T> g = describe<T>(a, b, c);
    g.beta = adds ? 1 : 0;
    if (c.numel() > 0) run_gemm("matmul", g, c);
  });
}

Tensor matmul(const Tensor& a, const Tensor& b) {
  if (mode_is_active()) [[unlikely]]
    return through_door({"matmul", {a, b}, [](const Tensors& t) { return matmul(t[0], t[1]); }});
  check(a.ndim() > 0 && b.ndim() > 0, "matmul: operands must have at least one dimension, got ", a.shape(), " and ",
        b.shape());
  if (a.ndim() == 2 && b.ndim() == 2) return product(a, b);
  if (a.ndim() == 1 && b.ndim() == 1) {
    check(a.size(0) == b.size(0), "matmul: inner sizes must agree, got ", a.shape(), " and ", b.shape());
    return reshape(product(unsqueeze(a, 0), unsqueeze(b, 1)), {});
  }
  if (a.ndim() == 1) return squeeze(matmul(unsqueeze(a, 0), b), {-2});
  if (b.ndim() == 1) return squeeze(matmul(a, unsqueeze(b, 1)), {-1});
  if (b.ndim() == 2) {  // one product for the whole batch
    Shape shape = a.shape();
    shape[a.ndim() - 1] = b.size(1);
    check_product("matmul", a, b);
    const Index rows = dd2424::product(Shape(a.shape().begin(), a.shape().end() - 1));
    return reshape(product(reshape(a, {rows, a.size(a.ndim() - 1)}), b), shape);
  }
  return product(a, b);
}

namespace {

bool needs_its_input(Activation activation) {
  return activation != Activation::none && saves_input(as_unary(activation));
}

struct LinearNode final : Node {
  Saved x{this}, weight{this}, before{this}, y{this};  // `before` or y: what the activation's gradient is made from
  Activation activation;
  explicit LinearNode(Activation activation) : activation(activation) {}
  const char* name() const override { return "linear"; }
  Tensors backward(const Tensors& grads, const Needs& needs) override {
    Tensor dz = grads[0], dbias;
    if (activation != Activation::none) {
      const Tensor z = before.get(), output = y.get();
      if (needs[2] && !grad_enabled()) {
        const BiasGradients both = bias_gradients(activation, dz, z.defined() ? z : output);
        dz = both.dz, dbias = both.dbias;
      } else {
        dz = unary_gradient(as_unary(activation), dz, z, output, 0, 0);
      }
    }
    if (needs[2] && !dbias.defined()) dbias = sum(dz, {0});
    return {needs[0] ? product(dz, weight.get()) : Tensor(), needs[1] ? product(mT(dz), x.get()) : Tensor(), dbias};
  }
};

void check_linear(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  check_device("linear", {&x, &weight, &bias});
  check(weight.ndim() == 2, "linear: weight must be (out_features, in_features), got ", weight.shape());
  check(x.ndim() >= 1 && x.size(x.ndim() - 1) == weight.size(1), "linear: input must end in ", weight.size(1),
        " features, as weight ", weight.shape(), " has, got ", x.shape());
  check(x.dtype() == weight.dtype(), "linear: input and weight must have the same dtype, got ", x.dtype(), " and ",
        weight.dtype());
  if (!bias.defined()) return;
  check(bias.ndim() == 1 && bias.size(0) == weight.size(0), "linear: bias must be (", weight.size(0), ",), got ",
        bias.shape());
  check(bias.dtype() == x.dtype(), "linear: bias must have the input's dtype ", x.dtype(), ", got ", bias.dtype());
}

// epilogue(x weight^T + bias) of an x with two dimensions; not recorded.
Tensor multiply(const Tensor& x, const Tensor& weight, const Tensor& bias, Activation epilogue) {
  const Tensor y = empty({x.size(0), weight.size(0)}, x.dtype(), x.device());
  const Tensor transposed =
      alias(weight, {weight.size(1), weight.size(0)}, {weight.strides()[1], weight.strides()[0]}, weight.offset());
  const Tensor flat_bias = bias.defined() ? contiguous(detach(to(bias, accumulator(bias.dtype())))) : Tensor();
  dispatch_float("linear", x.dtype(), [&]<class T>(T) {
    Gemm<T> g = describe<T>(x, transposed, y);
    g.bias = flat_bias.data<Accumulator<T>>();
    g.epilogue = epilogue;
    if (y.numel() > 0) run_gemm("linear", g, y);
  });
  return y;
}

Tensor linear_rows(const Tensor& x, const Tensor& weight, const Tensor& bias, Activation activation) {
  const bool splits = needs_its_input(activation) && records({&x, &weight, &bias});
  Tensor before, y;
  if (splits) {
    before = linear_rows(x, weight, bias, Activation::none);  // recorded: what a second derivative follows
    const GradMode off(false);
    y = unary(as_unary(activation), before);
  } else {
    y = multiply(x, weight, bias, activation);
  }
  if (auto* node = record<LinearNode>(y, {&x, &weight, &bias}, activation)) {
    if (node->edges[1]) node->x.save(x);
    if (node->edges[0]) node->weight.save(weight);
    if (splits) node->before.save(before);
    else if (activation != Activation::none) node->y.save_output(y);
  }
  return y;
}

}  // namespace

Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias, Activation activation) {
  if (mode_is_active()) [[unlikely]]
    return through_door(
        {"linear", {x, weight, bias}, [=](const Tensors& t) { return linear(t[0], t[1], t[2], activation); }});
  check_linear(x, weight, bias);
  if (x.ndim() == 2) return linear_rows(x, weight, bias, activation);
  Shape shape = x.shape();
  shape[x.ndim() - 1] = weight.size(0);
  const Index rows = dd2424::product(Shape(x.shape().begin(), x.shape().end() - 1));
  return reshape(linear_rows(reshape(x, {rows, weight.size(1)}), weight, bias, activation), shape);
}

}  // namespace dd2424::ops
