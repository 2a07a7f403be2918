#pragma once
// Images cut into tiles of 4 x 4 to 2 x 2 outputs, and their way to the points and back.
#include "core/parallel.h"
#include "cpu/conv_pack.h"
#include "cpu/conv_winograd_phases.h"
#include "cpu/conv_winograd_transform.h"
#include "cpu/sizes.h"

namespace dd2424::cpu::DD2424_ISA {
namespace {

constexpr Index kLargestTile = 4;
constexpr Index kRunTiles = 8;        // neighbours that are read together
constexpr Index kStageChannels = 64;  // of them
constexpr Index kStageSize = kPatch * ((kRunTiles - 1) * kLargestTile + kPatch) * kStageChannels;
constexpr Index kPointGap = 16;  // floats between points, lest all of them share the sets of a cache

// Up to kRunTiles tiles of size x size side by side in image n; `tile` numbers the first among all.
struct Run {
  Index n, row, column, count, tile, size;
};
struct Tiling {
  Index size, images, rows, columns;
  Index cut, runs_in_row;  // a last column that is cut off is a run of its own: others need no copy
  Tiling(Index size, Index images, Index height, Index width)
      : size(size),
        images(images),
        rows(ceil_div(height, size)),
        columns(ceil_div(width, size)),
        cut(columns > 1 && width % size > 0),
        runs_in_row(ceil_div(columns - cut, kRunTiles) + cut) {}
  Index tiles() const { return images * rows * columns; }
  Index runs() const { return images * rows * runs_in_row; }
  Run run(Index number) const {
    const Index line = number / runs_in_row, i = number % runs_in_row, whole = runs_in_row - cut;
    const Index first = i * (columns - cut) / whole, end = i < whole ? (i + 1) * (columns - cut) / whole : columns;
    return {.n = line / rows,
            .row = line % rows,
            .column = first,
            .count = end - first,
            .tile = line * columns + first,
            .size = size};
  }
  Index first_tile(Index number) const { return number == runs() ? tiles() : run(number).tile; }
};

// Channels at the points, in blocks of `width` of them: (block, point, tile, width).
struct Points {
  float* data;
  Index width, point, block;
  Points(float* data, Index points, Index tiles, Index width)
      : data(data), width(width), point(tiles * width + kPointGap), block(points * point) {}
  float* at(Index tile, Index channel) const { return data + channel / width * block + tile * width + channel % width; }
  Index size(Index channels) const { return ceil_div(channels, width) * block; }
};

// Pixels whose channels are neighbours.
template <class T>
struct Pixels {
  T* data;
  Index row, pixel;
};

inline Pixels<const float> read_pixels(const Images<const float>& x, const Box& box, float* stage) {
  bool inside = x.channel == 1;
  for (int d = 1; d < kSpace; ++d) inside = inside && box.start[d] >= 0 && box.start[d] + box.extent[d] <= x.size[d];
  if (inside) {
    const float* data = x.data + box.n * x.batch + box.channel;
    return {data + box.start[1] * x.space[1] + box.start[2] * x.space[2], x.space[1], x.space[2]};
  }
  pack_band(stage, x, box);
  return {stage, box.extent[2] * box.channels, box.channels};
}

// Brings all channels of a run to the points, at `tile` and those after, channel `first` and those after. kTile (0, 0)
// begins at pixel `origin`.
template <class Transform>
[[gnu::noinline]] void transform_run(const Images<const float>& x, Index channels, const Index (&origin)[2],
                                     const Run& run, const Points& out, Index tile, Index first, float* stage) {
  constexpr Index lanes = kLanes<float>;
  Box box{.n = run.n, .count = 1};
  box.start[0] = 0, box.start[1] = origin[0] + run.row * run.size, box.start[2] = origin[1] + run.column * run.size;
  box.extent[0] = 1, box.extent[1] = Transform::kIn, box.extent[2] = (run.count - 1) * run.size + Transform::kIn;
  for (box.channel = 0; box.channel < channels; box.channel += kStageChannels) {
    box.channels = smaller(kStageChannels, channels - box.channel);
    const Pixels<const float> pixels = read_pixels(x, box, stage);
    for (Index t = 0; t < run.count; ++t) {
      const auto transform = [&](Index c, const auto& read) {
        const float* from = pixels.data + t * run.size * pixels.pixel + c;
        float* to = out.at(tile + t, first + box.channel + c);
        both_ways<Transform>([&](int i, int j) { return read(from + i * pixels.row + j * pixels.pixel); },
                             [&](int i, int j, Floats v) { store(to + (i * Transform::kOut + j) * out.point, v); });
      };
      Index c = 0;
      for (; c + lanes <= box.channels; c += lanes) transform(c, [](const float* p) { return load(p); });
      if (const Index left = box.channels - c; left > 0) transform(c, [left](const float* p) { return load(p, left); });
    }
  }
}

// Where results go: y = max(0, sums + bias).
struct TileOutputs {
  Images<float> y;
  const float* bias;  // or null
  bool relu;
};

// Copies what of a run's tiles lies in the image: from (size, columns, width), `outputs` of them.
inline void write_pixels(const Images<float>& y, const Run& run, Index o, Index outputs, Index width,
                         const float* stage) {
  const Index h = run.row * run.size, w = run.column * run.size, row = run.count * run.size * width;
  const Index rows = smaller(run.size, y.size[1] - h), columns = smaller(run.count * run.size, y.size[2] - w);
  float* to = y.data + run.n * y.batch + o * y.channel + h * y.space[1] + w * y.space[2];
  for (Index i = 0; i < rows; ++i, to += y.space[1], stage += row) {
    if (y.channel == 1) {
      for (Index j = 0; j < columns; ++j)
        map(to + j * y.space[2], outputs, [](auto v) { return v; }, stage + j * width);
    } else {
      copy_transposed(to, y.channel, stage, width, columns, outputs);
    }
  }
}

// Brings a run's sums, (point, tile, width) with `point` from one to the next, back to the image: outputs o and after.
template <int Taps>
[[gnu::noinline]] void write_run(const TileOutputs& to, const Run& run, Index o, Index outputs, Index width,
                                 const float* sums, Index point, float* stage) {
  constexpr Index lanes = kLanes<float>;
  using Transform = OutputTransform<Taps>;
  constexpr Index kTile = Transform::kOut;
  const Images<float>& y = to.y;
  const Index h = run.row * kTile, w = run.column * kTile;
  const bool direct =
      y.channel == 1 && outputs % lanes == 0 && h + kTile <= y.size[1] && w + run.count * kTile <= y.size[2];
  Pixels<float> pixels{stage, run.count * kTile * width, width};
  if (direct) pixels = {y.data + run.n * y.batch + h * y.space[1] + w * y.space[2] + o, y.space[1], y.space[2]};
  for (Index v = 0; v < outputs; v += lanes) {
    const Index left = outputs - v;
    const Floats bias = !to.bias ? Floats{} : left < lanes ? load(to.bias + o + v, left) : load(to.bias + o + v);
    for (Index t = 0; t < run.count; ++t) {
      const float* from = sums + t * width + v;
      float* out = pixels.data + t * kTile * pixels.pixel + v;
      both_ways<Transform>([&](int i, int j) { return load(from + (i * Transform::kIn + j) * point); },
                           [&](int i, int j, Floats x) {
                             x += bias;
                             if (to.relu) x = x < 0.f ? Floats{} : x;  // a NaN stays one
                             store(out + i * pixels.row + j * pixels.pixel, x);
                           });
    }
  }
  if (!direct) write_pixels(y, run, o, outputs, width, stage);
}

// Memory that will be needed soon, some of which is brought to the second-level cache after every product: it works
// while arithmetic does. A piece is a pixel's channels, or, channels-first, a channel's rows.
class Ahead {
 public:
  Ahead() = default;
  // What tiles of some runs meet from pixel row `origin` on, in as many calls.
  template <class T>
  Ahead(const Images<T>& x, const Tiling& tiling, Index begin_run, Index end_run, Index origin, Index calls) {
    if (begin_run >= tiling.runs()) return;
    const Run first = tiling.run(begin_run), last = tiling.run(smaller(end_run, tiling.runs()) - 1);
    const auto row_at = [&](Index tile_row) { return larger(0, smaller(tile_row * tiling.size + origin, x.size[1])); };
    const Index begin = row_at(first.row), end = row_at(last.row + 1), images = last.n - first.n;
    const T* from = x.data + first.n * x.batch;
    if (x.channel == 1) {
      from += begin * x.space[1];
      pieces_ = larger(0, images * x.size[1] + end - begin) * x.size[2], step_ = x.space[2], length_ = step_;
    } else if (images > 0) {
      pieces_ = (images + 1) * (x.batch / x.channel), step_ = x.channel, length_ = step_;
    } else {
      from += begin * x.space[1];
      pieces_ = x.batch / x.channel, step_ = x.channel, length_ = larger(0, end - begin) * x.size[2];
    }
    at_ = reinterpret_cast<const char*>(from);
    step_ *= Index(sizeof(T)), length_ *= Index(sizeof(T)), together_ = ceil_div(pieces_, larger(1, calls));
  }
  // Those channels alone, of channels-last pixels.
  Ahead channels(Index first, Index count) const {
    Ahead part = *this;
    part.at_ += first * Index(sizeof(float)), part.length_ = count * Index(sizeof(float));
    return part;
  }
  Ahead share(Index part, Index parts) const {
    Ahead mine = *this;
    const Index first = part * pieces_ / parts;
    mine.at_ += first * step_, mine.pieces_ = (part + 1) * pieces_ / parts - first;
    return mine;
  }
  template <bool ForWriting>
  void next() {
    for (Index i = smaller(together_, pieces_); i > 0; --i, at_ += step_, --pieces_)
      for (Index byte = 0; byte < length_; byte += 64) __builtin_prefetch(at_ + byte, ForWriting, 2);
  }

 private:
  const char* at_ = nullptr;
  Index pieces_ = 0, together_ = 0, step_ = 0, length_ = 0;
};

constexpr Index kWinogradTeams = 16;  // that may work at once, each with its own scratch memory

// Which scratch memory is in use. A thread takes the first that is free: what few threads use stays in their caches.
class Scratch {
 public:
  Scratch(char* data, Index bytes) : data_(data), bytes_(bytes) {}

  // Calls body(item, scratch) for every item, in up to kWinogradTeams parts of no less than `grain` items.
  template <class Body>
  void share(Index items, Index grain, const Body& body) {
    const Index parts = larger(1, smaller(kWinogradTeams, items / larger(1, grain)));
    parallel_for(parts, 1, [&](Index begin, Index end) {
      const int team = take();
      for (Index item = begin * items / parts; item < end * items / parts; ++item) body(item, data_ + team * bytes_);
      __atomic_fetch_or(&free_, 1u << team, __ATOMIC_RELEASE);
    });
  }

 private:
  int take() {
    std::uint32_t free = __atomic_load_n(&free_, __ATOMIC_ACQUIRE);
    while (!__atomic_compare_exchange_n(&free_, &free, free & (free - 1), false, __ATOMIC_ACQUIRE, __ATOMIC_ACQUIRE)) {}
    return __builtin_ctz(free);
  }
  char* data_;
  Index bytes_;
  std::uint32_t free_ = (1u << kWinogradTeams) - 1;
};

}  // namespace
}  // namespace dd2424::cpu::DD2424_ISA
