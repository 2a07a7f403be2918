#pragma once
// The gradient by the weights: for each tap, a product of pixels of x and of dy over all images.
#include "cpu/conv_correlate.h"

namespace dd2424::cpu::DD2424_ISA {
namespace {

constexpr Index kSharedSumsBytes = 1 << 20;   // sums larger than this exist once, and threads share their parts
constexpr Index kSharedPixels = 1024;         // of a band whose sums come from memory: they are worth the way
constexpr Index kSharedBandBytes = 2 << 20;   // likewise
constexpr Index kBothBytes = 192 * 1024;      // of x and dy: they and the next stay in the second-level cache
constexpr Index kLeastPixels = 128;           // of such a band, for sums that come from there too
constexpr Index kManyInputs = 2 * kTileRows;  // fill tiles without those of neighbouring taps

// Sums (tap, input, output) of one group, outputs padded to whole panels. A band of x and of dy is packed, or read
// where it lies if channels come last, and every tile of the sums takes it in.
template <class T>
class WeightGradient {
  using Acc = Accumulator<T>;
  static constexpr Index width = kPanelWidth<Acc>;

 public:
  WeightGradient(const ConvWeight<T>& a, char* workspace)
      : a_(a),
        s_(a.sizes),
        x_(images(a.x, s_.x_format, s_.inputs, s_.image)),
        inputs_(s_.inputs / s_.groups),
        outputs_(s_.outputs / s_.groups),
        panels_(ceil_div(outputs_, width)),
        workspace_(workspace) {
    for (int d = 0; d < kSpace; ++d) {
      axes_[d] = {.count = s_.kernel[d], .at = -s_.padding[d], .at_step = s_.dilation[d], .q = 0, .q_step = 1};
      trim(axes_[d], s_.out[d], s_.stride[d], s_.image[d]);
      step_[d] = s_.stride[d];
    }
    take_every_step(x_, axes_, step_);
    taps_ = axes_[0].count * axes_[1].count * axes_[2].count;
    sums_size_ = taps_ * inputs_ * panels_ * width;
    shares_ = sums_size_ * Index(sizeof(Acc)) > kSharedSumsBytes;
    reads_in_place();
    cut_bands();
    bands_ = ceil_div(s_.batch, images_) * s_.out[0] * ceil_div(s_.out[1], rows_) * ceil_div(s_.out[2], columns_);
    const Index sums_bytes = aligned(sums_size_ * Index(sizeof(Acc)));
    chunks_ = shares_ ? 1 : smaller(bands_, kSumChunks);
    x_bytes_ = x_in_place_ ? 0 : aligned(box_bytes(rows_, columns_) * images_);
    dy_bytes_ = dy_in_place_ ? 0 : aligned(images_ * dy_band_bytes(rows_, columns_));
    const Index lists = skips_ ? taps_ : 1;
    segment_bytes_ = aligned(lists * 2 * images_ * rows_ * Index(sizeof(Index)));
    chunk_bytes_ = sums_bytes + x_bytes_ + dy_bytes_ + segment_bytes_;
  }
  std::size_t bytes() const { return is_empty() ? 0 : std::size_t(chunks_ * chunk_bytes_); }

  void run() const {
    if (is_empty() || taps_ < s_.kernel[0] * s_.kernel[1] * s_.kernel[2]) clear();
    if (is_empty()) return;
    for (Index group = 0; group < s_.groups; ++group) {
      if (shares_) {
        for (Index band = 0; band < bands_; ++band) add_band(group, band, workspace_, band == 0);
      } else {
        const Index macs = bands_ * images_ * rows_ * columns_ * sums_size_ / chunks_;
        parallel_for(chunks_, 1 + kConvGrain / (macs + 1), [&](Index begin, Index end) {
          for (Index chunk = begin; chunk < end; ++chunk) {
            const Index first = chunk * bands_ / chunks_;
            for (Index band = first; band < (chunk + 1) * bands_ / chunks_; ++band)
              add_band(group, band, workspace_ + chunk * chunk_bytes_, band == first);
          }
        });
      }
      combine();
      write(group);
    }
  }

 private:
  struct Place {
    Index n, images, d, h, rows, w, columns;
  };
  bool is_empty() const { return s_.batch * s_.out[0] * s_.out[1] * s_.out[2] * taps_ * inputs_ * outputs_ == 0; }

  Index box_bytes(Index h, Index w) const {
    return axes_[0].span() * ((h - 1) * step_[1] + axes_[1].span()) * ((w - 1) * step_[2] + axes_[2].span()) * inputs_ *
           Index(sizeof(Acc));
  }
  Index dy_band_bytes(Index h, Index w) const { return h * w * panels_ * width * Index(sizeof(Acc)); }
  Index band_bytes(Index h, Index w) const { return shares_ ? box_bytes(h, w) : box_bytes(h, w) + dy_band_bytes(h, w); }
  // Whole vectors of channels-last pixels need no packing, x none where no tap leaves the image.
  void reads_in_place() {
    const bool is_plain = std::is_same_v<T, Acc>;
    dy_in_place_ = is_plain && s_.y_format == Format::channels_last && outputs_ % kLanes<Acc> == 0;
    bool stays_inside = true;
    for (int d = 0; d < kSpace; ++d) {
      const Index last = axes_[d].at + (s_.out[d] - 1) * step_[d] + axes_[d].span();
      stays_inside = stays_inside && axes_[d].at >= 0 && last <= x_.size[d];
    }
    const bool x_could_stay = is_plain && s_.x_format == Format::channels_last;
    skips_ = s_.out[2] <= kSmallRow || (x_could_stay && !stays_inside && inputs_ >= kManyInputs);
    x_in_place_ = x_could_stay && (stays_inside || skips_);
  }
  void cut_bands() {
    images_ = 1, rows_ = s_.out[1], columns_ = s_.out[2];
    const Index most = shares_ ? kSharedBandBytes : kBothBytes, least = shares_ ? 0 : kLeastPixels;
    const auto is_large = [&] { return band_bytes(rows_, columns_) > most && rows_ * columns_ > least; };
    while (rows_ > 1 && is_large()) rows_ = (rows_ + 1) / 2;
    while (columns_ > 64 && is_large()) columns_ = (columns_ + 1) / 2;
    if (rows_ == s_.out[1] && columns_ == s_.out[2]) {
      images_ = larger(most / larger(1, band_bytes(rows_, columns_)), least / larger(1, rows_ * columns_));
      if (shares_) images_ = smaller(images_, kSharedPixels / larger(1, rows_ * columns_));
      images_ = smaller(s_.batch, larger(1, images_));
      images_ = ceil_div(s_.batch, larger(1, ceil_div(s_.batch, larger(1, images_))));
    }
    images_ = larger(1, images_), rows_ = larger(1, rows_), columns_ = larger(1, columns_);
  }

  Place place_of(Index band) const {
    const auto range = [&band](Index size, Index end, Index& begin, Index& count) {
      const Index number = ceil_div(end, size);
      begin = band % number * size, count = smaller(size, end - begin);
      band /= number;
    };
    Place at;
    Index one;
    range(columns_, s_.out[2], at.w, at.columns);
    range(rows_, s_.out[1], at.h, at.rows);
    range(1, s_.out[0], at.d, one);
    range(images_, s_.batch, at.n, at.images);
    return at;
  }

  // A band's pixels, packed or where they lie: its pixel (n, d, h, w) at data[start + n * image + d * space[0] + ...].
  struct Operand {
    const Acc* data;
    Index start, image, space[kSpace];
    Index panel;  // from one panel of channels to the next
  };

  // Adds a band's products to the sums, which begin with it if `first`.
  void add_band(Index group, Index number, char* workspace, bool first) const {
    const Place at = place_of(number);
    Acc* sums = reinterpret_cast<Acc*>(workspace);
    Acc* buffer = reinterpret_cast<Acc*>(workspace + aligned(sums_size_ * Index(sizeof(Acc))));
    Index* segments = reinterpret_cast<Index*>(reinterpret_cast<char*>(buffer) + x_bytes_ + dy_bytes_);
    const Operand x = x_of(group, at, buffer);
    const Operand dy = dy_of(group, at, reinterpret_cast<Acc*>(reinterpret_cast<char*>(buffer) + x_bytes_));
    // The inputs of neighbouring taps are neighbours where the kernel is not dilated: one run of rows for all of them.
    const bool merges = axes_[2].at_step == 1 && !skips_ && x.space[2] == inputs_;
    const Index across = merges ? 1 : axes_[2].count, run = merges ? axes_[2].count * inputs_ : inputs_;
    const Index tiles = ceil_div(run, kTileRows), lines = axes_[0].count * axes_[1].count * across;
    const Index list = 2 * images_ * rows_;
    const auto tap_of = [&](Index line) {
      return Tap{{line / across / axes_[1].count, line / across % axes_[1].count, line % across}};
    };
    for (Index line = 0; line < (skips_ ? lines : 1); ++line)
      list_segments(at, tap_of(line), x, dy, segments + line * list);
    const Index pixels = at.images * at.rows * at.columns, items = lines * tiles;
    const auto upcoming = next_band(number, items * panels_);
    const Index grain = shares_ ? 1 + kConvGrain / (pixels * kTileRows * outputs_ + 1) : items;
    parallel_for(items, grain, [&](Index begin, Index end) {
      Upcoming next_x = upcoming.x, next_dy = upcoming.dy;
      for (Index item = begin; item < end; ++item) {
        const Index line = item / tiles, t = item % tiles, i = t * run / tiles, rows = (t + 1) * run / tiles - i;
        const Inside range = inside(at, tap_of(line));
        const Index* a_at = segments + (skips_ ? line * list : 0);
        ConvTile<Acc> in{.a = x.data + i + (skips_ ? 0 : offset_of(tap_of(line), x)),
                         .b = dy.data,
                         .a_at = a_at,
                         .b_at = a_at + images_ * rows_,
                         .segments = at.images * (range.h_end - range.h),
                         .depth = range.w_end - range.w,
                         .a_row = 1,
                         .a_column = step_[2] * x.space[2],
                         .b_row = dy.space[2]};
        Acc* out = sums + (line * run + i) * panels_ * width;
        for (Index panel = 0; panel < panels_; ++panel, in.b += dy.panel) {
          const Index columns = smaller(width, outputs_ - panel * width);
          TileOutput<Acc> to{.out = out + panel * width, .out_row = panels_ * width};
          to.before = first ? nullptr : to.out, to.before_row = to.out_row;
          const Index steps = in.segments * in.depth;
          Upcoming::Share share = next_dy.next(steps);
          if (!share.at) share = next_x.next(steps);
          in.ahead = share.at, in.ahead_step = share.step;
          conv_tile_kernels<Acc>(columns)[rows](in, to, columns);
        }
      }
    });
  }

  // What the next band reads in place, if its rows are whole and follow each other: dy, and then x.
  struct NextBand {
    Upcoming x, dy;
  };
  NextBand next_band(Index number, Index calls) const {
    NextBand next;
    if (shares_ || number + 1 >= bands_ || columns_ < s_.out[2] || x_.size[0] > 1) return next;
    const Place at = place_of(number + 1);
    const auto rows_of = [&](const Images<const T>& images, Index channels, Index first, Index end, Index calls) {
      first = smaller(larger(0, first), images.size[1]), end = smaller(larger(first, end), images.size[1]);
      const T* data = images.data + at.n * images.batch + first * images.space[1];
      Index rows = end - first;
      if (images.batch == images.size[1] * images.space[1]) rows += (at.images - 1) * images.size[1];
      return Upcoming(data, rows, images.space[1], images.size[2], images.space[2], channels, calls);
    };
    const Images<const T> dy = images(a_.dy, s_.y_format, s_.outputs, s_.out);
    const bool of_x = x_in_place_ && step_[1] * step_[2] == 1;
    const Index own = of_x ? larger(1, calls * s_.outputs / (s_.outputs + s_.inputs)) : calls,
                first = at.h + axes_[1].at;
    if (dy_in_place_) next.dy = rows_of(dy, s_.outputs, at.h, at.h + at.rows, own);
    if (of_x)
      next.x = rows_of(x_, s_.inputs, first, first + at.rows - 1 + axes_[1].span(),
                       dy_in_place_ ? larger(1, calls - own) : calls);
    return next;
  }

  struct Tap {
    Index at[kSpace];
  };
  // The rows and columns of a band whose pixels a tap brings into the image; all of them unless `skips_`.
  struct Inside {
    Index h, h_end, w, w_end;
  };
  Inside inside(const Place& at, const Tap& tap) const {
    Inside range{0, at.rows, 0, at.columns};
    if (!skips_) return range;
    const auto cut = [&](int d, Index first, Index& begin, Index& end) {
      const Index start = first * step_[d] + axes_[d].at + tap.at[d] * axes_[d].at_step;
      while (begin < end && start + begin * step_[d] < 0) ++begin;
      while (begin < end && start + (end - 1) * step_[d] >= x_.size[d]) --end;
    };
    Index d_begin = 0, d_end = 1;
    cut(0, at.d, d_begin, d_end);
    cut(1, at.h, range.h, range.h_end);
    cut(2, at.w, range.w, range.w_end);
    if (d_begin == d_end) range.h_end = range.h;
    return range;
  }
  Index offset_of(const Tap& tap, const Operand& x) const {
    Index offset = 0;
    for (int d = 0; d < kSpace; ++d) offset += tap.at[d] * axes_[d].at_step * x.space[d];
    return offset;
  }
  // Where the rows of pixels begin that a tap brings into the image.
  void list_segments(const Place& at, const Tap& tap, const Operand& x, const Operand& dy, Index* a_at) const {
    const Inside range = inside(at, tap);
    const Index x_start = x.start + offset_of(tap, x) + range.w * step_[2] * x.space[2];
    Index* b_at = a_at + images_ * rows_;
    for (Index n = 0; n < at.images; ++n)
      for (Index h = range.h; h < range.h_end; ++h) {
        *a_at++ = x_start + n * x.image + h * step_[1] * x.space[1];
        *b_at++ = dy.start + n * dy.image + h * dy.space[1] + range.w * dy.space[2];
      }
  }

  Operand x_of(Index group, const Place& at, Acc* buffer) const {
    const Index first[kSpace] = {at.d, at.h, at.w}, count[kSpace] = {1, at.rows, at.columns};
    Index start[kSpace], extent[kSpace];
    for (int i = 0; i < kSpace; ++i) {
      start[i] = first[i] * step_[i] + axes_[i].at;
      extent[i] = (count[i] - 1) * step_[i] + axes_[i].span();
    }
    if constexpr (std::is_same_v<T, Acc>) {
      if (x_in_place_) {
        Operand there{.data = x_.data + at.n * x_.batch + group * inputs_, .start = 0, .image = x_.batch};
        for (int i = 0; i < kSpace; ++i) there.space[i] = x_.space[i], there.start += start[i] * x_.space[i];
        return there;
      }
    }
    const Index row = extent[2] * inputs_, slice = extent[1] * row, image = extent[0] * slice;
    pack_x(group, at, start, extent, buffer, image);
    return {.data = buffer, .start = 0, .image = image, .space = {slice, row, inputs_}};
  }
  void pack_x(Index group, const Place& at, const Index (&start)[kSpace], const Index (&extent)[kSpace], Acc* out,
              Index image) const {
    parallel_for(at.images, shares_ ? 1 : at.images, [&](Index begin, Index end) {
      Box box{.n = at.n + begin, .count = end - begin, .channel = group * inputs_, .channels = inputs_};
      for (int i = 0; i < kSpace; ++i) box.start[i] = start[i], box.extent[i] = extent[i];
      pack_band(out + begin * image, x_, box);
    });
  }

  Operand dy_of(Index group, const Place& at, Acc* buffer) const {
    if constexpr (std::is_same_v<T, Acc>) {
      if (dy_in_place_) {
        const Images<const T> dy = images(a_.dy, s_.y_format, s_.outputs, s_.out);
        const Index start = at.d * dy.space[0] + at.h * dy.space[1] + at.w * dy.space[2];
        return {.data = dy.data + at.n * dy.batch + group * outputs_ + start,
                .image = dy.batch,
                .space = {dy.space[0], dy.space[1], dy.space[2]},
                .panel = width};
      }
    }
    pack_dy(group, at, buffer);
    const Index row = at.columns * width, image = at.rows * row;
    return {.data = buffer, .image = image, .space = {image, row, width}, .panel = at.images * image};
  }

  // In panels of outputs: (panel, image, row, column, width).
  void pack_dy(Index group, const Place& at, Acc* out) const {
    const Images<const T> dy = images(a_.dy, s_.y_format, s_.outputs, s_.out);
    const Index line = at.columns * width, pixels = at.images * at.rows * line;
    parallel_for(panels_ * at.images, shares_ ? 1 : panels_ * at.images, [&](Index begin, Index end) {
      for (Index item = begin; item < end; ++item) {
        const Index panel = item / at.images, n = item % at.images, outputs = smaller(width, outputs_ - panel * width);
        Acc* to = out + panel * pixels + n * at.rows * line;
        if (outputs < width) memset(to, 0, std::size_t(at.rows * line) * sizeof *to);
        for (Index h = 0; h < at.rows; ++h, to += line) {
          const T* from = dy.data + (at.n + n) * dy.batch + (group * outputs_ + panel * width) * dy.channel +
                          at.d * dy.space[0] + (at.h + h) * dy.space[1] + at.w * dy.space[2];
          if (dy.channel == 1) {
            for (Index w = 0; w < at.columns; ++w)
              map(to + w * width, outputs, [](auto v) { return v; }, from + w * dy.space[2]);
          } else {
            copy_transposed(to, width, from, dy.channel, outputs, at.columns);
          }
        }
      }
    });
  }

  Acc* sums_of(Index chunk) const { return reinterpret_cast<Acc*>(workspace_ + chunk * chunk_bytes_); }

  // Adds the chunks' sums in the order of a balanced binary tree.
  void combine() const {
    parallel_for(sums_size_, kConvGrain / 8, [&](Index begin, Index end) {
      for (Index step = 1; step < chunks_; step *= 2)
        for (Index chunk = 0; chunk + step < chunks_; chunk += 2 * step)
          map(
              sums_of(chunk) + begin, end - begin, [](auto x, auto y) { return x + y; }, sums_of(chunk) + begin,
              sums_of(chunk + step) + begin);
    });
  }

  T* element(Index group, Index o, Index c, Index q) const {
    const Index kernel = s_.kernel[0] * s_.kernel[1] * s_.kernel[2];
    T* out = a_.dweight + (group * outputs_ + o) * inputs_ * kernel;
    return s_.weight_format == Format::channels_last ? out + q * inputs_ + c : out + c * kernel + q;
  }
  void write(Index group) const {
    const Acc* sums = sums_of(0);
    const Index row = panels_ * width;
    parallel_for(outputs_, 1 + kConvGrain / (8 * taps_ * inputs_), [&](Index begin, Index end) {
      Index tap = 0;
      for (Index d = 0; d < axes_[0].count; ++d)
        for (Index h = 0; h < axes_[1].count; ++h)
          for (Index w = 0; w < axes_[2].count; ++w, ++tap) {
            const Index q = number_of_tap(axes_, s_.kernel, d, h, w);
            const Acc* from = sums + tap * inputs_ * row;
            if constexpr (std::is_same_v<T, Acc>) {
              if (s_.weight_format == Format::channels_last) {
                copy_transposed(element(group, begin, 0, q), s_.kernel[0] * s_.kernel[1] * s_.kernel[2] * inputs_,
                                from + begin, row, inputs_, end - begin);
                continue;
              }
            }
            for (Index o = begin; o < end; ++o)
              for (Index c = 0; c < inputs_; ++c) *element(group, o, c, q) = narrowed<T>(from[c * row + o]);
          }
    });
  }
  void clear() const {
    const Index size = s_.outputs * inputs_ * s_.kernel[0] * s_.kernel[1] * s_.kernel[2];
    for (Index i = 0; i < size; ++i) a_.dweight[i] = narrowed<T>(0);
  }

  const ConvWeight<T>& a_;
  const ConvSizes& s_;
  Images<const T> x_;
  Index step_[kSpace];
  Index inputs_, outputs_, panels_, taps_, images_, rows_, columns_, bands_;
  Index sums_size_, chunks_, x_bytes_, dy_bytes_, segment_bytes_, chunk_bytes_;
  bool shares_, skips_, x_in_place_, dy_in_place_;
  Axis axes_[kSpace];
  char* workspace_;
};

}  // namespace
}  // namespace dd2424::cpu::DD2424_ISA
