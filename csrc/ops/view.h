#pragma once
#include "ops/common.h"

namespace dd2424::ops {

// Makes y, which shares x's memory, known as a view of x; as_view also puts it on the tape, behind x.
inline Tensor known_as_view(const Tensor& x, Tensor y) {
  y->base = x->base ? x->base : Ref<TensorImpl>(x.impl());
  y->is_no_grad_view = !grad_enabled() || x->is_no_grad_view;
  y->node_version = y->storage->version.load(std::memory_order_relaxed);
  return y;
}
template <class N, class... Args>
Tensor as_view(const Tensor& x, Tensor y, Args&&... args) {
  const Tensor view = known_as_view(x, std::move(y));
  record<N>(view, {&x}, std::forward<Args>(args)...);
  return view;
}

}  // namespace dd2424::ops
