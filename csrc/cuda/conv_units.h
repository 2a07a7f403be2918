#pragma once
#include "cuda/conv_arrange.h"

// Operands of the products that convolutions are, where channels lie side by side in whole units: all that is asked
// about an element in the innermost loop is answered by a few additions and one comparison of bits.
namespace dd2424::cuda {

// n / by for 0 <= n < 2^31.
struct Divisor {
  int by, shift;
  std::uint32_t factor;
  Divisor() : Divisor(1) {}
  explicit Divisor(Index by) : by(narrow(by)), shift(31) {
    while ((Index{1} << (shift - 31)) < by) ++shift;
    factor = static_cast<std::uint32_t>(((std::uint64_t{1} << shift) + by - 1) / by);
  }
  __device__ int quotient(int n) const { return static_cast<int>((std::uint64_t{factor} * n) >> shift); }
};

// Steps over taps and, within a tap, over channels. A tap is told by three bits, one for each dimension of space, and a
// row by those of all taps that it meets inside of the image.
constexpr int kMostTapBits = 40;  // some are left over for steps beyond the last tap, which no row meets
struct TapWalk {
  int channels, channel_step;
  int taps[kSpace], tap_step[kSpace];
  int low[kSpace];  // a dimension's first bit
  Divisor by_channels, by_lines, by_columns;

  struct Step {
    int number, channel, offset;
    std::uint64_t bits;
  };
  __device__ std::uint64_t first_bit(int d) const { return std::uint64_t{1} << low[d]; }
  __device__ std::uint64_t last_bit(int d) const { return std::uint64_t{1} << (low[d] + taps[d] - 1); }
  __device__ Step step(Index k) const {
    const int number = static_cast<int>(k), tap = by_channels.quotient(number), line = by_columns.quotient(tap);
    Step y{.number = number, .channel = number - tap * channels};
    const int depth = by_lines.quotient(line), at[kSpace] = {depth, line - depth * taps[1], tap - line * taps[2]};
    y.offset = y.channel * channel_step;
#pragma unroll
    for (int d = 0; d < kSpace; ++d) y.offset += at[d] * tap_step[d], y.bits |= first_bit(d) << at[d];
    return y;
  }
  __device__ void advance(Step& x, int by) const {
    if (by > channels) {  // over several taps at once
      x = step(x.number + by);
      return;
    }
    x.number += by, x.channel += by, x.offset += by * channel_step;
    if (x.channel < channels) return;
    x.channel -= channels, x.offset -= channels * channel_step;
    next_tap(x);
  }

 private:
  __device__ void next_tap(Step& x) const {
#pragma unroll
    for (int d = kSpace - 1; d > 0; --d) {
      const std::uint64_t last = last_bit(d);
      x.offset += tap_step[d];
      if (!(x.bits & last)) {
        x.bits += x.bits & (last - first_bit(d));  // one bit, which moves up
        return;
      }
      x.bits += first_bit(d) - last;
      x.offset -= taps[d] * tap_step[d];
    }
    x.bits += x.bits & ~(first_bit(0) - 1);
    x.offset += tap_step[0];
  }
};
inline TapWalk tap_walk(Index channels, Index channel_step, const Axis (&axes)[kSpace]) {
  TapWalk y{.channels = narrow(channels), .channel_step = narrow(channel_step)};
  int low = 0;
  for (int d = kSpace - 1; d >= 0; --d) {
    y.taps[d] = axes[d].taps > 0 ? axes[d].taps : 1;  // without taps there are no steps
    y.low[d] = low, low += y.taps[d];
  }
  y.by_channels = Divisor(channels), y.by_lines = Divisor(y.taps[1]), y.by_columns = Divisor(y.taps[2]);
  return y;
}

struct TapRow {
  Index offset;
  std::uint64_t meets;  // the bits of the taps that are inside
};

// Images: rows are the pixels that a filter's first tap meets.
template <class T>
struct Patches {
  static constexpr Index kWidest = 128;
  static constexpr bool k_first = true, vector = true;
  const T* data;
  Walk<true> rows;
  Index row_count;
  TapWalk steps;
  int image[kSpace], pixel_step[kSpace];

  explicit Patches(const Correlation<T>& c) : data(c.x), rows{}, steps(tap_walk(c.inputs, 1, c.axes)) {
    rows.counts = counts(c.batch, c.axes[0].out, c.axes[1].out, c.axes[2].out);
    rows.step[0] = narrow(c.x_at.image);
    for (int d = 0; d < kSpace; ++d) {
      const Axis& axis = c.axes[d];
      rows.start += axis.at * c.x_at.pixel[d];
      rows.origin[d] = axis.at;
      rows.step[d + 1] = narrow(axis.step * c.x_at.pixel[d]);
      rows.pixel_step[d] = axis.step;
      steps.tap_step[d] = narrow(axis.tap_step * c.x_at.pixel[d]);
      image[d] = axis.image, pixel_step[d] = axis.tap_step;
    }
    row_count = length(rows);
  }
  using Row = TapRow;
  using Step = TapWalk::Step;
  __device__ Row row(Index r) const {
    if (r >= row_count) return {0, 0};
    const Digits x = digits_of(rows.counts, r);
    Row y{rows.offset(x), 0};
#pragma unroll
    for (int d = 0; d < kSpace; ++d) {
      int pixel = rows.pixel(x, d);
      std::uint64_t bit = steps.first_bit(d);
      for (int tap = 0; tap < steps.taps[d]; ++tap, pixel += pixel_step[d], bit <<= 1)
        if (static_cast<unsigned>(pixel) < static_cast<unsigned>(image[d])) y.meets |= bit;
    }
    return y;
  }
  __device__ Step step(Index k) const { return steps.step(k); }
  __device__ void advance(Step& step, int by) const { steps.advance(step, by); }
  __device__ bool inside(const Row& row, const Step& step) const { return (row.meets & step.bits) == step.bits; }
  __device__ Index offset(const Row& row, const Step& step) const { return row.offset + step.offset; }
};

// Filters: rows are the channels of y; along_k: those of x lie side by side, else those of y do.
template <class T, bool along_k>
struct Filters {
  static constexpr bool k_first = along_k, vector = true;
  const T* data;
  Index start, row_step;
  int row_count, channels;  // fewer than those of the steps where these are whole units
  TapWalk steps;

  explicit Filters(const Correlation<T>& c)
      : data(c.weight), start(0), row_step(c.weight_output), steps(tap_walk(c.inputs, c.weight_input, c.axes)) {
    row_count = narrow(along_k ? c.outputs : whole_units<T>(c.outputs));
    channels = narrow(c.inputs);
    for (int d = 0; d < kSpace; ++d) {
      start += c.axes[d].q * c.weight_tap[d];
      steps.tap_step[d] = narrow(c.axes[d].q_step * c.weight_tap[d]);
    }
  }
  using Row = TapRow;
  using Step = TapWalk::Step;
  __device__ Row row(Index r) const {
    if (r >= row_count) return {0, 0};
    return {start + r * row_step, (std::uint64_t{1} << (steps.low[0] + steps.taps[0])) - 1};
  }
  __device__ Step step(Index k) const { return steps.step(k); }
  __device__ void advance(Step& step, int by) const { steps.advance(step, by); }
  __device__ bool inside(const Row& row, const Step& step) const {
    return step.channel < channels && (row.meets & step.bits) == step.bits;
  }
  __device__ Index offset(const Row& row, const Step& step) const { return row.offset + step.offset; }
};

// Images, for the gradient of the filters: rows are taps and channels, steps the pixels of y that meet them.
template <class T>
struct Surroundings {
  static constexpr bool k_first = false, vector = true;
  const T* data;
  Index row_count;
  int channels, pixels, first;  // of all pixels; where the steps begin
  int kernel[kSpace], dilation[kSpace], stride[kSpace], padding[kSpace], image[kSpace];
  int image_step, pixel_step[kSpace];
  Divisor out[kSpace];

  Surroundings(const T* x, const ConvSizes& s, const Layout& at)
      : data(x), channels(narrow(s.inputs / s.groups)), first(0), image_step(narrow(at.image)) {
    row_count = channels, pixels = narrow(s.batch);
    for (int d = 0; d < kSpace; ++d) {
      row_count *= s.kernel[d], pixels *= narrow(s.out[d]);
      kernel[d] = narrow(s.kernel[d]), dilation[d] = narrow(s.dilation[d]), stride[d] = narrow(s.stride[d]);
      padding[d] = narrow(s.padding[d]), image[d] = narrow(s.image[d]), pixel_step[d] = narrow(at.pixel[d]);
      out[d] = Divisor(s.out[d]);
    }
  }
  struct Row {
    int offset, tap[kSpace];
  };
  struct Step {
    Index offset;
    int number, pixel[kSpace];
  };
  __device__ Row row(Index r) const {
    if (r >= row_count) return {0, {kOutside, 0, 0}};
    int tap = static_cast<int>(r) / channels;
    Row y{.offset = static_cast<int>(r) - tap * channels};
#pragma unroll
    for (int d = kSpace - 1; d >= 0; --d) {
      const int rest = tap / kernel[d];
      y.tap[d] = (tap - rest * kernel[d]) * dilation[d];
      y.offset += y.tap[d] * pixel_step[d];
      tap = rest;
    }
    return y;
  }
  __device__ Step step(Index k) const { return place(first + static_cast<int>(k)); }
  __device__ void advance(Step& step, int by) const { step = place(step.number + by); }
  __device__ bool inside(const Row& row, const Step& step) const {
    bool is = step.number < pixels;
#pragma unroll
    for (int d = 0; d < kSpace; ++d)
      is = is && static_cast<unsigned>(row.tap[d] + step.pixel[d]) < static_cast<unsigned>(image[d]);
    return is;
  }
  __device__ Index offset(const Row& row, const Step& step) const { return step.offset + row.offset; }

 private:
  __device__ Step place(int number) const {
    Step y{.offset = 0, .number = number};
    int rest = number;
#pragma unroll
    for (int d = kSpace - 1; d >= 0; --d) {
      const int more = out[d].quotient(rest);
      y.pixel[d] = (rest - more * out[d].by) * stride[d] - padding[d];
      y.offset += y.pixel[d] * pixel_step[d];
      rest = more;
    }
    y.offset += static_cast<Index>(rest) * image_step;
    return y;
  }
};

// The gradient by y beside them: rows are the channels of y, steps its pixels.
template <class T>
struct Slopes {
  static constexpr bool k_first = false, vector = true;
  const T* data;
  int row_count, pixels, pixel_step;
  using Row = int;  // beyond the last, -1
  using Step = int;
  __device__ Row row(Index r) const { return r < row_count ? static_cast<int>(r) : -1; }
  __device__ Step step(Index k) const { return static_cast<int>(k); }
  __device__ void advance(Step& step, int by) const { step += by; }
  __device__ bool inside(const Row& row, const Step& step) const { return row >= 0 && step < pixels; }
  __device__ Index offset(const Row& row, const Step& step) const {
    return static_cast<Index>(step) * pixel_step + row;
  }
};

}  // namespace dd2424::cuda
