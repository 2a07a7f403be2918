#pragma once
#include "core/index.h"
#include "ops/common.h"

namespace dd2424::ops {

Tensor index_select(const Tensor& x, Index dim, const Tensor& index);
Tensor& index_add_(const Tensor& self, Index dim, const Tensor& index, const Tensor& source, double alpha);
Tensor index_add(const Tensor& x, Index dim, const Tensor& index, const Tensor& source, double alpha);
Tensor embedding(const Tensor& index, const Tensor& weight);

Tensor gather(const Tensor& x, Index dim, const Tensor& index);
Tensor scatter(const Tensor& x, Index dim, const Tensor& index,
               const Tensor& source);  // the last of equal indices stays
Tensor scatter_add(const Tensor& x, Index dim, const Tensor& index, const Tensor& source);

// Advanced indexing: by dimension an int64 tensor, a boolean mask (over as many dimensions as it has), or undefined for
// all of it. The result's index dimensions stand where the indices stood if these are neighbours, else first.
Tensor index(const Tensor& x, const Tensors& indices);
void index_put_(Tensor& self, const Tensors& indices, const Tensor& values, bool accumulate);
Tensor nonzero(const Tensor& x);  // (count, ndim), int64

// (x[index] - mean) * rstd from bytes: x (N, *), index (B), mean and rstd of x's row shape, or of its first dimension.
Tensor gather_normalize(const Tensor& x, const Tensor& index, const Tensor& mean, const Tensor& rstd);

void check_index_range(const char* op, const Tensor& index, Index size);  // -size <= index < size
Tensor non_negative(const char* op, const Tensor& index, Index size);  // checked, int64, contiguous, 0 <= index < size
// As PyTorch takes it where an operation is called by name: no negative ones. Error is IndexError or RuntimeError.
template <class Error>
Tensor plain_index(const char* op, const Tensor& index, Index size);

}  // namespace dd2424::ops
