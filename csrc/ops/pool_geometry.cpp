#include "ops/pool.h"
#include "ops/shape.h"

namespace dd2424::ops::pool {
namespace {

constexpr Index kMost = Index(1) << 31;  // of a size, stride, padding or dilation: their products cannot overflow
constexpr int kSpace = PoolSizes::kSpace;

Shape per_dimension(const std::string& op, const char* argument, const Shape& values, int space) {
  check(values.size() == 1 || values.size() == space, op, ": ", argument, " must have 1 or ", space, " elements, got ",
        values);
  return values.size() == space ? values : Shape::filled(space, values[0]);
}
void check_range(const std::string& op, const char* argument, const Shape& values, Index least) {
  for (Index value : values)
    check(value >= least && value < kMost, op, ": ", argument, " must be at least ", least, " and below 2^31, got ",
          values);
}

constexpr PoolAxis kPoint{.in = 1, .out = 1, .kernel = 1, .stride = 1, .padding = 0, .dilation = 1, .adaptive = false};

Index floor_divide(Index a, Index b) { return a / b - (a % b < 0); }

Index output_size(const PoolAxis& axis, bool ceil_mode) {
  const Index padded = axis.in + 2 * axis.padding, reach = axis.dilation * (axis.kernel - 1) + 1;
  const Index out = floor_divide(padded - reach + (ceil_mode ? axis.stride - 1 : 0), axis.stride) + 1;
  return ceil_mode && (out - 1) * axis.stride >= axis.in + axis.padding ? out - 1 : out;  // the last begins inside
}

// Taps that lie far apart may all fall into the padding.
bool has_empty_window(const PoolAxis& axis) {
  if (axis.padding == 0 || axis.dilation == 1) return false;
  for (Index o = 0; o < axis.out; ++o) {
    const Index first = o * axis.stride - axis.padding;
    const Index begin = first < 0 ? (-first + axis.dilation - 1) / axis.dilation : 0;
    if (begin >= axis.kernel || first + begin * axis.dilation >= axis.in) return true;
  }
  return false;
}

void check_window(const Geometry& at, const PoolAxis& axis, const Tensor& x) {
  const Index reach = axis.dilation * (axis.kernel - 1) + 1;
  check(2 * axis.padding <= reach, at.op, ": padding must be at most half of the kernel, got padding ", axis.padding,
        " with kernel_size ", axis.kernel, " and dilation ", axis.dilation);
  check(axis.out > 0, at.op, ": kernel must not be larger than the padded input: it reaches over ", reach,
        ", padded input has ", axis.in + 2 * axis.padding, " (input ", x.shape(), ")");
  check(!has_empty_window(axis), at.op, ": windows must meet the input, got one in the padding alone: kernel_size ",
        axis.kernel, ", dilation ", axis.dilation, ", padding ", axis.padding, ", input ", x.shape());
}

}  // namespace

std::string name(const char* kind, int space) { return kind + std::to_string(space) + "d"; }

Tensor batched(const std::string& op, int space, const Tensor& x) {
  check(x.ndim() == space + 2 || x.ndim() == space + 1, op, ": input must have ", space + 2,
        " dimensions or, without a batch, ", space + 1, ", got shape ", x.shape());
  return x.ndim() == space + 2 ? x : unsqueeze(contiguous(x), 0);
}

Geometry windows(const std::string& op, int space, const Tensor& x, const PoolOptions& options) {
  Geometry at{op, {}, space};
  const Shape kernel = per_dimension(op, "kernel_size", options.kernel, space);
  const Shape stride = options.stride.empty() ? kernel : per_dimension(op, "stride", options.stride, space);
  const Shape padding = per_dimension(op, "padding", options.padding, space);
  const Shape dilation = per_dimension(op, "dilation", options.dilation, space);
  check_range(op, "kernel_size", kernel, 1);
  check_range(op, "stride", stride, 1);
  check_range(op, "padding", padding, 0);
  check_range(op, "dilation", dilation, 1);
  for (int d = 1; d < x.ndim(); ++d)
    check(x.size(d) > 0 && x.size(d) < kMost, op, ": input must not be empty but for its batch, got shape ", x.shape());
  Index taps = 1;
  for (int d = 0; d < kSpace; ++d) {
    PoolAxis& axis = at.sizes.axes[d] = kPoint;
    const int i = d - (kSpace - space);
    if (i < 0) continue;
    axis = {x.size(i + 2), 0, kernel[i], stride[i], padding[i], dilation[i], false};
    axis.out = output_size(axis, options.ceil_mode);
    check_window(at, axis, x);
    check(!__builtin_mul_overflow(taps, axis.kernel, &taps) && taps < kMost, op,
          ": kernel_size must have fewer than 2^31 elements, got ", kernel);
  }
  return at;
}

Geometry adaptive(const std::string& op, int space, const Tensor& x, const Shape& wanted) {
  Geometry at{op, {}, space};
  const Shape sizes = per_dimension(op, "output_size", wanted, space);
  for (int d = 2; d < x.ndim(); ++d)
    check(x.size(d) > 0 && x.size(d) < kMost, op, ": input must not be empty in space, got shape ", x.shape());
  for (int d = 0; d < kSpace; ++d) {
    PoolAxis& axis = at.sizes.axes[d] = kPoint;
    const int i = d - (kSpace - space);
    if (i < 0) continue;
    axis.in = x.size(i + 2), axis.out = sizes[i];
    check(axis.out >= 0 && axis.out < kMost, op, ": output_size must be from 0 to 2^31 - 1, got ", sizes);
    if (axis.out == 0) continue;
    if (axis.in % axis.out == 0) {  // all windows are alike: no table is needed to say so
      axis.kernel = axis.stride = axis.in / axis.out;
    } else {
      axis.adaptive = true;
      axis.kernel = axis.in / axis.out + 2;  // most that a window of this length can touch
    }
  }
  return at;
}

}  // namespace dd2424::ops::pool
