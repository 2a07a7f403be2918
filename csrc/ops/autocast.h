#pragma once
#include <unordered_map>

#include "ops/common.h"

namespace dd2424::ops {

// Mixed precision: products take operands of a short dtype, and what needs range or adds many terms takes float32
// (Micikevicius et al., "Mixed precision training", arXiv:1710.03740). The innermost one for a device decides alone.
class Autocast final : public Mode {
 public:
  Autocast(Device device, DType dtype, bool enabled, bool caches);
  ~Autocast() override;
  Tensor handle(const Call& call) override;

  static const Autocast* innermost(Device device);  // of this thread, or null
  static bool is_on(Device device) { return innermost(device) && innermost(device)->enabled_; }
  DType dtype() const { return dtype_; }

 private:
  struct Converted {
    Tensor from, to;
    std::uint32_t version;
  };
  Tensor shortened(const Tensor& x);

  Device device_;
  DType dtype_;
  bool enabled_, caches_;
  int depth_;         // of walks back: those that begin inside take gradients as they come
  Autocast* around_;  // of any device
  std::unordered_map<const void*, Converted> parameters_;  // an entry keeps its key alive
};

}  // namespace dd2424::ops
