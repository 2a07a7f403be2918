#include "ops/autocast.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "autograd/engine.h"
#include "ops/copy.h"

namespace dd2424::ops {
namespace {

enum class Policy { as_it_is, shortened, in_float32, widest };

// fmt: off
constexpr std::string_view kShortened[] = {"matmul",           "linear",           "conv1d",
                                           "conv2d",           "conv3d",           "conv_transpose1d",
                                           "conv_transpose2d", "conv_transpose3d", "scaled_dot_product_attention",
                                           "packed_attention"};
constexpr std::string_view kInFloat32[] = {"sum",           "mean",
                                           "exp",           "exp2",
                                           "expm1",         "log",
                                           "log2",          "log10",
                                           "log1p",         "pow",
                                           "reciprocal",    "rsqrt",
                                           "sinh",          "cosh",
                                           "tan",           "asin",
                                           "acos",          "erfinv",
                                           "softplus",      "softmax",
                                           "log_softmax",   "logsumexp",
                                           "cross_entropy", "layer_norm",
                                           "rms_norm",      "local_response_norm",
                                           "square"};
constexpr std::string_view kWidest[] = {"gated", "grid_sample"};
// fmt: on

Policy policy_of(std::string_view name) {
  const auto is_in = [name](const auto& names) { return std::find(std::begin(names), std::end(names), name); };
  if (is_in(kShortened) != std::end(kShortened)) return Policy::shortened;
  if (is_in(kInFloat32) != std::end(kInFloat32)) return Policy::in_float32;
  return is_in(kWidest) != std::end(kWidest) ? Policy::widest : Policy::as_it_is;
}

thread_local Autocast* innermost_of_all = nullptr;
thread_local bool is_decided = false;  // while an operation runs that one of them has handled

bool is_converted(const Tensor& x) { return x.defined() && is_floating(x.dtype()) && x.dtype() != DType::float64; }

}  // namespace

Autocast::Autocast(Device device, DType dtype, bool enabled, bool caches)
    : device_(device),
      dtype_(dtype),
      enabled_(enabled),
      caches_(caches),
      depth_(walks_under_way()),
      around_(std::exchange(innermost_of_all, this)) {}
Autocast::~Autocast() { innermost_of_all = around_; }

const Autocast* Autocast::innermost(Device device) {
  const Autocast* mode = innermost_of_all;
  while (mode && mode->device_ != device) mode = mode->around_;
  return mode;
}

// A parameter is converted once, until it changes or recording is switched.
Tensor Autocast::shortened(const Tensor& x) {
  const bool is_parameter = caches_ && needs_grad(x) && !grad_node(x) && x.dtype() != dtype_;
  if (!is_parameter) return ops::to(x, dtype_);
  const std::uint32_t version = x->storage->version.load(std::memory_order_relaxed);
  Converted& kept = parameters_[x.impl()];
  if (!kept.to.defined() || kept.version != version || needs_grad(kept.to) != grad_enabled())
    kept = {x, ops::to(x, dtype_), version};
  return kept.to;
}

Tensor Autocast::handle(const Call& call) {
  const auto first = std::find_if(call.inputs.begin(), call.inputs.end(), [](const Tensor& x) { return x.defined(); });
  if (is_decided || first == call.inputs.end() || first->device() != device_) return call.run(call.inputs);
  struct Decided {
    Decided() { is_decided = true; }
    ~Decided() { is_decided = false; }
  } decided;
  const Policy policy = enabled_ && walks_under_way() == depth_ ? policy_of(call.name) : Policy::as_it_is;
  if (policy == Policy::as_it_is) return call.run(call.inputs);
  DType widest = dtype_;
  for (const Tensor& x : call.inputs)
    if (is_converted(x) && x.dtype() == DType::float32) widest = DType::float32;
  Tensors inputs;
  for (const Tensor& x : call.inputs) {
    if (!is_converted(x)) inputs.push_back(x);
    else if (policy == Policy::shortened) inputs.push_back(shortened(x));
    else inputs.push_back(ops::to(x, policy == Policy::widest ? widest : DType::float32));
  }
  return call.run(inputs);
}

}  // namespace dd2424::ops
