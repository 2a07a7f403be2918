#include "ops/images.h"
#include "ops/resample.h"
#include "ops/resample_map.h"

namespace dd2424::ops {
namespace {

enum class PadMode : std::uint8_t { constant, reflect, replicate, circular };

PadMode mode_named(const std::string& name) {
  if (name == "constant") return PadMode::constant;
  if (name == "reflect") return PadMode::reflect;
  if (name == "replicate") return PadMode::replicate;
  if (name == "circular") return PadMode::circular;
  throw NotImplementedError(message("pad: mode must be constant, reflect, replicate or circular, got ", name));
}

struct Sides {
  Index before, behind;
};

// Where output `at` comes from: `at` counts from the image's first place. -1 for nowhere.
Index source(PadMode mode, Index at, Index size, const Sides& sides) {
  switch (mode) {
    case PadMode::constant: return at < size ? std::max<Index>(at, -1) : -1;
    case PadMode::reflect: return at < 0 ? -at : at < size ? at : 2 * (size - 1) - at;
    case PadMode::replicate: return std::clamp<Index>(at, 0, size - 1);
    case PadMode::circular: break;
  }
  // What is cut off does not come round again.
  const Index begin = std::max<Index>(-sides.before, 0), length = size - begin - std::max<Index>(-sides.behind, 0);
  return begin + ((at - begin) % length + length) % length;
}

AxisRef padded_axis(PadMode mode, Index size, const Sides& sides) {
  return axis_for({kPadAxis, static_cast<Index>(mode), size, sides.before, sides.behind}, [&] {
    AxisMap axis{.in = size};
    for (Index i = 0; i < size + sides.before + sides.behind; ++i) {
      const Index from = source(mode, i - sides.before, size, sides);
      if (from >= 0) axis.add(from, 1);
      axis.end_row();
    }
    return axis;
  });
}

void check_sides(PadMode mode, const Tensor& x, int d, const Sides& sides) {
  constexpr Index kMost = Index(1) << 40;  // sums cannot overflow
  check(std::abs(sides.before) < kMost && std::abs(sides.behind) < kMost, "pad: pad must be below 2^40, got ",
        sides.before, " and ", sides.behind);
  const Index size = x.size(d), out = size + sides.before + sides.behind;
  const Index kept = size + std::min<Index>(sides.before, 0) + std::min<Index>(sides.behind, 0);
  const auto refuse = [&](const char* expected) {
    throw RuntimeError(message("pad: pad must ", expected, ", got ", sides.before, " and ", sides.behind,
                               " in dimension ", d, " of input ", x.shape()));
  };
  if (out < 0 || (mode == PadMode::constant && kept < 0)) refuse("not cut off more than there is");
  if (mode == PadMode::reflect && (sides.before >= size || sides.behind >= size))
    refuse("be smaller than the dimension it reflects");
  if (mode == PadMode::circular && out > 0 && (kept <= 0 || sides.before > kept || sides.behind > kept))
    refuse("not wrap around more than once");
}

// All modes but the constant one pad 1 to 3 dimensions of images, with or without a batch.
void check_images(const Tensor& x, int padded) {
  check<NotImplementedError>(
      padded >= 1 && padded <= 3 && (x.ndim() == padded + 1 || x.ndim() == padded + 2),
      "pad: pad must have 2, 4 or 6 numbers for an input of (N, C, *) or (C, *) in this mode, got ", 2 * padded,
      " for input ", x.shape());
  for (int d = x.ndim() == padded + 2; d < x.ndim(); ++d)
    check(x.size(d) > 0, "pad: input must not be empty but for its batch in this mode, got ", x.shape());
}

}  // namespace

Tensor pad(const Tensor& x, const std::vector<Index>& pads, const std::string& name,
           const std::optional<Scalar>& value) {
  if (mode_is_active()) [[unlikely]]
    return through_door({"pad", {x}, [=](const Tensors& t) { return pad(t[0], pads, name, value); }});
  const int padded = static_cast<int>(pads.size() / 2);
  check(pads.size() % 2 == 0, "pad: pad must have two numbers for each dimension, got ", pads);
  check(padded <= x.ndim(), "pad: pad must have at most two numbers for each dimension of input ", x.shape(), ", got ",
        pads);
  const PadMode mode = mode_named(name);
  if (mode != PadMode::constant) {
    check(!value || value->is_zero(), "pad: value must be None in mode ", name, ", got ", value->floating);
    check_images(x, padded);
  }
  auto map = std::make_shared<Mapping>(Mapping{.op = "pad", .axes = {}});
  map->axes.resize(static_cast<std::size_t>(x.ndim()));
  for (int i = 0; i < padded; ++i) {
    const Sides sides{pads[static_cast<std::size_t>(2 * i)], pads[static_cast<std::size_t>(2 * i + 1)]};
    const int d = x.ndim() - 1 - i;
    check_sides(mode, x, d, sides);
    if (sides.before != 0 || sides.behind != 0)
      map->axes[static_cast<std::size_t>(d)] = padded_axis(mode, x.size(d), sides);
  }
  // As in PyTorch, a circular pad lies channels-first.
  const bool channels_last = mode != PadMode::circular && suggests_channels_last(x);
  return map_axes(x, map, channels_last, value.value_or(Scalar(0)));
}

}  // namespace dd2424::ops
