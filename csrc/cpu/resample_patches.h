#pragma once
// Patches of images as columns, and the sum of columns back into images.
#include "core/parallel.h"
#include "core/resample.h"
#include "cpu/vec.h"

namespace dd2424::cpu::DD2424_ISA {
namespace {

constexpr Index kPatchGrain = 1 << 15;  // elements that are worth a thread

// The outputs at which a tap meets the image: first <= i < last have 0 <= i * stride + at < size.
struct Meeting {
  Index first, last, at;
};
template <class T>
inline Meeting meeting(const Patches<T>& a, int d, Index tap) {
  const Index at = tap * a.dilation[d] - a.padding[d], stride = a.stride[d];
  Index first = at < 0 ? (-at + stride - 1) / stride : 0, last = (a.image[d] - at + stride - 1) / stride;
  last = last < a.out[d] ? last : a.out[d];
  last = last < 0 ? 0 : last;
  return {first < last ? first : last, last, at};
}

template <class T>
Status unfold(const Context&, const Patches<T>& a) {
  const Index taps = a.kernel[0] * a.kernel[1], size = a.out[0] * a.out[1], stride = a.stride[1];
  parallel_for(a.planes * taps, 1 + kPatchGrain / (size + 1), [&](Index begin, Index end) {
    for (Index r = begin; r < end; ++r) {
      const Index plane = r / taps, p = r / a.kernel[1] % a.kernel[0], q = r % a.kernel[1];
      const Meeting rows = meeting(a, 0, p), columns = meeting(a, 1, q);
      T* y = a.columns + r * size;
      for (Index i = 0; i < a.out[0]; ++i, y += a.out[1]) {
        const bool is_inside = i >= rows.first && i < rows.last;
        const Index first = is_inside ? columns.first : a.out[1], last = is_inside ? columns.last : a.out[1];
        const T* x = a.x + (plane * a.image[0] + i * a.stride[0] + rows.at) * a.image[1] + columns.at;
        for (Index j = 0; j < first; ++j) y[j] = T{};
        if (stride == 1) {
          for (Index j = first; j < last; ++j) y[j] = x[j];
        } else {
          for (Index j = first; j < last; ++j) y[j] = x[j * stride];
        }
        for (Index j = last; j < a.out[1]; ++j) y[j] = T{};
      }
    }
  });
  return Status::ok;
}

inline float widened(bfloat16 x) { return to_float(x); }
inline float widened(float x) { return x; }
inline double widened(double x) { return x; }
inline void put(bfloat16& y, float x) { y = to_bfloat16(x); }
inline void put(float& y, float x) { y = x; }
inline void put(double& y, double x) { y = x; }

constexpr Index kFoldChunk = 256;  // pixels of a row whose sums are held at once

// Pixel by pixel, a row at a time: each is the sum of its copies in the order of the taps.
template <class T>
class Folder {
  using Acc = Accumulator<T>;

 public:
  explicit Folder(const Patches<T>& a) : a_(a) {}
  void run() const {
    const Index rows = a_.planes * a_.image[0], cost = a_.kernel[0] * a_.kernel[1] * a_.image[1];
    parallel_for(rows, 1 + kPatchGrain / (cost + 1), [&](Index begin, Index end) {
      for (Index r = begin; r < end; ++r)
        for (Index w = 0; w < a_.image[1]; w += kFoldChunk)
          pixels(r, w, a_.image[1] - w < kFoldChunk ? a_.image[1] : w + kFoldChunk);
    });
  }

 private:
  void pixels(Index r, Index begin, Index end) const {
    const Index plane = r / a_.image[0], h = r % a_.image[0];
    Acc sums[kFoldChunk];
    for (Index w = 0; w < end - begin; ++w) sums[w] = 0;
    for (Index p = 0; p < a_.kernel[0]; ++p) {
      const Index shifted = h + a_.padding[0] - p * a_.dilation[0];
      if (shifted < 0 || shifted % a_.stride[0] != 0 || shifted / a_.stride[0] >= a_.out[0]) continue;
      const T* row = a_.columns + (plane * a_.kernel[0] + p) * a_.kernel[1] * a_.out[0] * a_.out[1] +
                     shifted / a_.stride[0] * a_.out[1];
      for (Index q = 0; q < a_.kernel[1]; ++q) add(row + q * a_.out[0] * a_.out[1], q, begin, end, sums);
    }
    T* x = a_.x + r * a_.image[1];
    for (Index w = begin; w < end; ++w) put(x[w], sums[w - begin]);
  }

  // The copies that one tap made of the pixels from begin to end.
  void add(const T* row, Index q, Index begin, Index end, Acc* sums) const {
    const Meeting m = meeting(a_, 1, q);
    const Index stride = a_.stride[1], to = m.at - begin;
    Index first = begin > m.at ? (begin - m.at + stride - 1) / stride : 0;
    Index last = end > m.at ? (end - m.at + stride - 1) / stride : 0;
    first = first > m.first ? first : m.first, last = last < m.last ? last : m.last;
    if (stride == 1) {
      for (Index j = first; j < last; ++j) sums[j + to] += widened(row[j]);
    } else {
      for (Index j = first; j < last; ++j) sums[j * stride + to] += widened(row[j]);
    }
  }

  const Patches<T>& a_;
};

template <class T>
Status fold(const Context&, const Patches<T>& a) {
  Folder<T>(a).run();
  return Status::ok;
}

}  // namespace
}  // namespace dd2424::cpu::DD2424_ISA
