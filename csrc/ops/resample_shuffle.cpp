#include "ops/images.h"
#include "ops/resample.h"
#include "ops/resample_map.h"
#include "ops/shape.h"

namespace dd2424::ops {
namespace {

struct ShuffleNode final : Node {
  using Gradient = Tensor (*)(const Tensor& dy, Index by);
  const char* op;
  Gradient gradient;
  Index by;
  ShuffleNode(const char* op, Gradient gradient, Index by) : op(op), gradient(gradient), by(by) {}
  const char* name() const override { return op; }
  Tensors backward(const Tensors& grads, const Needs&) override { return {gradient(grads[0], by)}; }
};

// The dimensions in front of the last three as one, and as they were.
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

struct Strides {  // of dense images
  Index n, c, h, w;
  Strides(const Shape& shape, bool channels_last)
      : n(shape[1] * shape[2] * shape[3]),
        c(channels_last ? 1 : shape[2] * shape[3]),
        h(channels_last ? shape[3] * shape[1] : shape[3]),
        w(channels_last ? shape[1] : 1) {}
};

}  // namespace

Tensor pixel_shuffle(const Tensor& input, Index r) {
  if (mode_is_active()) [[unlikely]]
    return through_door({"pixel_shuffle", {input}, [=](const Tensors& t) { return pixel_shuffle(t[0], r); }});
  check(input.ndim() >= 3, "pixel_shuffle: input must have at least 3 dimensions, got ", input.shape());
  check(r > 0 && r < (Index(1) << 31), "pixel_shuffle: upscale_factor must be positive, got ", r);
  const Index channels = input.size(input.ndim() - 3);
  check(channels % (r * r) == 0, "pixel_shuffle: input must have a multiple of upscale_factor^2 channels, ", r * r,
        ", got ", input.shape());
  const bool channels_last = suggests_channels_last(input);
  const Tensor x = in_format(as_batch(input), channels_last);
  const Index n = x.size(0), c = channels / (r * r), h = x.size(2), w = x.size(3);
  const Tensor y = empty_images({n, c, h * r, w * r}, x.dtype(), channels_last, x.device());
  const Strides at(x.shape(), channels_last);
  const Part channel{.size = c, .stride = r * r * at.c};
  std::vector<Part> parts{{.size = n, .stride = at.n},
                          {.size = h, .stride = at.h},
                          {.size = r, .stride = r * at.c},
                          {.size = w, .stride = at.w},
                          {.size = r, .stride = at.c}};
  parts.insert(channels_last ? parts.end() : parts.begin() + 1, channel);
  if (y.numel() > 0) take_parts("pixel_shuffle", x, y, parts, Scalar(0));
  record<ShuffleNode>(y, {&x}, "pixel_shuffle", pixel_unshuffle, r);
  return in_batch_of(y, input);
}

Tensor pixel_unshuffle(const Tensor& input, Index r) {
  if (mode_is_active()) [[unlikely]]
    return through_door({"pixel_unshuffle", {input}, [=](const Tensors& t) { return pixel_unshuffle(t[0], r); }});
  check(input.ndim() >= 3, "pixel_unshuffle: input must have at least 3 dimensions, got ", input.shape());
  check(r > 0 && r < (Index(1) << 31), "pixel_unshuffle: downscale_factor must be positive, got ", r);
  const bool channels_last = suggests_channels_last(input);
  const Tensor x = in_format(as_batch(input), channels_last);
  const Index n = x.size(0), c = x.size(1), h = x.size(2) / r, w = x.size(3) / r;
  check(x.size(2) == h * r && x.size(3) == w * r,
        "pixel_unshuffle: input must have a height and width that downscale_factor ", r, " divides, got ",
        input.shape());
  const Tensor y = empty_images({n, c * r * r, h, w}, x.dtype(), channels_last, x.device());
  const Strides at(x.shape(), channels_last);
  const std::vector<Part> channel{
      {.size = c, .stride = at.c}, {.size = r, .stride = at.h}, {.size = r, .stride = at.w}};
  const std::vector<Part> pixel{{.size = h, .stride = r * at.h}, {.size = w, .stride = r * at.w}};
  std::vector<Part> parts{{.size = n, .stride = at.n}};
  for (const auto& group : {channels_last ? pixel : channel, channels_last ? channel : pixel})
    parts.insert(parts.end(), group.begin(), group.end());
  if (y.numel() > 0) take_parts("pixel_unshuffle", x, y, parts, Scalar(0));
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
  auto map = std::make_shared<Mapping>(Mapping{.op = "channel_shuffle", .axes = {}});
  map->axes.resize(static_cast<std::size_t>(x.ndim()));
  map->axes[1] = axis_for({kShuffleAxis, channels, groups}, [&] {
    AxisMap axis{.in = channels};
    for (Index i = 0; i < channels; ++i) axis.add(i % groups * each + i / groups, 1), axis.end_row();
    return axis;
  });
  return map_axes(x, map, suggests_channels_last(x));
}

}  // namespace dd2424::ops
