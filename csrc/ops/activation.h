#pragma once
#include "core/activation.h"
#include "ops/elementwise.h"

namespace dd2424::ops {

// activation(a) * b of two tensors of one shape.
Tensor gated(Activation activation, const Tensor& a, const Tensor& b);
// The same of the halves of dimension `dim` of x: a is the first one, or the second.
Tensor gated_halves(const char* op, Activation activation, const Tensor& x, Index dim, bool gate_is_first);

// The elementwise operation of this name; none has none.
UnaryOp as_unary(Activation activation);
// dz of y = activation(z), and the sum of its rows, in one kernel: dy (rows, cols), `saved` is y where
// saves_output(as_unary(activation)), z elsewhere. Not recorded.
struct BiasGradients {
  Tensor dz, dbias;
};
BiasGradients bias_gradients(Activation activation, const Tensor& dy, const Tensor& saved);

}  // namespace dd2424::ops
