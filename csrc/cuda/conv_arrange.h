#pragma once
#include "cuda/conv_correlation.h"

// Images and filters laid out anew, in the workspace, for products that load whole units of channels (conv_units.h).
namespace dd2424::cuda {

template <class T>
Index whole_units(Index channels) {
  return ceil_div(channels, kChunk<T>) * kChunk<T>;
}

struct Images {
  Index batch, channels, pixels;
  bool is_last;  // channels side by side
};
// y: (batch, pixels, whole units of channels), those that x does not have 0.
template <class T>
Status to_units(const Context& context, const Images& images, const T* x, T* y);
// Back, to (batch, channels, pixels).
template <class T>
Status from_units(const Context& context, const Images& images, const T* x, T* y);

}  // namespace dd2424::cuda
