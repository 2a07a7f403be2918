#pragma once
#include "ops/common.h"

namespace dd2424::ops {

// Makes y, which shares x's memory, known as a view of x.
template <class N, class... Args>
Tensor as_view(const Tensor& x, Tensor y, Args&&... args) {
  y->base = x->base ? x->base : Ref<TensorImpl>(x.impl());
  y->is_no_grad_view = !grad_enabled() || x->is_no_grad_view;
  y->node_version = y->storage->version.load(std::memory_order_relaxed);
  record<N>(y, {&x}, std::forward<Args>(args)...);
  return y;
}

}  // namespace dd2424::ops
