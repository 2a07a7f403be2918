#pragma once
#include "cuda/conv_correlation.h"

// Convolutions whose groups are too thin for a tile of a product: a thread makes elements by the definition.
namespace dd2424::cuda {

constexpr Index kThin = 4;  // channels of a group
inline bool prefers_direct(const ConvSizes& s) {
  return s.groups > 1 && s.inputs / s.groups <= kThin && s.outputs / s.groups <= kThin;
}
template <class T>
Status correlate_direct(const Context& context, const Correlation<T>& c);

constexpr Index kMostClasses = 64;  // of pixels of dx, each a product of its own; with more of them, a thread a pixel
template <class T>
Status input_by_pixels(const Context& context, const ConvInput<T>& a);

template <class T>
Status weight_direct(const Context& context, const ConvWeight<T>& a);
template <class T>
std::size_t weight_direct_workspace(const ConvSizes& s);

}  // namespace dd2424::cuda
