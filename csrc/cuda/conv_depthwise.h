#pragma once
#include "cuda/conv_arrange.h"

// Convolutions of each channel by itself, channels side by side: a thread has a unit of channels. The filters are laid
// out alike in the workspace.
namespace dd2424::cuda {

template <class T>
bool is_depthwise(const ConvSizes& s, std::initializer_list<const void*> images = {});
template <class T>
std::size_t depthwise_workspace(const ConvSizes& s);
template <class T>
std::size_t depthwise_weight_workspace(const ConvSizes& s);

template <class T>
Status arrange_depthwise(const Context& context, const ConvSizes& s, const T* weight);
template <class T>
Status correlate_depthwise(const Context& context, const Correlation<T>& c);  // with filters so arranged
template <class T>
Status weight_depthwise(const Context& context, const ConvWeight<T>& a);

}  // namespace dd2424::cuda
