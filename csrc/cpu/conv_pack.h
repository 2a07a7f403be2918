#pragma once
// How a convolution's operands are laid out for the micro-kernel: a band of the image in channels-last order with its
// padding, the weights in panels. Both are small beside the arithmetic that reads them.
#include "core/conv.h"
#include "cpu/gemm_pack.h"

namespace dd2424::cpu::DD2424_ISA {

constexpr int kSpace = ConvSizes::kSpace;

template <class T>
inline Accumulator<T> widened(T x) {
  if constexpr (std::is_same_v<T, bfloat16>) return to_float(x);
  else return x;
}
template <class T>
inline T narrowed(Accumulator<T> x) {
  if constexpr (std::is_same_v<T, bfloat16>) return to_bfloat16(x);
  else return x;
}

// A batch of images where it lies: element (n, c, d, h, w) at data + n * batch + c * channel + d * space[0] + ...
template <class T>
struct Images {
  T* data;
  Index size[kSpace];
  Index batch, channel, space[kSpace];
};
template <class T>
Images<T> images(T* data, Format format, Index channels, const Index (&size)[kSpace]) {
  const bool last = format == Format::channels_last;
  Images<T> x{.data = data, .size = {size[0], size[1], size[2]}};
  x.space[2] = last ? channels : 1;
  x.space[1] = x.space[2] * size[2], x.space[0] = x.space[1] * size[1];
  x.channel = last ? 1 : size[0] * size[1] * size[2];
  x.batch = channels * size[0] * size[1] * size[2];
  return x;
}

// A box of pixels with some of their channels in channels-last order.
template <class T>
struct Band {
  T* data;
  Index batch, space[kSpace];  // strides; a pixel's channels are neighbours
};

// out[j * out_row + i] = in[i * in_row + j] for i < rows, j < columns.
template <class T>
void copy_transposed(Accumulator<T>* out, Index out_row, const T* in, Index in_row, Index rows, Index columns) {
  using Acc = Accumulator<T>;
  constexpr Index lanes = kLanes<Acc>;
  for (Index i = 0; i < rows; i += lanes) {
    const Index height = rows - i < lanes ? rows - i : lanes;
    for (Index j = 0; j < columns; j += lanes) {
      const Index width = columns - j < lanes ? columns - j : lanes;
      Vec<Acc> block[lanes];
#pragma GCC unroll 16
      for (Index r = 0; r < lanes; ++r) {
        const T* from = in + (i + r) * in_row + j;
        block[r] = r >= height ? Vec<Acc>{} : width == lanes ? load(from) : load(from, width);
      }
      transpose<Acc>(block);
      Acc* to = out + j * out_row + i;
#pragma GCC unroll 16
      for (Index r = 0; r < lanes; ++r) {
        if (r >= width) break;
        if (height == lanes) store(to + r * out_row, block[r]);
        else store(to + r * out_row, block[r], height);
      }
    }
  }
}

// Memory that will be needed soon: each call brings some of it to the second-level cache while arithmetic goes on.
class Upcoming {
 public:
  Upcoming() = default;
  // Rows of pixels of so many channels, `row` and `pixel` apart.
  template <class T>
  Upcoming(const T* data, Index rows, Index row, Index pixels, Index pixel, Index channels, Index calls)
      : row_(reinterpret_cast<const char*>(data)), at_(row_), rows_(rows) {
    if (pixel == channels) channels *= pixels, pixels = 1;
    if (pixels == 1 && row == channels) channels *= rows, rows_ = 1;
    row_bytes_ = row * Index(sizeof(T)), pixel_bytes_ = pixel * Index(sizeof(T)), pixels_ = pixels;
    lines_ = (channels * Index(sizeof(T)) + kLineBytes - 1) / kLineBytes;
    together_ = (rows_ * pixels_ * lines_ + calls - 1) / calls;
  }
  // For a tile of so many steps, each of which brings a part of a line, or what it has brought itself.
  struct Share {
    const char* at = nullptr;
    Index step = 0;
  };
  Share next(Index steps) {
    if (pixels_ > 1 || rows_ > 1 || together_ > steps) return next(), Share{};
    if (rows_ == 0) return {};
    const Share share{at_, (together_ * kLineBytes + steps - 1) / steps};
    at_ += together_ * kLineBytes, lines_ -= together_;
    if (lines_ <= 0) rows_ = 0;
    return share;
  }
  void next() {
    for (Index i = rows_ > 0 ? together_ : 0; i > 0; --i) {
      __builtin_prefetch(at_ + line_ * kLineBytes, 0, 2);
      if (++line_ < lines_) continue;
      line_ = 0, at_ += pixel_bytes_;
      if (++pixel_ < pixels_) continue;
      pixel_ = 0, at_ = row_ += row_bytes_;
      if (--rows_ == 0) return;
    }
  }

 private:
  static constexpr Index kLineBytes = 64;
  const char* row_ = nullptr;
  const char* at_ = nullptr;
  Index rows_ = 0, row_bytes_ = 0, pixels_ = 0, pixel_bytes_ = 0, lines_ = 0, together_ = 0;
  Index pixel_ = 0, line_ = 0;
};

// Where a band stands in the images: images n .. n + count, pixels start .. start + extent, of which some may lie
// outside: those are zero. Channels channel .. channel + channels.
struct Box {
  Index n, count;
  Index start[kSpace], extent[kSpace];
  Index channel, channels;
};

template <class T>
void pack_row(Accumulator<T>* out, const Images<const T>& x, const T* row, const Box& box) {
  const Index first = box.start[2], channels = box.channels;
  const Index begin = first < 0 ? (-first < box.extent[2] ? -first : box.extent[2]) : 0;
  Index end = x.size[2] - first;
  end = end < begin ? begin : end > box.extent[2] ? box.extent[2] : end;
  const auto bytes = [&](Index pixels) { return std::size_t(pixels * channels) * sizeof *out; };
  memset(out, 0, bytes(begin));
  memset(out + end * channels, 0, bytes(box.extent[2] - end));
  const T* from = row + (first + begin) * x.space[2];
  Accumulator<T>* to = out + begin * channels;
  if (end == begin) return;
  if (x.space[2] == 1) {
    copy_transposed(to, channels, from, x.channel, channels, end - begin);
  } else if (x.space[2] == channels) {
    map(to, (end - begin) * channels, [](auto v) { return v; }, from);
  } else {
    for (Index w = begin; w < end; ++w, from += x.space[2], to += channels)
      map(to, channels, [](auto v) { return v; }, from);
  }
}

// Fills `out` with the box, contiguous: (count, *extent, channels).
template <class T>
void pack_band(Accumulator<T>* out, const Images<const T>& x, const Box& box) {
  const Index row = box.extent[2] * box.channels;
  for (Index n = box.n; n < box.n + box.count; ++n) {
    for (Index d = box.start[0]; d < box.start[0] + box.extent[0]; ++d) {
      for (Index h = box.start[1]; h < box.start[1] + box.extent[1]; ++h, out += row) {
        if (d < 0 || d >= x.size[0] || h < 0 || h >= x.size[1]) {
          memset(out, 0, std::size_t(row) * sizeof *out);
        } else {
          pack_row(out, x, x.data + n * x.batch + box.channel * x.channel + d * x.space[0] + h * x.space[1], box);
        }
      }
    }
  }
}

// The taps of one dimension: tap t stands at `at + t * at_step` in the image, for the output at 0, and is number
// `q + t * q_step` in the kernel. at_step > 0.
struct Axis {
  Index count, at, at_step, q, q_step;
  Index span() const { return (count - 1) * at_step + 1; }
};

// Where one tap alone reads every step-th pixel of a dimension, those are an image of their own, if channels come last.
template <class T>
void take_every_step(Images<T>& x, Axis (&axes)[kSpace], Index (&step)[kSpace]) {
  for (int d = 0; d < kSpace && x.channel == 1; ++d) {
    if (axes[d].count != 1 || axes[d].at % step[d] != 0) continue;
    x.size[d] = (x.size[d] + step[d] - 1) / step[d], x.space[d] *= step[d];
    axes[d].at /= step[d], step[d] = 1;
  }
}

inline Index number_of_tap(const Axis (&axes)[kSpace], const Index (&kernel)[kSpace], Index d, Index h, Index w) {
  const Index plane = (axes[0].q + d * axes[0].q_step) * kernel[1] + axes[1].q + h * axes[1].q_step;
  return plane * kernel[2] + axes[2].q + w * axes[2].q_step;
}

// The weights, as a matrix for each tap: element (output o, input c, tap q) at data + o * output + c * input + q * tap.
template <class T>
struct Weights {
  const T* data;
  Index output, input, tap;
};

template <class T>
constexpr Index kPanelWidth = kTileVectors * kLanes<T>;

// The same where a filter's taps are neighbours in memory, and all of them are wanted in order or in reverse; or false.
template <class T>
bool pack_contiguous_panel(Accumulator<T>* out, const Weights<T>& weights, const Axis (&axes)[kSpace],
                           const Index (&kernel)[kSpace], Index outputs, Index inputs) {
  constexpr Index width = kPanelWidth<Accumulator<T>>;
  bool in_order = true, in_reverse = true;
  for (int d = 0; d < kSpace; ++d) {
    const bool is_whole = axes[d].count == kernel[d], is_one = kernel[d] == 1;
    in_order = in_order && is_whole && (is_one || axes[d].q_step == 1);
    in_reverse = in_reverse && is_whole && (is_one || axes[d].q_step == -1);
  }
  const Index taps = kernel[0] * kernel[1] * kernel[2], tap_row = inputs * width;
  if (taps == 1 || !(in_order || in_reverse)) return false;
  if (outputs < width) memset(out, 0, std::size_t(taps * tap_row) * sizeof *out);
  if (!in_order) out += (taps - 1) * tap_row;
  for (Index c = 0; c < inputs; ++c)
    copy_transposed(out + c * width, in_order ? tap_row : -tap_row, weights.data + c * weights.input, weights.output,
                    outputs, taps);
  return true;
}

// One panel: for each tap, for each of `inputs`, kPanelWidth outputs, of which `outputs` exist; the others are zero.
template <class T>
void pack_panel(Accumulator<T>* out, const Weights<T>& weights, const Axis (&axes)[kSpace],
                const Index (&kernel)[kSpace], Index outputs, Index inputs) {
  using Acc = Accumulator<T>;
  constexpr Index width = kPanelWidth<Acc>;
  if (weights.tap == 1 && pack_contiguous_panel(out, weights, axes, kernel, outputs, inputs)) return;
  for (Index d = 0; d < axes[0].count; ++d) {
    for (Index h = 0; h < axes[1].count; ++h) {
      for (Index w = 0; w < axes[2].count; ++w, out += inputs * width) {
        const T* from = weights.data + number_of_tap(axes, kernel, d, h, w) * weights.tap;
        if (outputs < width) memset(out, 0, std::size_t(inputs * width) * sizeof *out);
        if (weights.input == 1) {
          copy_transposed(out, width, from, weights.output, outputs, inputs);
        } else if (weights.output == 1) {
          for (Index c = 0; c < inputs; ++c)
            map(out + c * width, outputs, [](auto v) { return v; }, from + c * weights.input);
        } else {
          for (Index o = 0; o < outputs; ++o)
            for (Index c = 0; c < inputs; ++c)
              out[c * width + o] = widened(from[o * weights.output + c * weights.input]);
        }
      }
    }
  }
}

}  // namespace dd2424::cpu::DD2424_ISA
