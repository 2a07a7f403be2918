#pragma once
#include "ops/common.h"

namespace dd2424::ops {

// Views: they share x's memory.
Tensor view(const Tensor& x, const Shape& shape);  // one size may be -1; refuses what would need a copy
Tensor permute(const Tensor& x, const Shape& dims);
Tensor transpose(const Tensor& x, Index dim0, Index dim1);
Tensor squeeze(const Tensor& x);
Tensor squeeze(const Tensor& x, const Shape& dims);
Tensor unsqueeze(const Tensor& x, Index dim);
Tensor expand(const Tensor& x, const Shape& shape);  // -1 keeps a size
Tensor select(const Tensor& x, Index dim, Index index);
Tensor slice(const Tensor& x, Index dim, Index start, Index stop, Index step);  // within bounds, step >= 1
Tensor narrow(const Tensor& x, Index dim, Index start, Index length);
Tensor diagonal(const Tensor& x, Index offset, Index dim0, Index dim1);
Tensor as_strided(const Tensor& x, const Shape& shape, const Shape& strides, Index offset);
Tensor unfold(const Tensor& x, Index dim, Index size, Index step);
Tensors unbind(const Tensor& x, Index dim);
Tensors split(const Tensor& x, const std::vector<Index>& sizes, Index dim);
Ref<Node> view_node(const Tensor& base, const Tensor& view);

// Gives self the geometry that `view` makes of it, and a place on the tape behind its own: squeeze_ and its like.
void become_view(const char* op, const Tensor& self, const std::function<Tensor(const Tensor&)>& view);

Tensor reshape(const Tensor& x, const Shape& shape);  // a view where it can be
Tensor flatten(const Tensor& x, Index start_dim, Index end_dim);
Tensor flip(const Tensor& x, const Shape& dims);
Tensor cat(const Tensors& tensors, Index dim);
Tensor stack(const Tensors& tensors, Index dim);

}  // namespace dd2424::ops
