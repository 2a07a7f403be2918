#include "ops/copy.h"
#include "ops/elementwise.h"
#include "ops/images.h"
#include "ops/norm.h"
#include "ops/shape.h"

namespace dd2424::ops {
namespace {

constexpr const char* kName = "local_response_norm";

// s = k + slope * (sum of x^2 over channels c - before ... c + after)
struct Neighbourhood {
  Index before, after;
  double slope, beta, k;
};

Tensor run_local(const Tensor& x, const Tensor& dy, const Neighbourhood& near, bool channels_last) {
  const Tensor y = empty_images(x.shape(), x.dtype(), channels_last, x.device());
  Index outer = x.size(0), inner = 1;
  for (int d = 2; d < x.ndim(); ++d) (channels_last ? outer : inner) *= x.size(d);
  dispatch_float(kName, x.dtype(), [&]<class T>(T) {
    const auto& table = kernels<NormKernels<T>>(x.device());
    const LocalResponse<T> arguments{x.data<T>(), dy.data<T>(), y.data<T>(), outer,     x.size(1), inner,
                                     near.before, near.after,   near.slope,  near.beta, near.k};
    if (x.numel() > 0)
      run(kName, table.local_response, 8 * x.numel(), Scratch(table.local_response_workspace(arguments), x.device()),
          arguments);
  });
  return y;
}

// The sums over channels c - before ... c + after, by operations.
Tensor window_sums(const Tensor& x, Index before, Index after) {
  Shape edge = x.shape();
  const auto zero_channels = [&](Index n) {
    edge[1] = n;
    return zeros(edge, x.dtype(), x.device());
  };
  const Tensor wide = cat({zero_channels(before), x, zero_channels(after)}, 1);
  Tensor total = narrow(wide, 1, 0, x.size(1));
  for (Index shift = 1; shift <= before + after; ++shift) total = add(total, narrow(wide, 1, shift, x.size(1)));
  return total;
}

struct LocalResponseNode final : Node {
  Saved x{this};
  Neighbourhood near;
  bool channels_last;
  LocalResponseNode(const Neighbourhood& near, bool channels_last) : near(near), channels_last(channels_last) {}
  const char* name() const override { return kName; }

  Tensors backward(const Tensors& grads, const Needs&) override {
    const Tensor input = x.get(), dy = in_format(grads[0], channels_last);
    if (!grad_enabled()) return {run_local(input, dy, near, channels_last)};
    const Tensor s = add(mul(window_sums(mul(input, input), near.before, near.after), near.slope), near.k);
    const Tensor passed = mul(dy, pow(s, -near.beta));
    const Tensor back = window_sums(div(mul(passed, input), s), near.after, near.before);
    return {sub(passed, mul(mul(input, back), 2 * near.beta * near.slope))};
  }
};

}  // namespace

Tensor local_response_norm(const Tensor& input, Index size, double alpha, double beta, double k) {
  if (mode_is_active()) [[unlikely]]
    return through_door(
        {kName, {input}, [=](const Tensors& t) { return local_response_norm(t[0], size, alpha, beta, k); }});
  check<ValueError>(input.ndim() >= 3, kName, ": input must be (N, C, *), got ", input.shape());
  check(size >= 1, kName, ": size must be at least 1, got ", size);
  const bool channels_last = suggests_channels_last(input);
  const Tensor x = in_format(input, channels_last);
  const Neighbourhood near{size / 2, (size - 1) / 2, alpha / static_cast<double>(size), beta, k};
  const Tensor y = run_local(x, Tensor(), near, channels_last);
  if (auto* node = record<LocalResponseNode>(y, {&x}, near, channels_last)) node->x.save(x);
  return y;
}

}  // namespace dd2424::ops
