#pragma once
#include "core/index.h"
#include "ops/common.h"

namespace dd2424::ops {

Tensor index_select(const Tensor& x, Index dim, const Tensor& index);
Tensor& index_add_(const Tensor& self, Index dim, const Tensor& index, const Tensor& source, double alpha);
Tensor index_add(const Tensor& x, Index dim, const Tensor& index, const Tensor& source, double alpha);

// The rows of weight at these indices. Row `padding` (-1: none) gets no gradient; with `by_frequency` a row's gradient
// is divided by how often it is used.
Tensor embedding(const Tensor& index, const Tensor& weight, Index padding, bool by_frequency);
// y[index[j]] = sum over j of factor[j] * x[source[j]], in the order of j. Shapes: x (*, D), y (rows, D), the others
// (n); without a factor it is 1, without a source row j is taken.
Tensor row_sums(const Tensor& x, const Tensor& source, const Tensor& index, const Tensor& factor, Index rows);
// y[index[j]] = the largest of the rows x[source[j]], column by column; 0 where no row goes.
Tensor largest_rows(const Tensor& x, const Tensor& source, const Tensor& index, Index rows);
// x with src joined to it where the index says, in row-major order; unknown to the tape.
Tensor scatter_join(ScatterOp op, const Tensor& x, Index dim, const Tensor& index, const Tensor& source);

Tensor gather(const Tensor& x, Index dim, const Tensor& index);
Tensor gather_gradient(const Shape& shape, int dim, const Tensor& index, const Tensor& dy);  // of x, of that shape
Tensor scatter(const Tensor& x, Index dim, const Tensor& index,
               const Tensor& source);  // the last of equal indices stays
Tensor scatter_add(const Tensor& x, Index dim, const Tensor& index, const Tensor& source);

// Advanced indexing: by dimension an int64 tensor, a boolean mask (over as many dimensions as it has), or undefined for
// all of it. The result's index dimensions stand where the indices stood if these are neighbours, else first.
Tensor index(const Tensor& x, const Tensors& indices);
void index_put_(Tensor& self, const Tensors& indices, const Tensor& values, bool accumulate);
Tensor nonzero(const Tensor& x);  // (count, ndim), int64
// What lies under the true elements of a mask over the first dimensions of x: without a tape there need be no indices.
Tensor select_true(const Tensor& x, const Tensor& mask);

// (x[index] - mean) * rstd from bytes: x (N, *), index (B), mean and rstd of x's row shape, or of its first dimension.
Tensor gather_normalize(const Tensor& x, const Tensor& index, const Tensor& mean, const Tensor& rstd);

Tensor non_negative(const char* op, const Tensor& index, Index size);  // checked, int64, contiguous, 0 <= index < size
// As PyTorch takes it where an operation is called by name: no negative ones. Error is IndexError or RuntimeError.
template <class Error>
Tensor plain_index(const char* op, const Tensor& index, Index size, const char* argument = "index");
// Fills y with rows of a.x (a.outer, a.size, a.inner), and returns the indices as the kernel takes them. A GPU checks
// them on its way.
Tensor select_into(const char* op, const Tensor& y, const Tensor& index, const char* argument, IndexSelect a);

}  // namespace dd2424::ops
