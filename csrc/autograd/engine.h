#pragma once
#include "autograd/node.h"

namespace dd2424 {

constexpr int kMaxNestedWalks = 64;  // backward inside backward: checkpointing, create_graph in a Function

int walks_under_way();  // of this thread, one inside another

struct WalkOptions {
  bool retain_graph = false;  // keep what the nodes have saved, for another walk
  bool create_graph = false;  // record the backward itself
};

// Adds the gradient of sum(roots * grads) to every leaf that the roots depend on; with `inputs`, to these alone.
// An undefined gradient stands for 1 and needs a root of one element.
void run_backward(const Tensors& roots, const Tensors& grads, const Tensors& inputs, WalkOptions options);

// The gradients themselves, by input; undefined where a root does not depend on it.
Tensors run_grad(const Tensors& roots, const Tensors& grads, const Tensors& inputs, WalkOptions options);

}  // namespace dd2424
