#include "ops/copy.h"
#include "ops/elementwise.h"
#include "ops/shape.h"

namespace dd2424::ops {
namespace {

struct CatNode final : Node {
  int dim;
  std::vector<Index> sizes;
  std::vector<DType> dtypes;
  explicit CatNode(int dim) : dim(dim) {}
  const char* name() const override { return "cat"; }
  Tensors backward(const Tensors& grads, const Needs& needs) override {
    Tensors results;
    Index start = 0;
    for (std::size_t i = 0; i < sizes.size(); ++i) {
      results.push_back(needs[i] ? to(narrow(grads[0], dim, start, sizes[i]), dtypes[i]) : Tensor());
      start += sizes[i];
    }
    return results;
  }
};

bool is_legacy_empty(const Tensor& t) { return t.ndim() == 1 && t.size(0) == 0; }  // joins with any shape

}  // namespace

Tensor cat(const Tensors& tensors, Index dim) {
  check<ValueError>(!tensors.empty(), "cat: tensors must not be an empty list");
  const Tensor* first = &tensors[0];
  DType dtype = tensors[0].dtype();
  for (const Tensor& t : tensors) {
    if (is_legacy_empty(*first)) first = &t;
    dtype = promote(dtype, t.dtype());
    check_device("cat", {&tensors[0], &t});
  }
  check(first->ndim() > 0, "cat: tensors must have at least one dimension, got one without");
  if (is_legacy_empty(*first)) dim = 0;
  const int d = normalize_dim("cat", dim, first->ndim());
  Shape shape = first->shape();
  shape[d] = 0;
  for (const Tensor& t : tensors) {
    if (is_legacy_empty(t)) continue;
    Shape others = t.shape();
    if (others.size() == shape.size()) others[d] = shape[d];
    check(others == shape, "cat: tensors must have the same shape but in dimension ", d, ", got ", first->shape(),
          " and ", t.shape());
    shape[d] += t.size(d);
  }
  const Tensor y = empty(shape, dtype, first->device());
  Index start = 0;
  bool recorded = false;
  for (const Tensor& t : tensors) {
    recorded = recorded || records({&t});
    if (is_legacy_empty(t)) continue;
    Shape part = shape;
    part[d] = t.size(d);
    copy_into(alias(y, part, y.strides(), start * y.strides()[d]), t);
    start += t.size(d);
  }
  if (!recorded) return y;
  Edges edges;  // before the node, as record() does
  for (const Tensor& t : tensors)
    if (!is_legacy_empty(t)) edges.push_back(edge_to(t));
  auto node = make_ref<CatNode>(d);
  node->edges = std::move(edges);
  for (const Tensor& t : tensors) {
    if (is_legacy_empty(t)) continue;
    node->sizes.push_back(t.size(d));
    node->dtypes.push_back(t.dtype());
  }
  set_node(y, node);
  return y;
}

Tensor stack(const Tensors& tensors, Index dim) {
  check(!tensors.empty(), "stack: tensors must not be an empty list");
  const int d = normalize_dim("stack", dim, tensors[0].ndim() + 1);
  Tensors rows;
  for (const Tensor& t : tensors) {
    check(t.shape() == tensors[0].shape(), "stack: tensors must have equal shapes, got ", tensors[0].shape(), " and ",
          t.shape());
    rows.push_back(unsqueeze(t, d));
  }
  return cat(rows, d);
}

}  // namespace dd2424::ops
