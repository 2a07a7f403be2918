#pragma once
#include "core/activation.h"
#include "core/isa.h"
#include "core/ladder.h"
#include "core/types.h"

namespace dd2424 {

// For every item of the batch: c = epilogue(alpha * a b + beta * c + bias). Any strides, so any transposition; no
// operand overlaps c. Batch dimensions broadcast by stride 0. As in BLAS, c is not read where beta is 0, nor a and b
// where alpha is 0 or k is 0: a NaN there stays unseen. Bits follow from m, n, k, whether each operand's rows or
// columns lie closer together, and the ISA level: never from other strides or the batch.
// (With TF32 they do: boxes of memory are summed in another order than what is gathered.)
template <class T>
struct Gemm {
  using Acc = Accumulator<T>;
  const T* a;                 // (m, k), element (i, p) at a + i * a_row + p * a_column
  const T* b;                 // (k, n)
  T* c;                       // (m, n)
  const Acc* bias = nullptr;  // (n), or null
  Index m, n, k;
  Index a_row, a_column, b_row, b_column, c_row, c_column;
  Strided<3> batch{.ndim = 0};  // c, a, b; ndim 0 for a single product
  double alpha = 1, beta = 0;
  Activation epilogue = Activation::none;
  bool allows_tf32 = false;  // of float: a GPU may round what it multiplies to 10 bits of mantissa
};

// float, double, bfloat16 and float16 (products and sums in float, one rounding at the end).
template <class T>
struct GemmKernels {
  Status (*gemm)(const Context&, const Gemm<T>&);
  std::size_t (*gemm_workspace)(const Gemm<T>&);  // bytes; reads sizes and strides only
};
template <>
inline constexpr bool has_bf16_level<GemmKernels<bfloat16>> = true;
template <>
inline constexpr bool has_ladder<GemmKernels<float>> = true;
template <>
inline constexpr bool has_ladder<GemmKernels<double>> = true;

}  // namespace dd2424
