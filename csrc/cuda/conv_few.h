#pragma once
#include "cuda/conv_correlation.h"

// Correlations with so few outputs (the gradient by an image's three colours, a network's last layer) that a tile of a
// product would stand almost empty.
namespace dd2424::cuda {

constexpr Index kFew = 4;
template <class T>
bool has_few_outputs(const Correlation<T>& c);
template <class T>
Status correlate_few(const Context& context, const Correlation<T>& c);

}  // namespace dd2424::cuda
