#include "ops/random.h"

#include <cmath>
#include <limits>

#include "ops/copy.h"
#include "ops/sort.h"

namespace dd2424::ops {

thread_local CapturedDraws* captured_draws = nullptr;

Philox Generator::next(Device device) {
  if (device == Device::cuda && captured_draws) {
    check(this == &default_generator(), "random: in a captured graph generator must be the default one, got another");
    return {0, captured_draws->count++, captured_draws->start};
  }
  const std::lock_guard lock(mutex_);
  return {seed_, offset_++};
}
std::pair<std::uint64_t, std::uint64_t> Generator::reserve(std::uint64_t draws) {
  const std::lock_guard lock(mutex_);
  return {seed_, std::exchange(offset_, offset_ + draws)};
}
void Generator::manual_seed(std::uint64_t seed) { set_state(seed, 0); }
std::pair<std::uint64_t, std::uint64_t> Generator::state() const {
  const std::lock_guard lock(mutex_);
  return {seed_, offset_};
}
void Generator::set_state(std::uint64_t seed, std::uint64_t offset) {
  const std::lock_guard lock(mutex_);
  seed_ = seed;
  offset_ = offset;
}

Generator& default_generator() {
  static Generator generator(0);
  return generator;
}

void random_(Tensor& self, Distribution distribution, double p, double q, Generator& generator) {
  check_inplace("random", self);
  const Tensor y = self.is_contiguous() ? self : empty(self.shape(), self.dtype(), self.device());
  const Philox bits = generator.next(y.device());
  dispatch_float("random", y.dtype(), [&]<class T>(T) {
    if (y.numel() > 0)
      run("random", kernels<RandomKernels<T>>(y.device()).random, y.numel(), 0, distribution,
          Random<T>{y.data<T>(), y.numel(), p, q, bits});
  });
  if (!y.same(self)) copy_into(self, y);
  count_write(self);
}

Tensor random(const Shape& shape, DType dtype, Distribution distribution, double p, double q, Generator& generator,
              Device device) {
  checked_numel("random", shape);
  Tensor y = empty(shape, dtype, device);
  random_(y, distribution, p, q, generator);
  return y;
}

std::int64_t largest(DType dtype) {
  if (dtype == DType::bool_) return 1;
  const int bits = static_cast<int>(8 * item_bytes(dtype));
  return dtype == DType::uint8 ? 255 : static_cast<std::int64_t>(~std::uint64_t{0} >> (65 - bits));
}
std::int64_t smallest(DType dtype) { return dtype == DType::bool_ || dtype == DType::uint8 ? 0 : -largest(dtype) - 1; }

Tensor randint(std::int64_t low, std::int64_t high, const Shape& shape, DType dtype, Generator& generator,
               Device device) {
  check(low < high, "randint: high must be larger than low, got low ", low, " and high ", high);
  check(is_floating(dtype) || (low >= smallest(dtype) && high - 1 <= largest(dtype)),
        "randint: low and high must lie within ", dtype, ", got low ", low, " and high ", high);
  checked_numel("randint", shape);
  const Tensor y = empty(shape, DType::int64, device);
  const Philox bits = generator.next(y.device());
  if (y.numel() > 0)
    run("randint", kernels<RandomIntegerKernels>(y.device()).integers, y.numel(), 0,
        RandomInteger{y.data<Index>(), y.numel(), low, high, bits});
  return to(y, dtype);
}

namespace {

// The places of random numbers in sorted order. Two of n are equal with probability n^2 / 2^65.
Tensor order_of_draws(Index n, Generator& generator, Device device) {
  constexpr std::int64_t most = std::numeric_limits<std::int64_t>::max();
  return sort(randint(-most - 1, most, {n}, DType::int64, generator, device), 0, false).second;
}

}  // namespace

Tensor randperm(Index n, DType dtype, Generator& generator, Device device) {
  check(n >= 0, "randperm: n must not be negative, got ", n);
  if (device != Device::cpu) return to(order_of_draws(n, generator, device), dtype);
  const Tensor y = empty({n}, DType::int64);
  const Philox bits = generator.next(y.device());
  if (n > 0)
    run("randperm", kernels<RandomIntegerKernels>(y.device()).permutation, n, 0, Permutation{y.data<Index>(), n, bits});
  return to(y, dtype);
}

namespace {

struct Mask {
  double p, scale, shift, dropped;
  Index inner;
  Philox bits;
};

Tensor masked(const Tensor& x, const Mask& mask);

struct DropoutNode final : Node {  // the mask is drawn again, not stored
  Mask mask;
  explicit DropoutNode(const Mask& mask) : mask(mask) {}
  const char* name() const override { return "dropout"; }
  Tensors backward(const Tensors& grads, const Needs&) override {
    return {masked(grads[0], {mask.p, mask.scale, -0.0, 0, mask.inner, mask.bits})};
  }
};

Tensor masked(const Tensor& input, const Mask& mask) {
  const Tensor x = contiguous(detach(input));
  Tensor y = empty(x.shape(), x.dtype(), x.device());
  dispatch_float("dropout", x.dtype(), [&]<class T>(T) {
    if (y.numel() > 0)
      run("dropout", kernels<RandomKernels<T>>(y.device()).dropout, y.numel(), 0,
          Dropout<T>{x.data<T>(), y.data<T>(), y.numel(), mask.inner, mask.p, mask.scale, mask.bits, mask.shift,
                     mask.dropped});
  });
  if (!input.is_contiguous()) {  // drawn by index, laid out as the input is
    const Tensor laid_out = empty_like(input);
    copy_into(laid_out, y);
    y = laid_out;
  }
  record<DropoutNode>(y, {&input}, mask);
  return y;
}

constexpr double kSeluFloor = -1.7580993408473766;  // what SELU gives for large negative input

}  // namespace

Tensor dropout(const Tensor& x, double p, bool channels, Generator& generator, bool alpha) {
  const char* name = alpha ? "alpha_dropout" : "dropout";
  check<ValueError>(p >= 0 && p <= 1, name, ": p must be a probability from 0 to 1, got ", p);
  if (mode_is_active()) [[unlikely]]
    return through_door(
        {name, {x}, [=, &generator](const Tensors& t) { return dropout(t[0], p, channels, generator, alpha); }});
  check(!channels || x.ndim() >= 2, name, ": input must be (N, C, *), got ", x.shape());
  Mask mask{p, p == 1 ? 0 : 1 / (1 - p), -0.0, 0, 1, {}};
  if (alpha && p < 1) {  // Klambauer et al., "Self-Normalizing Neural Networks", arXiv:1706.02515, section 2
    mask.scale = 1 / std::sqrt((1 - p) * (1 + p * kSeluFloor * kSeluFloor));
    mask.shift = -mask.scale * p * kSeluFloor;
    mask.dropped = mask.scale * kSeluFloor + mask.shift;
  }
  for (int d = 2; channels && d < x.ndim(); ++d) mask.inner *= x.size(d);
  mask.bits = generator.next(x.device());
  return masked(x, mask);
}

}  // namespace dd2424::ops
