#include "ops/copy.h"
#include "ops/elementwise.h"
#include "ops/reduce.h"
#include "ops/resample.h"
#include "ops/shape.h"

namespace dd2424::ops {
namespace {

// Sampling is linear in the image, and by the grid it differs from its derivative only in the weights' order. So these
// two, with orders raised, are closed under differentiation:
//   y = sample(x, grid):  dx = scatter(dy, grid), dgrid_d = sum over channels of dy * sample, one order higher in d
//   dx = scatter(dy, grid):  ddy = sample(ddx, grid), dgrid_d = sum over channels of dy * the same sample of ddx
Tensor sample(const GridSizes& at, const Tensor& x, const Tensor& grid);
Tensor scatter(const GridSizes& at, const Tensor& dy, const Tensor& grid);

constexpr const char* kOp = "grid_sample";
constexpr int kSpace = GridSizes::kSpace;

Shape space_of(const Index (&sizes)[kSpace], const GridSizes& at) {
  return Shape(sizes + kSpace - at.space, sizes + kSpace);
}
Shape with_space(Index n, Index c, const Shape& space) {
  Shape shape{n, c};
  for (Index size : space) shape.push_back(size);
  return shape;
}

// The gradient by the grid of sum(sample(x, grid) * dy). As operations where it is to be differentiated in turn.
Tensor grid_gradient(const GridSizes& at, const Tensor& x, const Tensor& dy, const Tensor& grid) {
  if (at.kernel == GridKernel::nearest) return zeros(grid.shape(), grid.dtype(), grid.device());
  if (grad_enabled()) {
    Tensors parts;
    for (int d = kSpace - 1; d >= kSpace - at.space; --d) {
      GridSizes higher = at;
      ++higher.order[d];
      parts.push_back(sum(mul(sample(higher, x, grid), dy), {1}));
    }
    return stack(parts, -1);
  }
  const Tensor dgrid = empty(grid.shape(), grid.dtype(), grid.device());
  if (dgrid.numel() == 0) return dgrid;
  dispatch_float(kOp, x.dtype(), [&]<class T>(T) {
    const Tensor input = contiguous(x), gradient = contiguous(dy), places = contiguous(grid);
    run(kOp, kernels<ResampleKernels<T>>(x.device()).grid_gradient, 8 * dy.numel(), 0,
        GridGradient<T>{at, input.data<T>(), gradient.data<T>(), places.data<T>(), dgrid.data<T>()});
  });
  return dgrid;
}

struct SampleNode final : Node {
  GridSizes at;
  Saved x{this}, grid{this};
  explicit SampleNode(const GridSizes& at) : at(at) {}
  const char* name() const override { return kOp; }
  Tensors backward(const Tensors& grads, const Needs& needs) override {
    const Tensor places = grid.get();
    return {needs[0] ? scatter(at, grads[0], places) : Tensor(),
            needs[1] ? grid_gradient(at, x.get(), grads[0], places) : Tensor()};
  }
};
struct ScatterNode final : Node {
  GridSizes at;
  Saved dy{this}, grid{this};
  explicit ScatterNode(const GridSizes& at) : at(at) {}
  const char* name() const override { return kOp; }
  Tensors backward(const Tensors& grads, const Needs& needs) override {
    const Tensor places = grid.get();
    return {needs[0] ? sample(at, grads[0], places) : Tensor(),
            needs[1] ? grid_gradient(at, grads[0], dy.get(), places) : Tensor()};
  }
};

Tensor sample(const GridSizes& at, const Tensor& image, const Tensor& places) {
  const Tensor x = contiguous(image), grid = contiguous(places);
  const Tensor y = empty(with_space(at.batch, at.channels, space_of(at.out, at)), x.dtype(), x.device());
  if (y.numel() > 0) {
    dispatch_float(kOp, x.dtype(), [&]<class T>(T) {
      run(kOp, kernels<ResampleKernels<T>>(x.device()).grid_sample, 8 * y.numel(), 0,
          GridSample<T>{at, x.data<T>(), grid.data<T>(), y.data<T>()});
    });
  }
  if (auto* node = record<SampleNode>(y, {&x, &grid}, at)) {
    node->x.save(x);
    node->grid.save(grid);
  }
  return y;
}

Tensor scatter(const GridSizes& at, const Tensor& gradient, const Tensor& places) {
  const Tensor dy = contiguous(gradient), grid = contiguous(places);
  const Tensor dx = empty(with_space(at.batch, at.channels, space_of(at.image, at)), dy.dtype(), dy.device());
  if (dx.numel() > 0) {
    dispatch_float(kOp, dy.dtype(), [&]<class T>(T) {
      const auto& table = kernels<ResampleKernels<T>>(dy.device());
      run(kOp, table.grid_scatter, 8 * dy.numel(), Scratch(table.grid_scatter_workspace(at), dy.device()),
          GridScatter<T>{at, dy.data<T>(), grid.data<T>(), dx.data<T>()});
    });
  }
  if (auto* node = record<ScatterNode>(dx, {&dy, &grid}, at)) {
    node->dy.save(dy);
    node->grid.save(grid);
  }
  return dx;
}

GridKernel kernel_named(const std::string& mode) {
  if (mode == "bilinear") return GridKernel::linear;
  if (mode == "nearest") return GridKernel::nearest;
  check<ValueError>(mode == "bicubic", "grid_sample: mode must be bilinear, nearest or bicubic, got ", mode);
  return GridKernel::cubic;
}
GridPadding padding_named(const std::string& mode) {
  if (mode == "zeros") return GridPadding::zeros;
  if (mode == "border") return GridPadding::border;
  check<ValueError>(mode == "reflection", "grid_sample: padding_mode must be zeros, border or reflection, got ", mode);
  return GridPadding::reflection;
}

void check_operands(const Tensor& x, const Tensor& grid) {
  check_device("grid_sample", {&x, &grid});
  check(x.ndim() == 4 || x.ndim() == 5, "grid_sample: input must be (N, C, H, W) or (N, C, D, H, W), got ", x.shape());
  check(grid.ndim() == x.ndim() && grid.size(0) == x.size(0) && grid.size(grid.ndim() - 1) == x.ndim() - 2,
        "grid_sample: grid must be (", x.size(0), ", *, ", x.ndim() - 2, ") of ", x.ndim(), " dimensions for input ",
        x.shape(), ", got ", grid.shape());
  check(grid.dtype() == x.dtype(), "grid_sample: grid must have the input's dtype ", x.dtype(), ", got ", grid.dtype());
  check<NotImplementedError>(is_floating(x.dtype()), "grid_sample: input must have a floating dtype, got ", x.dtype());
  Index plane = 1;
  for (int d = 2; d < x.ndim(); ++d) {
    plane *= std::min<Index>(x.size(d), Index(1) << 31);
    check(plane > 0 && plane < Index(1) << 31, "grid_sample: input must have images of 1 to 2^31 - 1 pixels, got ",
          x.shape());
  }
}

}  // namespace

Tensor grid_sample(const Tensor& x, const Tensor& grid, const std::string& mode, const std::string& padding_mode,
                   bool align_corners) {
  if (mode_is_active()) [[unlikely]]
    return through_door(
        {kOp, {x, grid}, [=](const Tensors& t) { return grid_sample(t[0], t[1], mode, padding_mode, align_corners); }});
  GridSizes at{.space = x.ndim() - 2, .batch = 0, .channels = 0};
  at.kernel = kernel_named(mode), at.padding = padding_named(padding_mode), at.align_corners = align_corners;
  check_operands(x, grid);
  check(at.kernel != GridKernel::cubic || at.space == 2,
        "grid_sample: input must have 4 dimensions in mode bicubic, got ", x.shape());
  at.batch = x.size(0), at.channels = x.size(1);
  for (int d = 0; d < kSpace; ++d) {
    const int from = d - (kSpace - at.space);
    at.image[d] = from < 0 ? 1 : x.size(from + 2), at.out[d] = from < 0 ? 1 : grid.size(from + 1);
  }
  if (!is_short(x.dtype())) return sample(at, x, grid);
  return to(sample(at, to(x, DType::float32), to(grid, DType::float32)), x.dtype());
}

}  // namespace dd2424::ops
