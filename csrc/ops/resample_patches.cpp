#include "ops/resample.h"
#include "ops/shape.h"

namespace dd2424::ops {
namespace {

struct Geometry {
  Shape image, out;
  PatchOptions options;
};

Tensor unfold(const Tensor& x, const Geometry& at);
Tensor fold(const Tensor& columns, const Geometry& at);

struct UnfoldNode final : Node {
  Geometry at;
  explicit UnfoldNode(const Geometry& at) : at(at) {}
  const char* name() const override { return "unfold"; }
  Tensors backward(const Tensors& grads, const Needs&) override { return {fold(grads[0], at)}; }
};
struct FoldNode final : Node {
  Geometry at;
  explicit FoldNode(const Geometry& at) : at(at) {}
  const char* name() const override { return "fold"; }
  Tensors backward(const Tensors& grads, const Needs&) override { return {unfold(grads[0], at)}; }
};

template <class T>
Patches<T> patches(const Tensor& x, const Tensor& columns, const Geometry& at) {
  Patches<T> a{.x = x.data<T>(), .columns = columns.data<T>(), .planes = x.size(0) * x.size(1)};
  for (int d = 0; d < Patches<T>::kSpace; ++d) {
    a.image[d] = at.image[d], a.out[d] = at.out[d], a.kernel[d] = at.options.kernel[d];
    a.stride[d] = at.options.stride[d], a.dilation[d] = at.options.dilation[d], a.padding[d] = at.options.padding[d];
  }
  return a;
}

Tensor unfold(const Tensor& input, const Geometry& at) {
  const Tensor x = contiguous(input);
  const Shape& kernel = at.options.kernel;
  const Shape shape{x.size(0), checked_numel("unfold", {x.size(1), kernel[0], kernel[1]}), product(at.out)};
  checked_numel("unfold", shape);
  const Tensor columns = empty(shape, x.dtype(), x.device());
  dispatch_float("unfold", x.dtype(), [&]<class T>(T) {
    if (columns.numel() == 0) return;
    run("unfold", kernels<ResampleKernels<T>>(x.device()).unfold, columns.numel(), 0, patches<T>(x, columns, at));
  });
  record<UnfoldNode>(columns, {&x}, at);
  return columns;
}

Tensor fold(const Tensor& input, const Geometry& at) {
  const Tensor columns = contiguous(input);
  const Shape shape{columns.size(0), columns.size(1) / product(at.options.kernel), at.image[0], at.image[1]};
  checked_numel("fold", shape);
  const Tensor x = empty(shape, columns.dtype(), columns.device());
  dispatch_float("fold", x.dtype(), [&]<class T>(T) {
    if (x.numel() == 0) return;
    run("fold", kernels<ResampleKernels<T>>(x.device()).fold, columns.numel(), 0, patches<T>(x, columns, at));
  });
  record<FoldNode>(x, {&columns}, at);
  return x;
}

constexpr Index kMost = Index(1) << 31;  // products of two such numbers cannot overflow

void check_range(const char* op, const char* argument, const Shape& values, Index least) {
  check(values.size() == 2, op, ": ", argument, " must be one number or two, got ", values);
  for (Index value : values)
    check(value >= least && value < kMost, op, ": ", argument, " must be at least ", least, " and below 2^31, got ",
          values);
}
void check_options(const char* op, const PatchOptions& options) {
  check_range(op, "kernel_size", options.kernel, 1);
  check_range(op, "dilation", options.dilation, 1);
  check_range(op, "padding", options.padding, 0);
  check_range(op, "stride", options.stride, 1);
}

// How many places the kernel has along each dimension; less than 1 where it does not fit.
Shape places(const Shape& image, const PatchOptions& options) {
  Shape out;
  for (int d = 0; d < 2; ++d) {
    const Index room = image[d] + 2 * options.padding[d] - options.dilation[d] * (options.kernel[d] - 1) - 1;
    out.push_back(room < 0 ? 0 : room / options.stride[d] + 1);
  }
  return out;
}

}  // namespace

Tensor unfold_images(const Tensor& x, const PatchOptions& options) {
  if (mode_is_active()) [[unlikely]]
    return through_door({"unfold", {x}, [=](const Tensors& t) { return unfold_images(t[0], options); }});
  check_options("unfold", options);
  check(x.ndim() == 3 || x.ndim() == 4, "unfold: input must be (N, C, H, W) or (C, H, W), got ", x.shape());
  if (x.ndim() == 3) return squeeze(unfold_images(unsqueeze(x, 0), options), {0});
  for (int d = 1; d < 4; ++d)
    check(x.size(d) > 0 && x.size(d) < kMost, "unfold: input must not be empty but for its batch, got ", x.shape());
  const Shape image{x.size(2), x.size(3)}, out = places(image, options);
  check(product(out) > 0, "unfold: kernel_size must fit into the padded input, got ", options.kernel, " with dilation ",
        options.dilation, " and padding ", options.padding, " for input ", x.shape());
  return unfold(x, {image, out, options});
}

Tensor fold_images(const Tensor& columns, const Shape& size, const PatchOptions& options) {
  if (mode_is_active()) [[unlikely]]
    return through_door({"fold", {columns}, [=](const Tensors& t) { return fold_images(t[0], size, options); }});
  check_options("fold", options);
  check_range("fold", "output_size", size, 1);
  check(columns.ndim() == 2 || columns.ndim() == 3, "fold: input must be (N, C * KH * KW, L) or (C * KH * KW, L), got ",
        columns.shape());
  if (columns.ndim() == 2) return squeeze(fold_images(unsqueeze(columns, 0), size, options), {0});
  const Index taps = checked_numel("fold", options.kernel);
  const Shape out = places(size, options);
  check(columns.size(1) > 0 && columns.size(1) % taps == 0, "fold: input must have a multiple of ", taps,
        " rows, the product of kernel_size, got ", columns.shape());
  check(columns.size(2) == product(out) && product(out) > 0, "fold: input must have ", out[0], " * ", out[1],
        " columns for output_size ", size, ", got ", columns.shape());
  return fold(columns, {size, out, options});
}

}  // namespace dd2424::ops
