#pragma once
#include "autograd/node.h"

namespace dd2424 {

// What the tape needs of the operations, which stand above it: ops/tape.cpp fills it in.
struct Arithmetic {
  Tensor (*add)(const Tensor&, const Tensor&);
  void (*add_into)(const Tensor& sum, const Tensor&);
  Tensor (*clone)(const Tensor&);
  Tensor (*cast)(const Tensor&, DType);
  Tensor (*ones_like)(const Tensor&);
  Ref<Node> (*view_node)(const Tensor& base, const Tensor& view);  // the node of view as a view of base
};
extern const Arithmetic arithmetic;

}  // namespace dd2424
