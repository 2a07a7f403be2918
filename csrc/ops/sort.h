#pragma once
#include "core/sort.h"
#include "ops/common.h"

namespace dd2424::ops {

using ValuesAndIndices = std::pair<Tensor, Tensor>;

// Along a dimension, in a stable order in which NaN is the largest; the indices say where each element stood.
ValuesAndIndices sort(const Tensor& x, Index dim, bool descending);
ValuesAndIndices topk(const Tensor& x, Index k, Index dim, bool largest);  // best first
ValuesAndIndices kthvalue(const Tensor& x, Index k, Index dim, bool keepdim);
ValuesAndIndices median(const char* op, Rank rank, const Tensor& x, Index dim, bool keepdim);
ValuesAndIndices running_extreme(const char* op, bool largest, const Tensor& x, Index dim);
// How many elements of each sorted row are below (`right`: not above) each of x. Shapes: sorted (n), x (*); or (*, n)
// and (*, m).
Tensor searchsorted(const Tensor& sorted, const Tensor& x, bool right);

}  // namespace dd2424::ops
