#include "ops/conv.h"

#include <atomic>
#include <string>

#include "ops/copy.h"
#include "ops/elementwise.h"
#include "ops/images.h"
#include "ops/reduce.h"
#include "ops/shape.h"

namespace dd2424::ops {
namespace {

std::atomic<bool> allows_winograd{true}, allows_tf32{false};

// What a convolution, its gradient by x and its gradient by the weights have in common.
struct Geometry {
  std::string op;  // what the user called
  Index groups;
  Shape image, kernel, out;  // of x, of the weights, of y
  Shape stride, padding, dilation;
};

Index channels(const Tensor& x) { return x.size(1); }
Shape space_of(const Tensor& x) { return Shape(x.shape().begin() + 2, x.shape().end()); }
Shape with_space(Index n, Index c, const Shape& space) {
  Shape shape{n, c};
  for (Index size : space) shape.push_back(size);
  return shape;
}
Format format_of(const Tensor& x) { return x.is_contiguous() ? Format::channels_first : Format::channels_last; }

ConvSizes sizes_of(const Geometry& at, Index batch, Index inputs, Index outputs) {
  ConvSizes s{.batch = batch, .groups = at.groups, .inputs = inputs, .outputs = outputs};
  s.allows_winograd = allows_winograd.load(std::memory_order_relaxed);
  s.allows_tf32 = allows_tf32.load(std::memory_order_relaxed);
  const int missing = ConvSizes::kSpace - at.image.size();
  for (int d = 0; d < ConvSizes::kSpace; ++d) {
    const auto value = [&](const Shape& shape, Index otherwise) {
      return d < missing ? otherwise : shape[d - missing];
    };
    s.image[d] = value(at.image, 1), s.kernel[d] = value(at.kernel, 1), s.out[d] = value(at.out, 1);
    s.stride[d] = value(at.stride, 1), s.dilation[d] = value(at.dilation, 1), s.padding[d] = value(at.padding, 0);
  }
  return s;
}

// Dense in one of the two formats, whichever it has: kernels read both.
Tensor dense(const Tensor& x, bool channels_last) {
  return x.is_contiguous() || is_channels_last(x) ? x : in_format(x, channels_last);
}
bool follows_channels_last(const Tensor& x, const Tensor& weight) {
  return suggests_channels_last(x) || suggests_channels_last(weight);
}
Index work(const ConvSizes& s) {
  Index macs = s.batch * s.outputs * (s.inputs / s.groups);
  for (int d = 0; d < ConvSizes::kSpace; ++d) macs *= s.out[d] * s.kernel[d];
  return macs / 8;
}

Tensor conv_forward(const Geometry& at, const Tensor& x, const Tensor& weight, const Tensor& bias, bool relu);
Tensor conv_input(const Geometry& at, const Tensor& dy, const Tensor& weight, const Tensor& bias, bool relu);
Tensor conv_weight(const Geometry& at, const Tensor& x, const Tensor& dy, bool channels_last);

Tensor bias_gradient(const Tensor& dy) {
  Shape dims;
  for (int d = 0; d < dy.ndim(); ++d)
    if (d != 1) dims.push_back(d);
  return sum(dy, dims);
}

struct ConvNode : Node {
  Geometry at;
  explicit ConvNode(const Geometry& at) : at(at) {}
  const char* name() const override { return at.op.c_str(); }
};
struct ForwardNode final : ConvNode {
  Saved x{this}, weight{this}, y{this};
  using ConvNode::ConvNode;
  Tensors backward(const Tensors& grads, const Needs& needs) override {
    const Tensor dy = y.defined() ? unary_gradient(UnaryOp::relu, grads[0], Tensor(), y.get(), 0, 0) : grads[0];
    const Tensor w = weight.get(), input = x.get();
    return {needs[0] ? conv_input(at, dy, w, Tensor(), false) : Tensor(),
            needs[1] ? conv_weight(at, input, dy, suggests_channels_last(w)) : Tensor(),
            needs[2] ? bias_gradient(dy) : Tensor()};
  }
};
struct InputNode final : ConvNode {  // of dx = conv_input(dy, weight)
  Saved dy{this}, weight{this}, dx{this};
  using ConvNode::ConvNode;
  Tensors backward(const Tensors& grads, const Needs& needs) override {
    const Tensor g = dx.defined() ? unary_gradient(UnaryOp::relu, grads[0], Tensor(), dx.get(), 0, 0) : grads[0];
    const Tensor w = weight.get();
    return {needs[0] ? conv_forward(at, g, w, Tensor(), false) : Tensor(),
            needs[1] ? conv_weight(at, g, dy.get(), suggests_channels_last(w)) : Tensor(),
            needs[2] ? bias_gradient(g) : Tensor()};
  }
};
struct WeightNode final : ConvNode {  // of dweight = conv_weight(x, dy)
  Saved x{this}, dy{this};
  using ConvNode::ConvNode;
  Tensors backward(const Tensors& grads, const Needs& needs) override {
    return {needs[0] ? conv_input(at, dy.get(), grads[0], Tensor(), false) : Tensor(),
            needs[1] ? conv_forward(at, x.get(), grads[0], Tensor(), false) : Tensor()};
  }
};

Tensor kernel_bias(const Tensor& bias) {
  return bias.defined() ? contiguous(detach(to(bias, accumulator(bias.dtype())))) : Tensor();
}

Tensor conv_forward(const Geometry& at, const Tensor& input, const Tensor& filters, const Tensor& bias, bool relu) {
  const bool last = follows_channels_last(input, filters);
  const Tensor x = dense(input, last), weight = dense(filters, last), b = kernel_bias(bias);
  const Tensor y = empty_images(with_space(x.size(0), weight.size(0), at.out), x.dtype(), last, x.device());
  ConvSizes s = sizes_of(at, x.size(0), channels(x), weight.size(0));
  s.x_format = format_of(x), s.weight_format = format_of(weight), s.y_format = format_of(y);
  if (y.numel() > 0) {
    dispatch_float(at.op.c_str(), x.dtype(), [&]<class T>(T) {
      const auto& table = kernels<ConvKernels<T>>(x.device());
      run(at.op.c_str(), table.conv_forward, work(s), {table.conv_forward_workspace(s), x.device()},
          ConvForward<T>{s, x.data<T>(), weight.data<T>(), b.data<Accumulator<T>>(), y.data<T>(), relu});
    });
  }
  if (auto* node = record<ForwardNode>(y, {&x, &weight, &bias}, at)) {
    node->x.save(x);
    node->weight.save(weight);
    if (relu) node->y.save_output(y);
  }
  return y;
}

Tensor conv_input(const Geometry& at, const Tensor& gradient, const Tensor& filters, const Tensor& bias, bool relu) {
  const bool last = follows_channels_last(gradient, filters);
  const Tensor dy = dense(gradient, last), weight = dense(filters, last), b = kernel_bias(bias);
  const Index inputs = channels(weight) * at.groups;
  const Tensor dx = empty_images(with_space(dy.size(0), inputs, at.image), dy.dtype(), last, dy.device());
  ConvSizes s = sizes_of(at, dy.size(0), inputs, weight.size(0));
  s.x_format = format_of(dx), s.weight_format = format_of(weight), s.y_format = format_of(dy);
  if (dx.numel() > 0) {
    dispatch_float(at.op.c_str(), dy.dtype(), [&]<class T>(T) {
      const auto& table = kernels<ConvKernels<T>>(dy.device());
      run(at.op.c_str(), table.conv_input, work(s), {table.conv_input_workspace(s), dy.device()},
          ConvInput<T>{s, dy.data<T>(), weight.data<T>(), b.data<Accumulator<T>>(), dx.data<T>(), relu});
    });
  }
  if (auto* node = record<InputNode>(dx, {&dy, &weight, &bias}, at)) {
    node->dy.save(dy);
    node->weight.save(weight);
    if (relu) node->dx.save_output(dx);
  }
  return dx;
}

Tensor conv_weight(const Geometry& at, const Tensor& input, const Tensor& gradient, bool channels_last) {
  const bool last = suggests_channels_last(input) || suggests_channels_last(gradient);
  const Tensor x = dense(input, last), dy = dense(gradient, last);
  const Shape shape = with_space(channels(dy), channels(x) / at.groups, at.kernel);
  const Tensor dweight = empty_images(shape, x.dtype(), channels_last, x.device());
  ConvSizes s = sizes_of(at, x.size(0), channels(x), channels(dy));
  s.x_format = format_of(x), s.weight_format = format_of(dweight), s.y_format = format_of(dy);
  if (dweight.numel() > 0) {
    dispatch_float(at.op.c_str(), x.dtype(), [&]<class T>(T) {
      const auto& table = kernels<ConvKernels<T>>(x.device());
      run(at.op.c_str(), table.conv_weight, work(s), {table.conv_weight_workspace(s), x.device()},
          ConvWeight<T>{s, x.data<T>(), dy.data<T>(), dweight.data<T>()});
    });
  }
  if (auto* node = record<WeightNode>(dweight, {&x, &dy}, at)) {
    node->x.save(x);
    node->dy.save(dy);
  }
  return dweight;
}

// What the user gave, checked.

constexpr Index kMost = Index(1) << 31;  // of a stride, padding or dilation: their products cannot overflow

std::string name_of(int space, bool transposed) {
  return (transposed ? "conv_transpose" : "conv") + std::to_string(space) + "d";
}

void check_range(const std::string& op, const char* argument, const Shape& values, int space, Index least) {
  check(values.size() == space, op, ": ", argument, " must have ", space, " elements, got ", values);
  for (Index value : values)
    check(value >= least && value < kMost, op, ": ", argument, " must be at least ", least, " and below 2^31, got ",
          values);
}

void check_operands(const std::string& op, const Tensor& x, const Tensor& weight, const Tensor& bias,
                    const ConvOptions& options) {
  check_device(op.c_str(), {&x, &weight, &bias});
  const int space = weight.ndim() - 2;
  check(x.ndim() == weight.ndim(), op, ": input must have ", space + 2, " dimensions or, without a batch, ", space + 1,
        ", got ", x.shape());
  check(options.groups > 0, op, ": groups must be positive, got ", options.groups);
  check(weight.size(0) % options.groups == 0, op, ": weight must have a multiple of groups (", options.groups,
        ") filters, got ", weight.shape());
  const Index expected = options.transposed ? weight.size(0) : weight.size(1) * options.groups;
  check(channels(x) == expected, op, ": weight ", weight.shape(), " with groups ", options.groups, " expects ",
        expected, " input channels but input has ", channels(x), " (input ", x.shape(), ")");
  check(x.dtype() == weight.dtype(), op, ": input and weight must have the same dtype, got ", x.dtype(), " and ",
        weight.dtype());
  for (Index size : space_of(weight))
    check(size > 0 && size < kMost, op, ": kernel must not be empty, got weight ", weight.shape());
  if (!bias.defined()) return;
  const Index outputs = options.transposed ? weight.size(1) * options.groups : weight.size(0);
  check(bias.ndim() == 1 && bias.size(0) == outputs, op, ": bias must be (", outputs, ",), got ", bias.shape());
  check(bias.dtype() == x.dtype(), op, ": bias must have the input's dtype ", x.dtype(), ", got ", bias.dtype());
}

Shape output_space(const std::string& op, const Tensor& x, const Tensor& weight, const ConvOptions& options) {
  Shape out;
  for (int d = 0; d < weight.ndim() - 2; ++d) {
    const Index size = x.size(d + 2), reach = options.dilation[d] * (weight.size(d + 2) - 1) + 1;
    const Index padding = options.padding[d] + options.padding_after[d];
    if (options.transposed) {
      const Index most = std::max(options.stride[d], options.dilation[d]);
      check(options.output_padding[d] < most, op, ": output_padding must be smaller than stride or dilation, got ",
            options.output_padding, ", stride ", options.stride, ", dilation ", options.dilation);
      Index length;
      check(!__builtin_mul_overflow(size - 1, options.stride[d], &length) && length < INT64_MAX - reach - kMost, op,
            ": output is too large for input ", x.shape());
      length += reach + options.output_padding[d] - padding;
      check(length > 0, op, ": input ", x.shape(), " gives an output of size ", length, " in dimension ", d);
      out.push_back(length);
    } else {
      check(reach <= size + padding, op, ": kernel must not be larger than the padded input: kernel of size ",
            weight.size(d + 2), " with dilation ", options.dilation[d], " reaches over ", reach, ", padded input has ",
            size + padding);
      out.push_back((size + padding - reach) / options.stride[d] + 1);
    }
  }
  return out;
}

}  // namespace

void set_winograd(bool allowed) { allows_winograd.store(allowed); }
bool winograd_allowed() { return allows_winograd.load(); }
void set_conv_tf32(bool allowed) { allows_tf32.store(allowed); }
bool conv_tf32_allowed() { return allows_tf32.load(); }

Tensor convolution(const Tensor& x, const Tensor& weight, const Tensor& bias, const ConvOptions& options) {
  const int space = weight.ndim() - 2;
  const std::string op = name_of(space, options.transposed);
  if (mode_is_active()) [[unlikely]]
    return through_door(
        {op.c_str(), {x, weight, bias}, [=](const Tensors& t) { return convolution(t[0], t[1], t[2], options); }});
  check(space >= 1 && space <= ConvSizes::kSpace, "conv: weight must have 3 to 5 dimensions, got ", weight.shape());
  if (x.ndim() == space + 1) return squeeze(convolution(unsqueeze(x, 0), weight, bias, options), {0});
  check_operands(op, x, weight, bias, options);
  check_range(op, "stride", options.stride, space, 1);
  check_range(op, "dilation", options.dilation, space, 1);
  check_range(op, "padding", options.padding, space, 0);
  check_range(op, "padding", options.padding_after, space, 0);
  if (options.transposed) check_range(op, "output_padding", options.output_padding, space, 0);
  const Shape out = output_space(op, x, weight, options);
  Geometry at{.op = op, .groups = options.groups, .image = space_of(x), .kernel = space_of(weight), .out = out};
  at.stride = options.stride, at.padding = options.padding, at.dilation = options.dilation;
  if (!options.transposed) {
    checked_numel(op.c_str(), with_space(x.size(0), weight.size(0), out));
    return conv_forward(at, x, weight, bias, options.relu);
  }
  std::swap(at.image, at.out);
  checked_numel(op.c_str(), with_space(x.size(0), weight.size(1) * options.groups, out));
  return conv_input(at, x, weight, bias, options.relu);
}

}  // namespace dd2424::ops
