#include "ops/pool.h"

#include "ops/copy.h"
#include "ops/images.h"
#include "ops/index.h"
#include "ops/shape.h"

namespace dd2424::ops {
namespace {

using pool::Geometry;

Shape with_space(const Tensor& like, const Geometry& at, Index PoolAxis::* size) {
  Shape shape{like.size(0), like.size(1)};
  for (int d = PoolSizes::kSpace - at.space; d < PoolSizes::kSpace; ++d) shape.push_back(at.sizes.axes[d].*size);
  return shape;
}
Shape output_shape(const Tensor& like, const Geometry& at) { return with_space(like, at, &PoolAxis::out); }
Shape input_shape(const Tensor& like, const Geometry& at) { return with_space(like, at, &PoolAxis::in); }

bool is_whole(const PoolAxis& axis) { return axis.out == 1 && axis.kernel == axis.in && axis.padding == 0; }
bool is_global(const Geometry& at) {
  for (const PoolAxis& axis : at.sizes.axes)
    if (!is_whole(axis)) return false;
  return true;
}

// With planes and channels; dimensions that windows cover as a whole become one.
PoolSizes sizes_of(const Geometry& at, const Tensor& like, bool channels_last) {
  PoolSizes s = at.sizes;
  s.planes = channels_last ? like.size(0) : like.size(0) * like.size(1);
  s.channels = channels_last ? like.size(1) : 1;
  if (channels_last) return s;
  for (int d = 1; d >= 0 && is_whole(s.axes[d]) && is_whole(s.axes[2]); --d) {
    s.axes[2].in = s.axes[2].kernel = s.axes[2].in * s.axes[d].in;
    s.axes[d].in = s.axes[d].kernel = 1;
  }
  return s;
}

DType tap_dtype(const PoolSizes& s) { return tap_bytes(s) == 1 ? DType::uint8 : DType::int32; }

// The dtypes that have a maximum: floating ones and integers.
template <class F>
void dispatch_max(const char* op, DType dtype, F&& f) {
  if (!is_integer(dtype)) return dispatch_float(op, dtype, f);
  dispatch_all(dtype, [&]<class T>(T value) {
    if constexpr (std::is_integral_v<T> && !std::is_same_v<T, bool>) f(value);
  });
}

Tensor positions(const Geometry& at, const Tensor& taps, bool channels_last) {
  const Tensor index = empty_images(taps.shape(), DType::int64, channels_last, taps.device());
  const PoolSizes s = sizes_of(at, taps, channels_last);
  const auto& table = kernels<PoolKernels<float>>(taps.device());
  if (index.numel() > 0)
    run(at.op.c_str(), table.max_pool_locate, index.numel(), Scratch(table.pool_workspace(s), taps.device()),
        MaxPoolLocate{s, taps->data, index.data<std::int64_t>()});
  return index;
}

Tensor max_gradient(const Geometry& at, const Tensor& grad, const Tensor& taps, bool channels_last);

struct PoolNode : Node {
  Geometry at;
  bool channels_last;
  PoolNode(const Geometry& at, bool channels_last) : at(at), channels_last(channels_last) {}
  const char* name() const override { return at.op.c_str(); }
};
struct MaxNode final : PoolNode {
  Saved taps{this};
  using PoolNode::PoolNode;
  Tensors backward(const Tensors& grads, const Needs&) override {
    return {max_gradient(at, grads[0], taps.get(), channels_last)};
  }
};
struct MaxGradientNode final : PoolNode {  // it sends dy to the taps: its gradient is what stands there
  Saved taps{this};
  using PoolNode::PoolNode;
  Tensors backward(const Tensors& grads, const Needs&) override {
    const Tensor index = positions(at, taps.get(), channels_last);
    const Tensor picked = gather(flatten(grads[0], 2, -1), 2, flatten(index, 2, -1));
    return {reshape(picked, index.shape())};
  }
};

Tensor max_gradient(const Geometry& at, const Tensor& grad, const Tensor& taps, bool channels_last) {
  const Tensor dy = in_format(grad, channels_last);
  const Tensor dx = empty_images(input_shape(dy, at), dy.dtype(), channels_last, dy.device());
  const PoolSizes s = sizes_of(at, dy, channels_last);
  if (dy.numel() == 0) {
    fill_into(dx, Scalar(0));
  } else {
    dispatch_float(at.op.c_str(), dy.dtype(), [&]<class T>(T) {
      const auto& table = kernels<PoolKernels<T>>(dy.device());
      run(at.op.c_str(), table.max_pool_backward, dx.numel(), Scratch(table.pool_workspace(s), dy.device()),
          MaxPoolBackward<T>{s, taps->data, dy.data<T>(), dx.data<T>()});
    });
  }
  if (auto* node = record<MaxGradientNode>(dx, {&dy}, at, channels_last)) node->taps.save(taps);
  return dx;
}

std::pair<Tensor, Tensor> max_pool(const Geometry& at, const Tensor& input, bool channels_last, bool wants_index) {
  const Tensor x = in_format(input, channels_last);
  const Shape shape = output_shape(x, at);
  checked_numel(at.op.c_str(), shape);
  const PoolSizes s = sizes_of(at, x, channels_last);
  const Tensor y = empty_images(shape, x.dtype(), channels_last, x.device()),
               taps = empty_images(shape, tap_dtype(s), channels_last, x.device());
  dispatch_max(at.op.c_str(), x.dtype(), [&]<class T>(T) {
    const auto& table = kernels<PoolKernels<T>>(x.device());
    if (y.numel() > 0)
      run(at.op.c_str(), table.max_pool_forward, x.numel(), Scratch(table.pool_workspace(s), x.device()),
          MaxPoolForward<T>{s, x.data<T>(), y.data<T>(), taps->data});
  });
  if (auto* node = record<MaxNode>(y, {&x}, at, channels_last)) node->taps.save(taps);
  return {y, wants_index ? positions(at, taps, channels_last) : Tensor()};
}

struct AverageOptions {
  bool counts_padding;
  Index divisor;
};
Tensor average(const Geometry& at, const Tensor& x, bool channels_last, const AverageOptions& options);
Tensor average_gradient(const Geometry& at, const Tensor& grad, bool channels_last, const AverageOptions& options);

struct AverageNode final : PoolNode {
  AverageOptions options;
  AverageNode(const Geometry& at, bool channels_last, const AverageOptions& options)
      : PoolNode(at, channels_last), options(options) {}
  Tensors backward(const Tensors& grads, const Needs&) override {
    return {average_gradient(at, grads[0], channels_last, options)};
  }
};
struct AverageGradientNode final : PoolNode {
  AverageOptions options;
  AverageGradientNode(const Geometry& at, bool channels_last, const AverageOptions& options)
      : PoolNode(at, channels_last), options(options) {}
  Tensors backward(const Tensors& grads, const Needs&) override {
    return {average(at, grads[0], channels_last, options)};
  }
};

Tensor average(const Geometry& at, const Tensor& input, bool channels_last, const AverageOptions& options) {
  const Tensor x = in_format(input, channels_last);
  const Shape shape = output_shape(x, at);
  checked_numel(at.op.c_str(), shape);
  const Tensor y = empty_images(shape, x.dtype(), channels_last, x.device());
  const PoolSizes s = sizes_of(at, x, channels_last);
  dispatch_float(at.op.c_str(), x.dtype(), [&]<class T>(T) {
    const auto& table = kernels<PoolKernels<T>>(x.device());
    if (y.numel() > 0)
      run(at.op.c_str(), table.average_pool_forward, x.numel(), Scratch(table.pool_workspace(s), x.device()),
          AveragePool<T>{s, x.data<T>(), y.data<T>(), options.divisor, options.counts_padding});
  });
  record<AverageNode>(y, {&x}, at, channels_last, options);
  return y;
}

Tensor average_gradient(const Geometry& at, const Tensor& grad, bool channels_last, const AverageOptions& options) {
  const Tensor dy = in_format(grad, channels_last);
  const Tensor dx = empty_images(input_shape(dy, at), dy.dtype(), channels_last, dy.device());
  const PoolSizes s = sizes_of(at, dy, channels_last);
  if (dy.numel() == 0) {
    fill_into(dx, Scalar(0));
  } else {
    dispatch_float(at.op.c_str(), dy.dtype(), [&]<class T>(T) {
      const auto& table = kernels<PoolKernels<T>>(dy.device());
      run(at.op.c_str(), table.average_pool_backward, dx.numel(), Scratch(table.pool_workspace(s), dy.device()),
          AveragePool<T>{s, dy.data<T>(), dx.data<T>(), options.divisor, options.counts_padding});
    });
  }
  record<AverageGradientNode>(dx, {&dy}, at, channels_last, options);
  return dx;
}

Tensor unbatched(const Tensor& y, const Tensor& x) { return y.defined() && y.ndim() > x.ndim() ? squeeze(y, {0}) : y; }

template <class Geometric>
std::pair<Tensor, Tensor> max_pool(const std::string& op, int space, const Tensor& x, bool keeps_format,
                                   bool wants_index, const Geometric& geometry) {
  if (mode_is_active()) [[unlikely]] {
    Tensor index;
    const Tensor y = through_door({op.c_str(), {x}, [&](const Tensors& t) {
                                     auto [value, at] = max_pool(op, space, t[0], keeps_format, wants_index, geometry);
                                     index = at;
                                     return value;
                                   }});
    return {y, index};
  }
  const Tensor input = pool::batched(op, space, x);
  const auto [y, index] = max_pool(geometry(input), input, keeps_format && suggests_channels_last(input), wants_index);
  return {unbatched(y, x), unbatched(index, x)};
}

}  // namespace

// PyTorch keeps the memory format of images in all of them; of volumes in max_pool3d alone, and where one value is
// left.

std::pair<Tensor, Tensor> max_pool(int space, const Tensor& x, const PoolOptions& options, bool wants_index) {
  const std::string op = pool::name("max_pool", space);
  return max_pool(op, space, x, true, wants_index,
                  [&](const Tensor& input) { return pool::windows(op, space, input, options); });
}

std::pair<Tensor, Tensor> adaptive_max_pool(int space, const Tensor& x, const Shape& output_size, bool wants_index) {
  const std::string op = pool::name("adaptive_max_pool", space);
  return max_pool(op, space, x, space == 2, wants_index, [&](const Tensor& input) {
    check(input.size(1) > 0, op, ": input must not be empty but for its batch, got shape ", x.shape());
    return pool::adaptive(op, space, input, output_size);
  });
}

Tensor average_pool(int space, const Tensor& x, const PoolOptions& options, bool counts_padding, Index divisor) {
  const std::string op = pool::name("avg_pool", space);
  if (mode_is_active()) [[unlikely]]
    return through_door({op.c_str(), {x}, [=](const Tensors& t) {
                           return average_pool(space, t[0], options, counts_padding, divisor);
                         }});
  const Tensor input = pool::batched(op, space, x);
  const Geometry at = pool::windows(op, space, input, options);
  return unbatched(average(at, input, space == 2 && suggests_channels_last(input), {counts_padding, divisor}), x);
}

Tensor adaptive_average_pool(int space, const Tensor& x, const Shape& output_size) {
  const std::string op = pool::name("adaptive_avg_pool", space);
  if (mode_is_active()) [[unlikely]]
    return through_door(
        {op.c_str(), {x}, [=](const Tensors& t) { return adaptive_average_pool(space, t[0], output_size); }});
  const Tensor input = pool::batched(op, space, x);
  const Geometry at = pool::adaptive(op, space, input, output_size);
  const bool keeps_format = space == 2 || is_global(at);
  return unbatched(average(at, input, keeps_format && suggests_channels_last(input), {false, 0}), x);
}

Tensor max_unpool(int space, const Tensor& x, const Tensor& index, const Shape& output_size) {
  const std::string op = pool::name("max_unpool", space);
  if (mode_is_active()) [[unlikely]]
    return through_door(
        {op.c_str(), {x, index}, [=](const Tensors& t) { return max_unpool(space, t[0], t[1], output_size); }});
  check_device(op.c_str(), {&x, &index});
  check(index.dtype() == DType::int64, op, ": indices must be int64, got ", index.dtype());
  check(index.shape() == x.shape(), op, ": indices must have the input's shape ", x.shape(), ", got ", index.shape());
  check(output_size.size() == space, op, ": output_size must have ", space, " elements, got ", output_size);
  const Tensor input = pool::batched(op, space, x), places = pool::batched(op, space, index);
  for (int d = 1; d < input.ndim(); ++d)
    check(input.size(d) > 0, op, ": input must not be empty but for its batch, got shape ", x.shape());
  Shape shape{input.size(0), input.size(1)};
  for (Index size : output_size) shape.push_back(size);
  checked_numel(op.c_str(), shape);
  const Index volume = product(output_size);
  const Tensor at = plain_index<RuntimeError>(op.c_str(), flatten(places, 2, -1), volume);
  const Tensor none = zeros({input.size(0), input.size(1), volume}, x.dtype(), x.device());
  const Tensor y = reshape(scatter(none, 2, at, flatten(input, 2, -1)), shape);
  return unbatched(in_format(y, space == 2 && suggests_channels_last(input)), x);
}

}  // namespace dd2424::ops
