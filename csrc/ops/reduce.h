#pragma once
#include "core/reduce.h"
#include "ops/common.h"

namespace dd2424::ops {

// `dims` empty: over all. Results drop the reduced dimensions unless `keepdim`.
Tensor sum(const Tensor& x, const Shape& dims = {}, bool keepdim = false);   // integers and booleans: in int64
Tensor mean(const Tensor& x, const Shape& dims = {}, bool keepdim = false);  // floating
Tensor prod(const Tensor& x, const Shape& dims = {}, bool keepdim = false);
Tensor sum_squares(const Tensor& x, const Shape& dims = {}, bool keepdim = false);  // floating
Tensor amax(const Tensor& x, const Shape& dims = {}, bool keepdim = false);
Tensor amin(const Tensor& x, const Shape& dims = {}, bool keepdim = false);
Tensor any(const Tensor& x, const Shape& dims = {}, bool keepdim = false);
Tensor all(const Tensor& x, const Shape& dims = {}, bool keepdim = false);
Tensor variance(const Tensor& x, const Shape& dims, double correction, bool keepdim);
Tensor standard_deviation(const Tensor& x, const Shape& dims, double correction, bool keepdim);
Tensor arg_reduce(ArgOp op, const Tensor& x, const Index* dim, bool keepdim);  // null: over all
std::pair<Tensor, Tensor> max_with_index(ArgOp op, const Tensor& x, Index dim, bool keepdim);
Tensor cumsum(const Tensor& x, Index dim);
Tensor cumprod(const Tensor& x, Index dim);

}  // namespace dd2424::ops
