#pragma once
// Stride 2 as a sum of convolutions of stride 1: rows and columns of even and of odd number make four images, those of
// the taps four filters. All of them meet at the same points, where their products are added before the way back.
#include "core/parallel.h"
#include "cpu/conv_pack.h"
#include "cpu/conv_winograd.h"
#include "cpu/conv_winograd_transform.h"
#include "cpu/sizes.h"

namespace dd2424::cpu::DD2424_ISA {
namespace {

constexpr Index kPhases = 4;
constexpr Index kGatheredChannels = 4;   // so few are gathered, those of all phases in a pixel
constexpr Index kGatherGrain = 1 << 14;  // elements that are worth a thread
constexpr Index round_up(Index a, Index b) { return ceil_div(a, b) * b; }

struct Range {
  Index begin, end;
  Index size() const { return larger(0, end - begin); }
  Range within(Range other) const { return {larger(begin, other.begin), smaller(end, other.end)}; }
};

// One dimension of a phase, whose first tap is `tap`: its pixel i is first + i * stride of the image, and its output 0
// meets pixels `origin` and after. `taps` of the kernel are its own; where that is one less than others have, the last
// is zero, and with it what is at infinity.
struct PhaseAxis {
  Index tap, taps, first, origin, size;
  PhaseAxis(const ConvSizes& s, int d, Index tap) : tap(tap), taps(ceil_div(s.kernel[d] - tap, s.stride[d])) {
    const Index stride = s.stride[d], shifted = tap - s.padding[d];
    first = (shifted % stride + stride) % stride, origin = (shifted - first) / stride;
    size = s.image[d] <= first ? 0 : ceil_div(s.image[d] - first, stride);
  }
  Index gradient_origin() const { return 1 - taps - origin; }  // of dy, as pixel 0 of dx meets it
};

// Phases stand in an order in which those with all taps along an axis are neighbours.
struct Phase {
  PhaseAxis h, w;
  Phase(const ConvSizes& s, Index number)
      : h(s, 1, number / 2), w(s, 2, s.stride[2] == 1 ? 0 : number == 0 || number == 3) {}

  template <class T>
  Images<T> of(Images<T> x, const ConvSizes& s) const {
    x.data += h.first * x.space[1] + w.first * x.space[2];
    x.size[1] = h.size, x.size[2] = w.size, x.space[1] *= s.stride[1], x.space[2] *= s.stride[2];
    return x;
  }
};
inline Index phases_of(const ConvSizes& s) { return s.stride[1] == 1 ? 1 : kPhases; }
inline Index taps_of(const ConvSizes& s) { return ceil_div(s.kernel[1], s.stride[1]); }
inline Index patch_of(const ConvSizes& s) { return patch_of_taps(int(taps_of(s))); }

// The phases whose filters are not zero at a point.
inline Range phases_at(const ConvSizes& s, Index point) {
  const Index phases = phases_of(s), last = patch_of(s) - 1;
  if (phases == 1 || s.kernel[1] % 2 == 0) return {0, phases};
  const bool ends_rows = point / (last + 1) == last, ends_columns = point % (last + 1) == last;
  return {ends_columns, ends_rows ? 2 : ends_columns ? 3 : 4};
}

// Calls f with the number of taps as a constant.
template <class F>
void with_taps(Index taps, const F& f) {
  switch (taps) {
    case 2: return f(std::integral_constant<int, 2>());
    case 3: return f(std::integral_constant<int, 3>());
    case 4: return f(std::integral_constant<int, 4>());
    default: return f(std::integral_constant<int, 5>());
  }
}

// The image as the transforms read it: where it lies, one call for each phase, or gathered, all phases in a pixel.
struct PhaseImages {
  Images<const float> x[kPhases];
  Index origin[kPhases][2];
  Index images, channels;  // of each
};
inline bool gathers(const ConvSizes& s) { return phases_of(s) > 1 && s.inputs <= kGatheredChannels; }
inline Images<float> gathered_images(const ConvSizes& s, float* data) {
  const Index size[kSpace] = {1, s.out[1] + taps_of(s) - 1, s.out[2] + taps_of(s) - 1};
  return images(data, Format::channels_last, kPhases * s.inputs, size);
}
inline Index gathered_size(const ConvSizes& s) {
  return gathers(s) ? round_up(s.batch * gathered_images(s, nullptr).batch, 16) : 0;
}

// Gathers them: pixel (i, j) has the channels of all phases' pixels (i, j).
inline void gather_phases(const ConvSizes& s, const float* data, float* gathered) {
  const Images<const float> x = images(data, s.x_format, s.inputs, s.image);
  const Images<float> out = gathered_images(s, gathered);
  const Index channels = s.inputs, rows = out.size[1];
  parallel_for(s.batch * rows, 1 + kGatherGrain / out.space[1], [&](Index begin, Index end) {
    for (Index line = begin; line < end; ++line) {
      float* to = gathered + line * out.space[1];
      memset(to, 0, std::size_t(out.space[1]) * sizeof *to);
      for (Index i = 0; i < kPhases; ++i, to += channels) {
        const Phase phase(s, i);
        const Index h = line % rows + phase.h.origin, w = phase.w.origin;  // of the phase's own image
        if (h < 0 || h >= phase.h.size) continue;
        const Images<const float> own = phase.of(x, s);
        const float* from = own.data + line / rows * x.batch + h * own.space[1] + w * own.space[2];
        const Index first = larger(0, -w), last = smaller(out.size[2], phase.w.size - w);
        for (Index j = first; j < last && x.channel == 1; ++j)
          store(to + j * out.space[2], load(from + j * own.space[2], channels), channels);
        for (Index c = 0; c < channels && x.channel != 1; ++c)
          for (Index j = first; j < last; ++j) to[j * out.space[2] + c] = from[j * own.space[2] + c * x.channel];
      }
    }
  });
}

inline PhaseImages images_of(const ConvSizes& s, const float* data, float* gathered) {
  PhaseImages all{};
  if (gathers(s)) {
    const Images<float> x = gathered_images(s, gathered);
    all.x[0] = {x.data, {x.size[0], x.size[1], x.size[2]}, x.batch, x.channel, {x.space[0], x.space[1], x.space[2]}};
    all.images = 1, all.channels = kPhases * s.inputs;
    return all;
  }
  all.images = phases_of(s), all.channels = s.inputs;
  for (Index i = 0; i < all.images; ++i) {
    const Phase phase(s, i);
    all.x[i] = phase.of(images(data, s.x_format, s.inputs, s.image), s);
    all.origin[i][0] = phase.h.origin, all.origin[i][1] = phase.w.origin;
  }
  return all;
}

}  // namespace
}  // namespace dd2424::cpu::DD2424_ISA
