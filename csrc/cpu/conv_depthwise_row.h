#pragma once
// Rows of three neighbouring taps, lane by lane: a pixel is loaded once for all the outputs that it meets. One pixel on
// either side of the image may be missing: it is zero.
#include "cpu/vec.h"

namespace dd2424::cpu::DD2424_ISA {
namespace {

constexpr int kRowTaps = 3, kRowOutputs = 8;  // sums that stay in registers together

// Brings one of `parts` parts of a row of pixels to the second-level cache. Lanes of one block lie far apart, so that
// the processor does not see that it will be wanted.
template <class X>
void fetch_part(const X* row, Index size, Index number, Index parts) {
  constexpr Index line = 64 / Index(sizeof(X));
  for (Index i = number * size / parts; i < (number + 1) * size / parts; i += line) __builtin_prefetch(row + i, 0, 2);
}

// Keeps x in a register: GCC 12 reads a vector that several sums need from memory again for each of them.
inline void keep(Vec<float>& x) {
#if defined(__x86_64__)
  asm("" : "+v"(x));
#else
  (void)x;
#endif
}

// A line is a row of pixels, its pixel 0 at x + x_at[line], and the weights of its taps.
struct LaneRow {
  const float* x;
  const float* weights;
  const float* bias;  // or null
  float* y;
  const Index* x_at;
  const Index* weight_at;
  Index lines, pixel, tap, y_step;  // strides of neighbours
  Index rows, x_row, y_row;         // rows of outputs, whose lines lie alike, and strides of them
  Index start, size;                // output 0 meets pixels start, start + 1, start + 2 of `size`
  bool relu, streams;
};

template <int Outputs, int Step>
void slide_outputs(const LaneRow& in, Index row, Index first) {
  constexpr int pixels = (Outputs - 1) * Step + kRowTaps;
  const Index start = first * Step + in.start;
  const bool has_first = start >= 0, has_last = start + pixels <= in.size;
  Vec<float> sums[Outputs] = {};
  for (Index line = 0; line < in.lines; ++line) {
    const float* from = in.x + in.x_at[line] + row * in.x_row + start * in.pixel;
    const float* weights = in.weights + in.weight_at[line];
    const Index ahead = line + 1 == in.lines ? in.x_row : 0;  // the last line: those of the next row of outputs
    Vec<float> taps[kRowTaps];
#pragma GCC unroll 3
    for (int t = 0; t < kRowTaps; ++t) taps[t] = load(weights + t * in.tap);
#pragma GCC unroll 20
    for (int p = 0; p < pixels; ++p, from += in.pixel) {
      const bool exists = p == 0 ? has_first : p == pixels - 1 ? has_last : true;
      Vec<float> x = exists ? load(from) : Vec<float>{};
      keep(x);
      if (ahead && p < Outputs * Step) {
        if (Step == 2) __builtin_prefetch(from + ahead / 2, 0, 2);
        __builtin_prefetch(from + ahead, 0, 2);
      }
#pragma GCC unroll 3
      for (int t = 0; t < kRowTaps; ++t) {
        if (p < t || (p - t) % Step != 0 || (p - t) / Step >= Outputs) continue;
        sums[(p - t) / Step] = fma(x, taps[t], sums[(p - t) / Step]);
      }
    }
  }
  float* y = in.y + row * in.y_row + first * in.y_step;
#pragma GCC unroll 8
  for (int j = 0; j < Outputs; ++j, y += in.y_step) {
    Vec<float> sum = sums[j];
    if (in.bias) sum += load(in.bias);
    if (in.relu) sum = sum < 0.f ? Vec<float>{} : sum;  // a NaN stays one
    if (in.streams) {
      store_around(y, sum);
    } else {
      store(y, sum);
      __builtin_prefetch(y + in.y_row, 1, 2);  // where the next row of outputs goes
    }
  }
}
// Down the rows first: of the lines of one, the next meets all but a row, and finds them in the first-level cache.
template <int Step>
void slide_rows(const LaneRow& in, Index outputs) {
  for (Index j = 0; j < outputs;) {
    const Index left = outputs - j, count = left >= kRowOutputs ? kRowOutputs : left >= 4 ? 4 : 1;
    for (Index row = 0; row < in.rows; ++row) {
      if (count == kRowOutputs) slide_outputs<kRowOutputs, Step>(in, row, j);
      else if (count == 4) slide_outputs<4, Step>(in, row, j);
      else slide_outputs<1, Step>(in, row, j);
    }
    j += count;
  }
}

// The gradient by the weights: sums[sum_at[line] + t * tap] += sum over rows and outputs j of x(j * step + start + t)
// dy(j).
struct LaneRowGradient {
  const float* x;
  const float* dy;
  float* sums;
  const Index* x_at;
  const Index* sum_at;
  Index lines, pixel, tap, dy_step;
  Index rows, x_row, dy_row;
  Index start, size, outputs;
};

template <int Lines, int Step>
void slide_gradient(const LaneRowGradient& in, Index first) {
  Vec<float> sums[Lines][kRowTaps] = {}, left[Lines], middle[Lines];
  const float* from[Lines];
  for (Index row = 0; row < in.rows; ++row) {
#pragma GCC unroll 3
    for (int l = 0; l < Lines; ++l) {
      from[l] = in.x + in.x_at[first + l] + row * in.x_row + (in.start + 1) * in.pixel;  // output 0's middle tap
      left[l] = in.start >= 0 ? load(from[l] - in.pixel) : Vec<float>{};
      middle[l] = load(from[l]);
    }
    const float* dy = in.dy + row * in.dy_row;
    const auto add = [&](Index pixel, bool has_right) {
      Vec<float> gradient = load(dy);
      keep(gradient);
      __builtin_prefetch(dy + in.dy_row, 0, 2);  // what the next row of outputs adds
#pragma GCC unroll 3
      for (int l = 0; l < Lines; ++l) {
        const float* x = from[l] + pixel * in.pixel;
        Vec<float> right = has_right ? load(x + in.pixel) : Vec<float>{};
        keep(right);
        if (l + 1 == Lines) {
#pragma GCC unroll 4
          for (int i = 0; i < Step * Step; ++i)
            __builtin_prefetch(x + (i / Step + 1) * in.x_row / Step + i % Step * in.pixel, 0, 2);
        }
        if (Step == 2) middle[l] = load(x);
        sums[l][0] = fma(left[l], gradient, sums[l][0]);
        sums[l][1] = fma(middle[l], gradient, sums[l][1]);
        sums[l][2] = fma(right, gradient, sums[l][2]);
        if (Step == 1) left[l] = middle[l], middle[l] = right;
        else left[l] = right;
      }
    };
    const Index last = (in.outputs - 1) * Step;
    for (Index pixel = 0; pixel < last; pixel += Step, dy += in.dy_step) add(pixel, true);
    add(last, in.start + last + kRowTaps <= in.size);
  }
#pragma GCC unroll 3
  for (int l = 0; l < Lines; ++l)
#pragma GCC unroll 3
    for (int t = 0; t < kRowTaps; ++t) {
      float* total = in.sums + in.sum_at[first + l] + t * in.tap;
      store(total, load(total) + sums[l][t]);
    }
}
template <int Step>
void slide_rows_gradient(const LaneRowGradient& in) {
  Index line = 0;
  for (; line + 3 <= in.lines; line += 3) slide_gradient<3, Step>(in, line);
  for (; line < in.lines; ++line) slide_gradient<1, Step>(in, line);
}

}  // namespace
}  // namespace dd2424::cpu::DD2424_ISA
