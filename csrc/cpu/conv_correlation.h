#pragma once
// What the forward pass and the gradient by the input have in common: taps that slide over images.
#include "core/parallel.h"
#include "cpu/conv_pack.h"
#include "cpu/sizes.h"

namespace dd2424::cpu::DD2424_ISA {
namespace {

constexpr Index kStreamedBytes = 32 << 20;  // of y: the third-level cache
constexpr Index kConvGrain = 1 << 18;       // multiplications that are worth a thread

// y[n, o, origin + j * y_step] = bias[o] + sum over taps and c of weight[o, c, tap] * x[n, c, j * step + tap's place]
template <class T>
struct Correlation {
  Images<const T> x;
  Images<T> y;
  Weights<T> weights;
  const Accumulator<T>* bias;            // or null
  Index batch, groups, inputs, outputs;  // channels of one group
  Index weights_group;                   // from a group's weights to the next's
  Index kernel[kSpace];
  Index grid[kSpace], step[kSpace];      // outputs to compute
  Index origin[kSpace], y_step[kSpace];  // where they lie in y
  Axis axes[kSpace];
  bool relu;
  bool fills_gaps = false;  // pixels of y that are not in the grid become 0; y's channels are neighbours, of one group

  Index taps() const { return axes[0].count * axes[1].count * axes[2].count; }
  bool is_empty() const { return taps() * inputs == 0; }

  // Whether y is so large that what is stored first is gone from the caches before the last is, and is aligned.
  bool can_stream() const {
    const Index bytes = batch * y.batch * Index(sizeof(T)), lanes = kLanes<Accumulator<T>>;
    return std::is_same_v<T, Accumulator<T>> && bytes >= kStreamedBytes && y.space[2] % lanes == 0 &&
           is_aligned(y.data);
  }
};

// One pixel after the other is a row, whatever the image, where kernels are of one pixel: a longer one than any
// image's.
template <class T>
Correlation<T> as_one_row(Correlation<T> c) {
  bool is_plain = c.x.channel == 1 && c.y.channel == 1;
  Index pixels = c.batch;
  for (int d = 0; d < kSpace; ++d) {
    is_plain = is_plain && c.axes[d].count == 1 && c.axes[d].at == 0 && c.step[d] == 1 && c.y_step[d] == 1;
    is_plain = is_plain && c.x.size[d] == c.grid[d] && c.y.size[d] == c.grid[d];
    pixels *= c.grid[d];
  }
  Index apart = c.x.space[kSpace - 1];  // of x, of which every second pixel may be meant
  for (int d = kSpace - 1; d >= 0; --d) {
    is_plain = is_plain && (c.x.size[d] == 1 || c.x.space[d] == apart);
    apart *= c.x.size[d];
  }
  is_plain = is_plain && (c.batch == 1 || c.x.batch == apart);
  if (!is_plain) return c;
  const Index size = larger(1, c.grid[0] * c.grid[1] * c.grid[2]);
  c.x.space[kSpace - 1] = c.x.batch / size, c.y.space[kSpace - 1] = c.y.batch / size;  // a lone pixel's may be another
  for (int d = 0; d < kSpace; ++d) c.x.size[d] = c.y.size[d] = c.grid[d] = d == kSpace - 1 ? pixels : 1;
  c.y.batch *= c.batch, c.x.batch *= c.batch, c.batch = 1;
  return c;
}

// Cuts off the taps that meet the image at no output.
inline void trim(Axis& axis, Index grid, Index step, Index size) {
  while (axis.count > 0 && axis.at + (grid - 1) * step < 0)
    axis.at += axis.at_step, axis.q += axis.q_step, --axis.count;
  while (axis.count > 0 && axis.at + (axis.count - 1) * axis.at_step >= size) --axis.count;
}

// The taps of one dimension that meet the image at an output: first .. end.
struct Met {
  Index first, end;
};
inline Met taps_met(const Axis& axis, Index start, Index size) {
  Met met{0, axis.count};
  while (met.first < met.end && start + met.first * axis.at_step < 0) ++met.first;
  while (met.first < met.end && start + (met.end - 1) * axis.at_step >= size) --met.end;
  return met;
}
// The outputs of a row all of whose taps meet the image: first .. end.
inline Met whole_outputs(const Axis& axis, Index step, Index grid, Index size) {
  const Index first = axis.at >= 0 ? 0 : ceil_div(-axis.at, step), last = size - axis.at - axis.span();
  const Index end = last < 0 ? 0 : smaller(grid, last / step + 1);
  return first < end ? Met{first, end} : Met{0, 0};
}

// The pixels of y that are nearer to those of a box of the grid, `first` and so many after it, than to others become 0
// if they are not in the grid.
template <class T>
void fill_gaps(const Correlation<T>& c, Index n, const Index (&first)[kSpace], const Index (&count)[kSpace]) {
  Index begin[kSpace], end[kSpace];
  for (int i = 0; i < kSpace; ++i) {
    begin[i] = first[i] * c.y_step[i], end[i] = (first[i] + count[i]) * c.y_step[i];
    if (first[i] + count[i] == c.grid[i]) end[i] = c.y.size[i];
  }
  const auto is_met = [&c](int i, Index at) { return at % c.y_step[i] == c.origin[i] && at / c.y_step[i] < c.grid[i]; };
  for (Index d = begin[0]; d < end[0]; ++d)
    for (Index h = begin[1]; h < end[1]; ++h) {
      T* row = c.y.data + n * c.y.batch + d * c.y.space[0] + h * c.y.space[1];
      const auto fill = [&](Index w, Index until) {
        if (until > w) memset(row + w * c.y.space[2], 0, std::size_t((until - w) * c.y.space[2]) * sizeof *row);
      };
      Index filled = begin[2];
      for (Index w = first[2]; is_met(0, d) && is_met(1, h) && w < first[2] + count[2]; ++w) {
        const Index pixel = w * c.y_step[2] + c.origin[2];
        fill(filled, pixel);
        filled = pixel + 1;
      }
      fill(filled, end[2]);
    }
}

// No tap meets the image: the bias alone.
template <class T>
void fill_with_bias(const Correlation<T>& c) {
  using Acc = Accumulator<T>;
  const Index channels = c.groups * c.outputs, step = c.y_step[2] * c.y.space[2];
  const auto value = [&](Acc bias) { return c.relu && bias < 0 ? Acc(0) : bias; };
  parallel_for(c.batch * c.grid[0] * c.grid[1], 1 + kConvGrain / 8 / (channels * c.grid[2]),
               [&](Index begin, Index end) {
                 for (Index row = begin; row < end; ++row) {
                   const Index h = row % c.grid[1], d = row / c.grid[1] % c.grid[0], n = row / c.grid[1] / c.grid[0];
                   T* y = c.y.data + n * c.y.batch + (c.origin[0] + d * c.y_step[0]) * c.y.space[0] +
                          (c.origin[1] + h * c.y_step[1]) * c.y.space[1] + c.origin[2] * c.y.space[2];
                   if (c.y.channel == 1 && !c.bias) {
                     for (Index w = 0; w < c.grid[2]; ++w) memset(y + w * step, 0, std::size_t(channels) * sizeof *y);
                     continue;
                   }
                   for (Index o = 0; o < channels; ++o) {
                     const T filled = narrowed<T>(c.bias ? value(c.bias[o]) : Acc(0));
                     for (Index w = 0; w < c.grid[2]; ++w) y[o * c.y.channel + w * step] = filled;
                   }
                 }
               });
}

}  // namespace
}  // namespace dd2424::cpu::DD2424_ISA
