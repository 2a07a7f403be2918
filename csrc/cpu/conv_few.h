#pragma once
// Few pixels and many filters, such as the last layers have at batch 1: reading the filters is what takes time. They
// are read once, where they lie, element by element; vectors run along the pixels, which are unrolled into columns.
#include "cpu/conv_correlate.h"

namespace dd2424::cpu::DD2424_ISA {
namespace {

constexpr Index kFewPixels = 2 * kLanes<float>;  // of all images: more would read the filters again
constexpr Index kManyFilters = 1 << 16;          // elements: fewer are packed in no time
constexpr Index kUnrolledChannels = 64;          // that a thread unrolls together

template <class T>
class FewPixels {
  static constexpr Index lanes = kLanes<T>, width = kPanelWidth<T>;

 public:
  static bool suits(const ConvSizes& s) {
    const Index pixels = s.batch * s.out[0] * s.out[1] * s.out[2], taps = s.kernel[0] * s.kernel[1] * s.kernel[2];
    return s.groups == 1 && pixels > 0 && pixels <= kFewPixels && s.outputs * s.inputs * taps >= kManyFilters;
  }

  FewPixels(const ConvForward<T>& a, void* workspace)
      : a_(a),
        s_(a.sizes),
        taps_(s_.kernel[0] * s_.kernel[1] * s_.kernel[2]),
        depth_(taps_ * s_.inputs),
        plane_(s_.out[0] * s_.out[1] * s_.out[2]),
        pixels_(s_.batch * plane_),
        row_(ceil_div(pixels_, lanes) * lanes),
        tap_(s_.weight_format == Format::channels_last ? s_.inputs : 1),
        input_(s_.weight_format == Format::channels_last ? 1 : taps_),
        columns_(static_cast<T*>(workspace)),
        scratch_(columns_ + depth_ * row_) {}
  std::size_t bytes() const { return std::size_t(depth_ * row_ + kTeams * kTileRows * width) * sizeof(T); }

  void run() const {
    const Index blocks = ceil_div(s_.inputs, kUnrolledChannels);
    parallel_for(taps_ * blocks, 1 + kConvGrain / (8 * kUnrolledChannels * row_), [&](Index begin, Index end) {
      for (Index item = begin; item < end; ++item) {
        const Index c = item % blocks * kUnrolledChannels;
        unroll(item / blocks, c, smaller(kUnrolledChannels, s_.inputs - c));
      }
    });
    const Index tiles = ceil_div(s_.outputs, kTileRows), teams = smaller(tiles, kTeams);
    parallel_for(teams, 1 + kConvGrain / (s_.outputs * depth_ * row_ / teams + 1), [&](Index begin, Index end) {
      for (Index team = begin; team < end; ++team)
        for (Index t = team * tiles / teams; t < (team + 1) * tiles / teams; ++t) {
          const Index o = t * s_.outputs / tiles;
          multiply(o, (t + 1) * s_.outputs / tiles - o, scratch_ + team * kTileRows * width);
        }
    });
  }

 private:
  // What a tap brings of some channels to every pixel: rows of the columns, in the order of a filter's elements.
  void unroll(Index q, Index c, Index channels) const {
    const Images<const T> x = images(a_.x, s_.x_format, s_.inputs, s_.image);
    const Index tap[kSpace] = {q / s_.kernel[2] / s_.kernel[1], q / s_.kernel[2] % s_.kernel[1], q % s_.kernel[2]};
    T* out = columns_ + (q * tap_ + c * input_) * row_;
    for (Index i = 0; i < channels; ++i) memset(out + i * input_ * row_, 0, std::size_t(row_) * sizeof *out);
    const auto place = [&](int d, Index output) {
      return output * s_.stride[d] - s_.padding[d] + tap[d] * s_.dilation[d];
    };
    Index first = 0, end = s_.out[2];  // the outputs of a row for which the tap meets the image
    while (first < end && place(2, first) < 0) ++first;
    while (end > first && place(2, end - 1) >= s_.image[2]) --end;
    for (Index line = 0; line < s_.batch * s_.out[0] * s_.out[1]; ++line) {
      const Index h = place(1, line % s_.out[1]), d = place(0, line / s_.out[1] % s_.out[0]);
      if (first == end || h < 0 || h >= s_.image[1] || d < 0 || d >= s_.image[0]) continue;
      const T* from = x.data + line / s_.out[1] / s_.out[0] * x.batch + c * x.channel + d * x.space[0] +
                      h * x.space[1] + place(2, first) * x.space[2];
      T* to = out + line * s_.out[2] + first;
      const Index step = s_.stride[2] * x.space[2];
      if (x.channel == 1) {
        copy_transposed(to, input_ * row_, from, step, end - first, channels);
        continue;
      }
      for (Index i = 0; i < channels; ++i)
        for (Index w = 0; w < end - first; ++w) to[i * input_ * row_ + w] = from[i * x.channel + w * step];
    }
  }

  // Some outputs at all pixels: rows of the weights times the columns.
  void multiply(Index o, Index outputs, T* sums) const {
    static constexpr Index kStart[1] = {0};
    ConvTile<T> in{.a = a_.weight + o * depth_, .b = columns_, .a_at = kStart, .b_at = kStart, .segments = 1};
    in.depth = depth_, in.a_row = depth_, in.a_column = 1, in.b_row = row_;
    const TileOutput<T> to{
        .out = sums, .out_row = width, .bias_by_row = a_.bias ? a_.bias + o : nullptr, .relu = a_.relu};
    for (Index first = 0; first < pixels_; first += width, in.b += width) {
      const Index columns = smaller(width, pixels_ - first);
      conv_tile_kernels<T>(columns)[outputs](in, to, columns);
      write(o, outputs, first, columns, sums);
    }
  }
  void write(Index o, Index outputs, Index first, Index pixels, const T* sums) const {
    if (s_.y_format == Format::channels_last)
      return copy_transposed(a_.y + first * s_.outputs + o, s_.outputs, sums, width, outputs, pixels);
    for (Index i = 0; i < outputs; ++i)
      for (Index p = first; p < first + pixels; ++p)
        a_.y[(p / plane_ * s_.outputs + o + i) * plane_ + p % plane_] = sums[i * width + p - first];
  }

  const ConvForward<T>& a_;
  const ConvSizes& s_;
  Index taps_, depth_, plane_, pixels_;
  Index row_;          // of the columns, from one element of a filter to the next
  Index tap_, input_;  // likewise in a filter
  T* columns_;
  T* scratch_;
};

}  // namespace
}  // namespace dd2424::cpu::DD2424_ISA
