#pragma once
#include "core/gemm.h"

#include "cuda/elementwise_functions.h"
#include "cuda/value.h"

namespace dd2424::cuda {

template <class C>
__device__ C activated(Activation activation, C y) {
  switch (activation) {
    case Activation::none: return y;
    case Activation::relu: return apply(UnaryOp::relu, y, C(0), C(0));
    case Activation::gelu: return apply(UnaryOp::gelu, y, C(0), C(0));
    case Activation::tanh: return apply(UnaryOp::tanh, y, C(0), C(0));
    case Activation::sigmoid: return apply(UnaryOp::sigmoid, y, C(0), C(0));
    case Activation::gelu_tanh: return apply(UnaryOp::gelu_tanh, y, C(0), C(0));
    default: return apply(UnaryOp::silu, y, C(0), C(0));
  }
}

// What becomes of a sum of products in this column of c, where `old` lies.
template <class T>
__device__ T gemm_result(const Gemm<T>& g, const T& old, Index column, Computed<T> sum) {
  using C = Computed<T>;
  C y = sum * static_cast<C>(g.alpha);
  if (g.beta != 0) y = fma(static_cast<C>(g.beta), value(old), y);
  if (g.bias) y += g.bias[column];
  return element<T>(activated(g.epilogue, y));
}

}  // namespace dd2424::cuda
