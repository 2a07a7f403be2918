// The pool under several callers, and two training threads at once: built with ThreadSanitizer, and right in any build.
#include <atomic>
#include <cstdio>
#include <cstring>
#include <thread>
#include <vector>

#include "autograd/engine.h"
#include "core/isa.h"
#include "core/parallel.h"
#include "ops/copy.h"
#include "ops/elementwise.h"
#include "ops/loss.h"
#include "ops/gemm.h"
#include "ops/optim.h"
#include "ops/random.h"

namespace dd2424 {
namespace {

bool fail(const char* what) {
  std::fprintf(stderr, "threads: %s\n", what);
  return false;
}

// Every item is visited once, whoever calls and however many threads there are.
bool covers_every_item_once() {
  std::vector<std::thread> callers;
  std::atomic<bool> right{true};
  for (int caller = 0; caller < 3; ++caller) {
    callers.emplace_back([&right, caller] {
      for (Index n = 1; n < 200; n += 7) {
        std::vector<int> visits(static_cast<std::size_t>(n));
        parallel_for(n, 1 + caller, [&](Index begin, Index end) {
          for (Index i = begin; i < end; ++i) ++visits[static_cast<std::size_t>(i)];
        });
        for (int count : visits)
          if (count != 1) right = false;
      }
    });
  }
  for (int threads = 1; threads <= 3; ++threads) set_num_threads(threads);
  for (std::thread& caller : callers) caller.join();
  return right || fail("parallel_for must visit every item once");
}

// A few steps of a two-layer network; returns its first weights.
std::vector<float> train(std::uint64_t seed) {
  ops::Generator random(seed);
  const auto normal = [&](Shape shape) {
    return ops::random(shape, DType::float32, Distribution::normal, 0, 0.1, random);
  };
  Tensors parameters{normal({64, 300}), normal({64}), normal({10, 64}), normal({10})}, buffers;
  for (Tensor& p : parameters) p->requires_grad = true;
  buffers.resize(parameters.size());
  const Tensor x = normal({100, 300}), target = ops::randint(0, 10, {100}, DType::int64, random);
  for (int step = 0; step < 5; ++step) {
    const Tensor hidden = ops::linear(x, parameters[0], parameters[1], Activation::relu);
    const Tensor dropped = ops::dropout(hidden, 0.2, false, random);
    const Tensor scores = ops::linear(dropped, parameters[2], parameters[3]);
    run_backward({ops::cross_entropy(scores, target, Tensor(), -100, Reduction::mean, 0)}, {}, {}, {});
    Tensors grads;
    for (const Tensor& p : parameters) grads.push_back(std::exchange(leaf_of(p).grad, Tensor()));
    const GradMode off(false);
    ops::sgd_step(parameters, grads, buffers, {.value = 0.1}, {.momentum = 0.9});
  }
  const float* w = parameters[0].data<float>();
  return {w, w + parameters[0].numel()};
}

// Two threads that train at once get the bits that each gets alone.
bool trains_alike_beside_another() {
  set_num_threads(2);
  const std::vector<float> alone[2] = {train(1), train(2)};
  std::vector<float> together[2];
  std::thread first([&] { together[0] = train(1); }), second([&] { together[1] = train(2); });
  first.join();
  second.join();
  for (int i = 0; i < 2; ++i)
    if (std::memcmp(alone[i].data(), together[i].data(), alone[i].size() * sizeof(float)) != 0)
      return fail("a training thread must not notice another");
  return true;
}

}  // namespace
}  // namespace dd2424

int main() {
  dd2424::start_isa();
  const bool right = dd2424::covers_every_item_once() && dd2424::trains_alike_beside_another();
  if (right) std::puts("threads: all right");
  return right ? 0 : 1;
}
