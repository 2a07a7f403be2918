#pragma once
#include "core/conv.h"
#include "cuda/gemm_tile.h"

// Operands of the product that a convolution is (gemm_tile.h), read where they lie: no matrix of patches is ever made.
// A row, or a step, of such an operand is a pixel of a batch of images or a tap and channel of the filters.
namespace dd2424::cuda {

constexpr int kSpace = ConvSizes::kSpace;
constexpr int narrow(Index x) { return static_cast<int>(x); }  // of sizes that allow it
constexpr int kDigits = kSpace + 1;

// A number written as four digits, the last the fastest: (n, d, h, w) where it counts pixels, else (d, h, w, c).
struct Digits {
  int at[kDigits];
};
struct Counts {
  int most[kDigits];
  int eight[kDigits], sixteen[kDigits], thirty_two[kDigits];  // as digits, for who goes on by so many
};
inline Counts counts(Index a, Index b, Index c, Index d) {
  if (a * b * c * d == 0) a = 0, b = c = d = 1;  // nothing: not even the first digit's 0 is one of them
  Counts x{};
  const Index most[kDigits] = {a, b, c, d};
  const auto write = [&](int (&digits)[kDigits], Index number) {
    for (int j = kDigits - 1; j >= 0; --j) {
      digits[j] = static_cast<int>(j > 0 ? number % most[j] : number);
      if (j > 0) number /= most[j];
    }
  };
  for (int j = 0; j < kDigits; ++j) x.most[j] = static_cast<int>(most[j]);
  write(x.eight, 8), write(x.sixteen, 16), write(x.thirty_two, 32);
  return x;
}
__device__ inline Digits digits_of(const Counts& x, Index number) {
  Digits y;
  for (int j = kDigits - 1; j > 0; --j) {
    const Index rest = quotient(number, x.most[j]);
    y.at[j] = static_cast<int>(number - rest * x.most[j]);
    number = rest;
  }
  y.at[0] = static_cast<int>(number);
  return y;
}
__device__ inline void advance(Digits& x, const Counts& by, int number) {
  const int (&more)[kDigits] = number == 8 ? by.eight : number == 16 ? by.sixteen : by.thirty_two;
  int carry = number == 1;
#pragma unroll
  for (int j = kDigits - 1; j > 0; --j) {
    const int sum = x.at[j] + carry + (number == 1 ? 0 : more[j]);
    carry = sum >= by.most[j];
    x.at[j] = sum - (carry ? by.most[j] : 0);
  }
  x.at[0] += carry + (number == 1 ? 0 : more[0]);
}

// Where a number leads: in memory, and over the image, beyond whose edges there is nothing.
template <bool is_pixel>
struct Walk {
  Counts counts;
  Index start;  // elements, as are
  int step[kDigits];
  int origin[kSpace], pixel_step[kSpace];  // of the digits of space
  static constexpr int first = is_pixel;   // of these

  __device__ Index offset(const Digits& x) const {
    Index y = start;
#pragma unroll
    for (int j = 0; j < kDigits; ++j) y += static_cast<Index>(x.at[j]) * step[j];
    return y;
  }
  __device__ int pixel(const Digits& x, int d) const { return origin[d] + x.at[first + d] * pixel_step[d]; }
};
template <bool is_pixel>
Index length(const Walk<is_pixel>& walk) {
  Index n = 1;
  for (int most : walk.counts.most) n *= most;
  return n;
}

constexpr int kOutside = -(1 << 30);  // farther from any image than its filters reach

template <class T, bool rows_are_pixels, bool steps_are_pixels, bool has_edges>
struct Gather {
  const T* data;
  Walk<rows_are_pixels> rows;
  Walk<steps_are_pixels> steps;
  Index row_count;
  int image[kSpace];
  bool k_first, vector;

  struct Row {
    Index offset;
    int pixel[kSpace];
  };
  using Step = Digits;
  __device__ Row row(Index r) const {
    if (r >= row_count) return {0, {kOutside, 0, 0}};
    const Digits x = digits_of(rows.counts, r);
    return {rows.offset(x), {rows.pixel(x, 0), rows.pixel(x, 1), rows.pixel(x, 2)}};
  }
  __device__ Step step(Index k) const { return digits_of(steps.counts, k); }
  __device__ void advance(Step& step, int by) const { cuda::advance(step, steps.counts, by); }
  __device__ bool inside(const Row& row, const Step& step) const {
    bool is = step.at[0] < steps.counts.most[0];
    if constexpr (has_edges) {
#pragma unroll
      for (int d = 0; d < kSpace; ++d)
        is = is && static_cast<unsigned>(row.pixel[d] + steps.pixel(step, d)) < static_cast<unsigned>(image[d]);
    } else {
      is = is && row.pixel[0] != kOutside;
    }
    return is;
  }
  __device__ Index offset(const Row& row, const Step& step) const { return row.offset + steps.offset(step); }
};

template <class T, bool rows_are_pixels, bool steps_are_pixels, bool has_edges>
void choose_loads(Gather<T, rows_are_pixels, steps_are_pixels, has_edges>& x, int unit) {
  constexpr int last = kDigits - 1;
  x.row_count = length(x.rows);
  x.k_first = x.steps.step[last] < x.rows.step[last];
  const auto has_units = [=](const auto& walk, bool is_pixel) {
    return walk.step[last] == 1 && walk.counts.most[last] % unit == 0 && !(has_edges && is_pixel);
  };
  const auto others_allow = [&](const auto& walk, int digits) {
    bool all = can_load(x.data, unit, walk.start);
    for (int j = 0; j < digits; ++j)
      all = all && (walk.counts.most[j] == 1 || can_load(x.data, unit, Index{walk.step[j]}));
    return all;
  };
  x.vector = x.k_first
                 ? has_units(x.steps, steps_are_pixels) && others_allow(x.rows, kDigits) && others_allow(x.steps, last)
                 : has_units(x.rows, rows_are_pixels) && others_allow(x.steps, kDigits) && others_allow(x.rows, last);
}

// Where the elements of a batch of images, or of the filters, lie.
struct Layout {
  Index image, channel, pixel[kSpace];
  Layout(Format format, Index channels, const Index (&size)[kSpace]) {
    const Index pixels = size[0] * size[1] * size[2];
    const bool is_last = format == Format::channels_last;
    image = channels * pixels, channel = is_last ? 1 : pixels;
    pixel[2] = is_last ? channels : 1, pixel[1] = pixel[2] * size[2], pixel[0] = pixel[1] * size[1];
  }
};

}  // namespace dd2424::cuda
