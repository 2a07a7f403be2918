#include <array>
#include <bit>
#include <cmath>
#include <numbers>

#include "ops/copy.h"
#include "ops/images.h"
#include "ops/resample.h"
#include "ops/resample_map.h"

namespace dd2424::ops {
namespace {

// One dimension: output i stands at `step` * i of the input's pixels, in some sense of each mode's own.
struct Resizing {
  Index in, out;
  bool align_corners;
  double scale;  // the user's, or 0

  double step() const {
    if (align_corners) return out > 1 ? static_cast<double>(in - 1) / static_cast<double>(out - 1) : 0;
    return scale > 0 ? 1 / scale : static_cast<double>(in) / static_cast<double>(out);
  }
  // Centres of pixels stand at halves.
  double place(Index i) const {
    return align_corners ? step() * static_cast<double>(i) : step() * (static_cast<double>(i) + 0.5) - 0.5;
  }
};

AxisMap identity(Index size) {
  AxisMap map{.in = size};
  for (Index i = 0; i < size; ++i) map.add(i, 1), map.end_row();
  return map;
}

// Rounded as the images are: which neighbour is the nearest hangs by a rounding, and PyTorch takes this one.
template <class F>
AxisMap nearest(const Resizing& r, F shift) {
  AxisMap map{.in = r.in};
  const F step = r.scale > 0 ? static_cast<F>(1 / r.scale) : static_cast<F>(r.in) / static_cast<F>(r.out);
  for (Index i = 0; i < r.out; ++i) {
    const F at = std::floor((static_cast<F>(i) + shift) * step);
    map.add(std::min(static_cast<Index>(at), r.in - 1), 1);
    map.end_row();
  }
  return map;
}

AxisMap linear(const Resizing& r) {
  if (r.in == r.out) return identity(r.in);
  AxisMap map{.in = r.in};
  for (Index i = 0; i < r.out; ++i) {
    const double place = std::max(r.place(i), 0.0);
    const Index first = std::min(static_cast<Index>(place), r.in - 1);
    const double part = std::min(place - static_cast<double>(first), 1.0);
    const bool has_next = part > 0 && first + 1 < r.in;
    map.add(first, has_next ? 1 - part : 1);
    if (has_next) map.add(first + 1, part);
    map.end_row();
  }
  return map;
}

// Keys' kernel: piecewise cubic, through the pixels, with the slope `a` at distance 1.
double keys(double x, double a) {
  x = std::abs(x);
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
}
double triangle(double x) { return std::max(1 - std::abs(x), 0.0); }
double sinc(double x) { return x == 0 ? 1 : std::sin(std::numbers::pi * x) / (std::numbers::pi * x); }
double lanczos(double x) { return std::abs(x) < 3 ? sinc(x) * sinc(x / 3) : 0; }

AxisMap cubic(const Resizing& r) {
  AxisMap map{.in = r.in};
  for (Index i = 0; i < r.out; ++i) {
    const double place = r.place(i), floor = std::floor(place);
    for (int k = -1; k <= 2; ++k) {
      const double weight = keys(place - floor - k, -0.75);
      if (weight != 0) map.add(std::clamp<Index>(static_cast<Index>(floor) + k, 0, r.in - 1), weight);
    }
    map.end_row();
  }
  return map;
}

AxisMap area(const Resizing& r) {
  AxisMap map{.in = r.in};
  for (Index i = 0; i < r.out; ++i) {
    const Index begin = i * r.in / r.out, end = ((i + 1) * r.in + r.out - 1) / r.out;
    for (Index k = begin; k < end; ++k) map.add(k, 1 / static_cast<double>(end - begin));
    map.end_row();
  }
  return map;
}

// The kernel is stretched over all pixels that fall to an output.
template <class Kernel>
AxisMap antialiased(const Resizing& r, double reach, const Kernel& kernel) {
  AxisMap map{.in = r.in};
  const double step = r.step(), stretch = std::max(step, 1.0);
  for (Index i = 0; i < r.out; ++i) {
    const double centre = step * (static_cast<double>(i) + 0.5);
    const Index begin = std::max<Index>(static_cast<Index>(centre - reach * stretch + 0.5), 0);
    const Index end = std::min(static_cast<Index>(centre + reach * stretch + 0.5), r.in);
    double total = 0;
    for (Index k = begin; k < end; ++k) total += kernel((static_cast<double>(k) - centre + 0.5) / stretch);
    for (Index k = begin; k < end; ++k) {
      const double weight = kernel((static_cast<double>(k) - centre + 0.5) / stretch);
      if (weight != 0) map.add(k, total == 0 ? weight : weight / total);
    }
    map.end_row();
  }
  return map;
}

enum class Interpolation : std::uint8_t {
  nearest,
  nearest_exact,
  linear,
  cubic,
  area,
  linear_aa,
  cubic_aa,
  lanczos_aa
};

Interpolation mode_named(const std::string& name, bool antialias, int ndim) {
  constexpr std::array kLinear{"linear", "bilinear", "trilinear"};
  if (name == "nearest") return Interpolation::nearest;
  if (name == "nearest-exact") return Interpolation::nearest_exact;
  if (name == "area") return Interpolation::area;
  if (name == kLinear[static_cast<std::size_t>(ndim - 3)])
    return antialias ? Interpolation::linear_aa : Interpolation::linear;
  if (name == "bicubic" && ndim == 4) return antialias ? Interpolation::cubic_aa : Interpolation::cubic;
  if (name == "lanczos" && ndim == 4 && antialias) return Interpolation::lanczos_aa;
  for (const char* known : {"linear", "bilinear", "trilinear", "bicubic", "lanczos"})
    check<NotImplementedError>(name != known, "interpolate: input must have another number of dimensions for mode ",
                               name, ", got ", ndim);
  throw NotImplementedError(message(
      "interpolate: mode must be nearest, nearest-exact, linear, bilinear, trilinear, bicubic, lanczos or area, "
      "got ",
      name));
}

AxisMap axis_of(Interpolation mode, const Resizing& r, DType dtype) {
  const bool is_double = dtype == DType::float64;
  const auto nearest_at = [&](double shift) {
    return is_double ? nearest<double>(r, shift) : nearest<float>(r, static_cast<float>(shift));
  };
  switch (mode) {
    case Interpolation::nearest: return nearest_at(0);
    case Interpolation::nearest_exact: return nearest_at(0.5);
    case Interpolation::linear: return linear(r);
    case Interpolation::cubic: return cubic(r);
    case Interpolation::area: return area(r);
    case Interpolation::linear_aa: return antialiased(r, 1, triangle);
    case Interpolation::cubic_aa: return antialiased(r, 2, [](double x) { return keys(x, -0.5); });
    case Interpolation::lanczos_aa: break;
  }
  return antialiased(r, 3, lanczos);
}

AxisRef resized_axis(Interpolation mode, const Resizing& r, DType dtype) {
  const Index flags = (r.align_corners ? 1 : 0) + (dtype == DType::float64 ? 2 : 0);
  return axis_for({kInterpolateAxis + static_cast<Index>(mode), r.in, r.out, flags, std::bit_cast<Index>(r.scale)},
                  [&] { return axis_of(mode, r, dtype); });
}

}  // namespace

Tensor interpolate(const Tensor& x, const Shape& size, const std::vector<double>& scales, const std::string& name,
                   bool align_corners, bool antialias) {
  if (mode_is_active()) [[unlikely]]
    return through_door({"interpolate", {x}, [=](const Tensors& t) {
                           return interpolate(t[0], size, scales, name, align_corners, antialias);
                         }});
  check<NotImplementedError>(x.ndim() >= 3 && x.ndim() <= 5, "interpolate: input must have 3 to 5 dimensions, got ",
                             x.shape());
  const Interpolation mode = mode_named(name, antialias, x.ndim());
  check(size.size() == x.ndim() - 2, "interpolate: size must have a number for each of ", x.ndim() - 2,
        " dimensions, got ", size);
  check<NotImplementedError>(
      is_floating(x.dtype()) || (x.dtype() == DType::uint8 && mode <= Interpolation::nearest_exact),
      "interpolate: input must have a floating dtype in mode ", name, ", got ", x.dtype());
  constexpr Index kMost = Index(1) << 31;
  for (int d = 1; d < x.ndim(); ++d)
    check(x.size(d) > 0 && x.size(d) < kMost, "interpolate: input must not be empty but for its batch, got ",
          x.shape());
  for (Index out : size)
    check(out > 0 && out < kMost, "interpolate: size must be positive and below 2^31, got ", size, " for input ",
          x.shape());
  auto map = std::make_shared<Mapping>(Mapping{.op = "interpolate", .axes = {}});
  map->axes.resize(static_cast<std::size_t>(x.ndim()));
  for (int d = 2; d < x.ndim(); ++d) {
    const double scale = scales.empty() ? 0 : scales[static_cast<std::size_t>(d - 2)];
    AxisRef axis = resized_axis(mode, {x.size(d), size[d - 2], align_corners, scale}, x.dtype());
    if (!axis->is_identity) map->axes[static_cast<std::size_t>(d)] = std::move(axis);
  }
  return map_axes(x, map, suggests_channels_last(x));
}

}  // namespace dd2424::ops
