#include "ops/copy.h"
#include "ops/images.h"
#include "ops/resample.h"
#include "ops/shape.h"

namespace dd2424::ops {
namespace {

// A rearrangement: x is seen in more dimensions, these are permuted, and y is what they make up.
struct ShuffleNode final : Node {
  using Gradient = Tensor (*)(const Tensor& dy, Index by);
  const char* op;
  Gradient gradient;
  Index by;
  ShuffleNode(const char* op, Gradient gradient, Index by) : op(op), gradient(gradient), by(by) {}
  const char* name() const override { return op; }
  Tensors backward(const Tensors& grads, const Needs&) override { return {gradient(grads[0], by)}; }
};

// y, dense in x's format, seen in the dimensions `parts` of which its own are made.
Tensor copy_parts(const Tensor& x, const Shape& order, const Shape& parts, const Shape& shape, bool channels_last) {
  const GradMode off(false);
  const Tensor y = empty_images(shape, x.dtype(), channels_last);
  if (y.numel() > 0) copy_into(view(y, parts), permute(x, order));
  return y;
}

// (*, a, b) -> where * are the dimensions in front of the last three: one for the functions below.
Tensor as_batch(const Tensor& x) {
  if (x.ndim() == 4) return x;
  const Index c = x.size(-3 + x.ndim()), h = x.size(-2 + x.ndim()), w = x.size(-1 + x.ndim());
  Index n = 1;
  for (int d = 0; d < x.ndim() - 3; ++d) n *= x.size(d);
  return reshape(x, {n, c, h, w});
}
Tensor in_batch_of(const Tensor& y, const Tensor& x) {
  if (x.ndim() == 4) return y;
  Shape shape(x.shape().begin(), x.shape().end() - 3);
  for (int d = 1; d < 4; ++d) shape.push_back(y.size(d));
  return reshape(y, shape);
}

}  // namespace

Tensor pixel_shuffle(const Tensor& input, Index r) {
  if (mode_is_active()) [[unlikely]]
    return through_door({"pixel_shuffle", {input}, [=](const Tensors& t) { return pixel_shuffle(t[0], r); }});
  check(input.ndim() >= 3, "pixel_shuffle: input must have at least 3 dimensions, got ", input.shape());
  check(r > 0 && r < (Index(1) << 31), "pixel_shuffle: upscale_factor must be positive, got ", r);
  const Index channels = input.size(input.ndim() - 3);
  check(channels % (r * r) == 0, "pixel_shuffle: input must have a multiple of upscale_factor^2 channels, ", r * r,
        ", got ", input.shape());
  const Tensor x = as_batch(input);
  const Index n = x.size(0), c = channels / (r * r), h = x.size(2), w = x.size(3);
  const Tensor parts = [&] {
    const GradMode off(false);
    return view(x, {n, c, r, r, h, w});
  }();
  const Tensor y =
      copy_parts(parts, {0, 1, 4, 2, 5, 3}, {n, c, h, r, w, r}, {n, c, h * r, w * r}, suggests_channels_last(x));
  record<ShuffleNode>(y, {&x}, "pixel_shuffle", pixel_unshuffle, r);
  return in_batch_of(y, input);
}

Tensor pixel_unshuffle(const Tensor& input, Index r) {
  if (mode_is_active()) [[unlikely]]
    return through_door({"pixel_unshuffle", {input}, [=](const Tensors& t) { return pixel_unshuffle(t[0], r); }});
  check(input.ndim() >= 3, "pixel_unshuffle: input must have at least 3 dimensions, got ", input.shape());
  check(r > 0 && r < (Index(1) << 31), "pixel_unshuffle: downscale_factor must be positive, got ", r);
  const Tensor x = as_batch(input);
  const Index n = x.size(0), c = x.size(1), h = x.size(2) / r, w = x.size(3) / r;
  check(x.size(2) == h * r && x.size(3) == w * r,
        "pixel_unshuffle: input must have a height and width that downscale_factor ", r, " divides, got ",
        input.shape());
  const Tensor parts = [&] {
    const GradMode off(false);
    return view(x, {n, c, h, r, w, r});
  }();
  const Tensor y =
      copy_parts(parts, {0, 1, 3, 5, 2, 4}, {n, c, r, r, h, w}, {n, c * r * r, h, w}, suggests_channels_last(x));
  record<ShuffleNode>(y, {&x}, "pixel_unshuffle", pixel_shuffle, r);
  return in_batch_of(y, input);
}

Tensor channel_shuffle(const Tensor& x, Index groups) {
  if (mode_is_active()) [[unlikely]]
    return through_door({"channel_shuffle", {x}, [=](const Tensors& t) { return channel_shuffle(t[0], groups); }});
  check(x.ndim() > 2, "channel_shuffle: input must have more than 2 dimensions, got ", x.shape());
  check(groups > 0, "channel_shuffle: groups must be positive, got ", groups);
  const Index channels = x.size(1), each = channels / groups;
  check(each * groups == channels, "channel_shuffle: groups must divide the channels of input ", x.shape(), ", got ",
        groups);
  Shape split{x.size(0), groups, each}, swapped{x.size(0), each, groups}, order{0, 2, 1};
  for (int d = 2; d < x.ndim(); ++d) split.push_back(x.size(d)), swapped.push_back(x.size(d)), order.push_back(d + 1);
  const Tensor parts = [&] {
    const GradMode off(false);
    return view(x, split);
  }();
  const Tensor y = copy_parts(parts, order, swapped, x.shape(), suggests_channels_last(x));
  record<ShuffleNode>(y, {&x}, "channel_shuffle", channel_shuffle, each > 0 ? each : 1);
  return y;
}

}  // namespace dd2424::ops
