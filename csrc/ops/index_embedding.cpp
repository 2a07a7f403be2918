#include "ops/copy.h"
#include "ops/elementwise.h"
#include "ops/index.h"
#include "ops/reduce.h"
#include "ops/shape.h"

// Look-ups in tables of rows, and sums of rows: each is the other's gradient.
namespace dd2424::ops {
namespace {

Tensor row_sums_of(const Tensor& x, const Tensor& source, const Tensor& index, const Tensor& factor, Index rows);

Tensor picked(const Tensor& x, const Tensor& source) { return source.defined() ? index_select(x, 0, source) : x; }

struct RowSumsNode final : Node {
  Saved x{this}, source{this}, index{this}, factor{this};
  Index rows;  // of x
  explicit RowSumsNode(Index rows) : rows(rows) {}
  const char* name() const override { return "row_sums"; }
  Tensors backward(const Tensors& grads, const Needs& needs) override {
    const Tensor dy = grads[0], to_rows = source.get(), f = factor.get();
    Tensor dx, dfactor;
    if (needs[0] && to_rows.defined()) {
      dx = row_sums(dy, index.get(), to_rows, f, rows);
    } else if (needs[0]) {
      dx = picked(dy, index.get());
      if (f.defined()) dx = mul(dx, unsqueeze(to(f, dy.dtype()), 1));
    }
    if (needs[1]) dfactor = sum(mul(picked(x.get(), to_rows), picked(dy, index.get())), {1});
    return {dx, dfactor};
  }
};

struct LargestRowsNode final : Node {
  Saved from{this};  // -1 where no row went
  Shape shape;
  explicit LargestRowsNode(const Shape& shape) : shape(shape) {}
  const char* name() const override { return "largest_rows"; }
  Tensors backward(const Tensors& grads, const Needs&) override {
    const Tensor places = from.get(), reached = compare(CompareOp::ge, places, Scalar(0));
    const Tensor dy = where(reached, Operand(grads[0]), Operand(0.0));
    if (product(shape) == 0) return {zeros(shape, dy.dtype(), dy.device())};
    return {scatter_add(zeros(shape, dy.dtype(), dy.device()), 0, mul(places, reached), dy)};
  }
};

struct EmbeddingNode final : Node {
  Saved index{this}, factor{this};
  Index rows;
  explicit EmbeddingNode(Index rows) : rows(rows) {}
  const char* name() const override { return "embedding"; }
  Tensors backward(const Tensors& grads, const Needs&) override {
    const Tensor& dy = grads[0];
    const Tensor places = index.get();
    const Index width = dy.size(dy.ndim() - 1);
    return {row_sums_of(reshape(dy, {places.numel(), width}), Tensor(), reshape(places, {places.numel()}), factor.get(),
                        rows)};
  }
};

// What a place's gradient counts for: nothing at the padding, else 1 or one over how often its row is used.
Tensor gradient_factors(const Tensor& places, Index rows, Index padding, bool by_frequency, DType dtype) {
  const GradMode off(false);
  const Tensor at = reshape(places, {places.numel()});
  Tensor factor = full(at.shape(), Scalar(1.0), accumulator(dtype), at.device());
  if (by_frequency) {
    const Tensor counts = zeros({rows}, DType::int64, at.device()),
                 once = full(at.shape(), Scalar(Index{1}), DType::int64, at.device());
    factor = div(factor, to(gather(scatter_add(counts, 0, at, once), 0, at), factor.dtype()));
  }
  return padding < 0 ? factor : mul(factor, compare(CompareOp::ne, at, Scalar(padding)));
}

// Sources are checked, indices too or, where a GPU adds, taken for the first row if they are outside.
Tensor row_sums_of(const Tensor& x, const Tensor& sources, const Tensor& index, const Tensor& factor, Index rows) {
  const Index n = index.numel(), width = x.size(1);
  const Tensor from = contiguous(x),
               targets = x.device() == Device::cpu ? plain_index<IndexError>("row_sums", index, rows) : index;
  const Tensor y = zeros({rows, width}, x.dtype(), x.device());
  const Tensor f = factor.defined() ? contiguous(detach(to(factor, accumulator(x.dtype())))) : Tensor();
  if (n > 0 && y.numel() > 0) {
    dispatch_float("row_sums", x.dtype(), [&]<class T>(T) {
      const auto& table = kernels<IndexAddKernels<T>>(x.device());
      const IndexAdd<T> a{from.data<T>(),        targets.data<Index>(),   y.data<T>(), 1, rows, n, width, 1,
                          sources.data<Index>(), f.data<Accumulator<T>>()};
      run("row_sums", table.add, n * width, scratch_for(table.add_workspace, a, x.device()), a);
    });
  }
  if (auto* node = record<RowSumsNode>(y, {&x, &factor}, x.size(0))) {
    if (node->edges[1]) node->x.save(x);
    node->index.save(targets);
    if (sources.defined()) node->source.save(sources);
    if (factor.defined()) node->factor.save(factor);
  }
  return y;
}

}  // namespace

Tensor row_sums(const Tensor& x, const Tensor& source, const Tensor& index, const Tensor& factor, Index rows) {
  check_device("row_sums", {&x, &source, &index, &factor});
  check(x.ndim() == 2 && index.ndim() == 1, "row_sums: x must have two dimensions and index one, got ", x.shape(),
        " and ", index.shape());
  const Index n = index.numel();
  check(source.defined() ? source.shape() == index.shape() : x.size(0) == n,
        "row_sums: every index must have a row, got ", x.shape(), " and ", index.shape());
  check(!factor.defined() || factor.shape() == index.shape(), "row_sums: factor must have shape ", index.shape());
  const bool on_cpu = x.device() == Device::cpu;  // then row_sums_of checks
  const Tensor targets = on_cpu ? index : plain_index<IndexError>("row_sums", index, rows);
  const Tensor sources =
      source.defined() ? plain_index<IndexError>("embedding_bag", source, x.size(0), "input") : Tensor();
  return row_sums_of(x, sources, targets, factor, rows);
}

Tensor largest_rows(const Tensor& x, const Tensor& source, const Tensor& index, Index rows) {
  check_device("largest_rows", {&x, &source, &index});
  check(x.ndim() == 2 && index.ndim() == 1 && source.shape() == index.shape(),
        "largest_rows: x must have two dimensions and source and index one, got ", x.shape(), ", ", source.shape(),
        " and ", index.shape());
  const Tensor targets = plain_index<IndexError>("largest_rows", index, rows), input = contiguous(x),
               sources = plain_index<IndexError>("largest_rows", source, x.size(0), "input");
  const Tensor y = zeros({rows, x.size(1)}, x.dtype(), x.device()),
               from = full(y.shape(), Scalar(-1), DType::int64, x.device());
  if (index.numel() > 0 && y.numel() > 0) {
    dispatch_float("largest_rows", x.dtype(), [&]<class T>(T) {
      const auto& table = kernels<IndexAddKernels<T>>(x.device());
      const RowExtreme<T> a{input.data<T>(),       sources.data<Index>(),
                            targets.data<Index>(), y.data<T>(),
                            from.data<Index>(),    rows,
                            index.numel(),         x.size(1)};
      run("largest_rows", table.largest_rows, index.numel() * x.size(1),
          scratch_for(table.largest_rows_workspace, a, x.device()), a);
    });
  }
  if (auto* node = record<LargestRowsNode>(y, {&x}, x.shape())) node->from.save(from);
  return y;
}

Tensor embedding(const Tensor& index, const Tensor& weight, Index padding, bool by_frequency) {
  check_device("embedding", {&index, &weight});
  check(weight.ndim() == 2, "embedding: weight must be (num_embeddings, embedding_dim), got ", weight.shape());
  check(index.dtype() == DType::int64 || index.dtype() == DType::int32, "embedding: input must be int64 or int32, got ",
        index.dtype());
  const Index rows = weight.size(0), width = weight.size(1);
  const Tensor table = contiguous(weight);
  Shape shape = index.shape();
  shape.push_back(width);
  const Tensor y = empty(shape, weight.dtype(), weight.device());
  const Tensor places =
      select_into("embedding", y, index, "input", {.x = table->data, .outer = 1, .size = rows, .inner = width});
  if (auto* node = record<EmbeddingNode>(y, {&weight}, rows)) {
    node->index.save(places);
    if (padding >= 0 || by_frequency)
      node->factor.save(gradient_factors(places, rows, padding, by_frequency, weight.dtype()));
  }
  return y;
}

}  // namespace dd2424::ops
