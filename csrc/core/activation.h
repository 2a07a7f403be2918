#pragma once
#include "core/types.h"

namespace dd2424 {

enum class Activation : std::uint8_t { none, relu, gelu, tanh, sigmoid, gelu_tanh, silu };

// y = activation(a) * b, of rows that may lie apart, as the halves of a wider matrix do: sigmoid, silu and both gelu.
template <class T>
struct Gated {
  Activation activation;
  const T *a, *b;  // (rows, cols), row r at a + r * a_row
  T* y;            // (rows, cols), contiguous
  Index rows, cols, a_row, b_row;
};
template <class T>
struct GatedBackward {
  Activation activation;
  const T *a, *b;
  const T* dy;  // (rows, cols), contiguous
  T *da, *db;   // (rows, cols), row r at da + r * da_row
  Index rows, cols, a_row, b_row, da_row, db_row;
};

// What lies behind a bias and an activation, in one pass: dz = dy * activation'(z) and the sums of its rows.
template <class T>
struct BiasBackward {
  Activation activation;
  const T* dy;     // (rows, cols), contiguous, as are the next two
  const T* saved;  // y = activation(z) for relu, tanh and sigmoid, z for the others
  T* dz;           // may be dy
  T* dbias;        // (cols)
  Index rows, cols;
};

template <class T>
struct ActivationKernels {  // float, double, bfloat16, float16 (these compute in float)
  Status (*gated)(const Context&, const Gated<T>&);
  Status (*gated_backward)(const Context&, const GatedBackward<T>&);
  Status (*bias_backward)(const Context&, const BiasBackward<T>&);
  std::size_t (*bias_backward_workspace)(Index rows, Index cols);  // bytes
};

}  // namespace dd2424
