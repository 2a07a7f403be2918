#pragma once
// Filters on their way to the points.
#include "cpu/conv_winograd_tiles.h"

namespace dd2424::cpu::DD2424_ISA {
namespace {

constexpr Index kFilterInputs = 16;           // whose filters are transformed together, at most
constexpr Index kWidth = kPanelWidth<float>;  // of a panel of outputs

struct Filters {
  const float* data;
  Index kernel;              // along an axis
  Index output, input, tap;  // strides
  bool rotated;              // taps come from the last to the first
};

// Filters in vectors over the outputs: tap q of input i at i * input + q * tap.
struct FilterStage {
  Index input, tap;
};
inline FilterStage stage_filters(const Filters& f, Index o, Index outputs, Index c, Index inputs, float* stage) {
  const Index taps = f.kernel * f.kernel;
  const float* from = f.data + o * f.output + c * f.input;
  if (outputs < kWidth) memset(stage, 0, std::size_t(inputs * taps * kWidth) * sizeof *stage);
  if (f.tap == 1) {
    if (f.input == taps) copy_transposed(stage, kWidth, from, f.output, outputs, inputs * taps);
    else
      for (Index i = 0; i < inputs; ++i)
        copy_transposed(stage + i * taps * kWidth, kWidth, from + i * f.input, f.output, outputs, taps);
    return {taps * kWidth, kWidth};
  }
  for (Index q = 0; q < taps; ++q, from += f.tap) {
    float* to = stage + q * inputs * kWidth;
    if (f.input == 1) copy_transposed(to, kWidth, from, f.output, outputs, inputs);
    else
      for (Index i = 0; i < inputs; ++i) map(to + i * kWidth, outputs, [](auto v) { return v; }, from + i * f.input);
  }
  return {kWidth, inputs * kWidth};
}

// Which of the kernel's taps is tap i of a phase; -1 where it is none.
inline Index tap_of(const PhaseAxis& axis, Index stride, bool rotated, Index i) {
  return i >= axis.taps ? -1 : (rotated ? axis.taps - 1 - i : i) * stride + axis.tap;
}

// Brings the filters of a phase, a panel of outputs and some inputs to the points: `point` apart, (input, kWidth) each.
template <int Taps>
void transform_filters(const Filters& f, const Phase& phase, Index stride, Index o, Index outputs, Index c,
                       Index inputs, float* out, Index point, float* stage) {
  const Index together = smaller(kFilterInputs, kStageSize / (f.kernel * f.kernel * kWidth));
  Index taps[Taps][Taps];
  for (Index h = 0; h < Taps; ++h)
    for (Index w = 0; w < Taps; ++w) {
      const Index row = tap_of(phase.h, stride, f.rotated, h), column = tap_of(phase.w, stride, f.rotated, w);
      taps[h][w] = row < 0 || column < 0 ? -1 : row * f.kernel + column;
    }
  for (Index first = 0; first < inputs; first += together) {
    const Index count = smaller(together, inputs - first);
    const FilterStage at = stage_filters(f, o, outputs, c + first, count, stage);
    for (Index i = 0; i < count; ++i) {
      for (Index v = 0; v < smaller(kWidth, outputs); v += kLanes<float>) {
        const float* from = stage + i * at.input + v;
        float* to = out + (first + i) * kWidth + v;
        const auto read = [&](int h, int w) { return taps[h][w] < 0 ? Floats{} : load(from + taps[h][w] * at.tap); };
        using Transform = FilterTransform<Taps>;
        both_ways<Transform>(read, [&](int h, int w, Floats x) { store(to + (h * Transform::kOut + w) * point, x); });
      }
    }
  }
}

}  // namespace
}  // namespace dd2424::cpu::DD2424_ISA
