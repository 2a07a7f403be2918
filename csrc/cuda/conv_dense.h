#pragma once
#include "cuda/conv_arrange.h"

// Convolutions by operands of whole units of channels (conv_units.h), of all types but double: what lies otherwise is
// laid out so in the workspace first, where there is work enough to pay for it.
namespace dd2424::cuda {

enum class Pass : std::uint8_t { forward, input, weight };

template <class T>
bool prefers_dense(Pass pass, const ConvSizes& s);
template <class T>
std::size_t dense_workspace(Pass pass, const ConvSizes& s);

template <class T>
Status forward_dense(const Context& context, const ConvForward<T>& a);
template <class T>
Status input_dense(const Context& context, const ConvInput<T>& a);
template <class T>
Status weight_dense(const Context& context, const ConvWeight<T>& a);

}  // namespace dd2424::cuda
