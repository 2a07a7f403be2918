#pragma once
#include "core/gemm.h"

// The matrix products of gemm.cu, for other families' kernels.
namespace dd2424::cuda {

template <class T>
Status gemm(const Context& context, const Gemm<T>& g);
template <class T>
std::size_t gemm_workspace(const Gemm<T>& g);

}  // namespace dd2424::cuda
