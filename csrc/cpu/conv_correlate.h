#pragma once
// The engine of the forward pass and of the gradient by the input: both slide taps over images.
#include "cpu/conv_correlation.h"
#include "cpu/conv_tile.h"

namespace dd2424::cpu::DD2424_ISA {
namespace {

// Measured on an AMD EPYC of the Zen 4 kind (32 KB and 1 MB of cache a core).
constexpr Index kBandBytes = 256 * 1024;    // of the image, beside a panel of weights in the second-level cache
constexpr Index kPanelBytes = 160 * 1024;   // of the weights
constexpr Index kImagesBytes = 448 * 1024;  // of many images side by side, of which one row is read at a time
constexpr Index kSmallRow = 16;             // pixels: on images so small, many taps do not meet the image
constexpr Index kLeastRow = 4;              // pixels, where all taps meet it
constexpr Index kFewImages = kTileRows * 3 / 4;
constexpr Index kTeams = 16;     // parts that may run at once, each with its own workspace
constexpr Index kSumChunks = 8;  // of the batch, whose gradients are summed apart
constexpr Index kFewItems = 8;   // fewer bands than that share the outputs among threads too

// How the work is cut. All of it follows from sizes and formats; the order of summation from `channels` alone.
template <class T>
struct CorrelationPlan {
  using Acc = Accumulator<T>;
  static constexpr Index width = kPanelWidth<Acc>;
  Index channels, channel_blocks;  // inputs that are multiplied before sums are stored
  Index panels, parts;             // of outputs; parts of them that may run apart
  Index images, rows, columns;     // of one band of outputs; its depth is 1
  bool in_place;                   // the image needs no padding and no conversion
  bool stores_directly;            // sums go straight to y
  bool streams;                    // and past the caches
  bool tiles_along_images;
  Index extent[kSpace];  // of a band's box in x
  Index image_size;      // of the packed box, an image
  Index weight_bytes, band_bytes, sums_bytes, segment_bytes;

  explicit CorrelationPlan(const Correlation<T>& c) {
    panels = ceil_div(c.outputs, width);
    channel_blocks = larger(1, ceil_div(c.taps() * c.inputs * width * Index(sizeof(Acc)), kPanelBytes));
    channels = larger(1, ceil_div(c.inputs, channel_blocks));
    channel_blocks = ceil_div(c.inputs, channels);
    in_place = std::is_same_v<T, Acc> && c.x.channel == 1;
    for (int d = 0; d < kSpace; ++d)
      in_place =
          in_place && c.axes[d].at >= 0 && c.axes[d].at + c.axes[d].span() + (c.grid[d] - 1) * c.step[d] <= c.x.size[d];
    stores_directly = std::is_same_v<T, Acc> && c.y.channel == 1;
    streams = stores_directly && channel_blocks == 1 && c.outputs % width == 0 && c.can_stream();
    cut_bands(c);
    const Index bands =
        c.groups * ceil_div(c.batch, images) * c.grid[0] * ceil_div(c.grid[1], rows) * ceil_div(c.grid[2], columns);
    parts = bands < kFewItems ? smaller(panels, ceil_div(kFewItems, bands)) : 1;
    weight_bytes = aligned(c.groups * panels * c.taps() * c.inputs * width * Index(sizeof(Acc)));
    band_bytes = in_place ? 0 : aligned(images * image_size * Index(sizeof(Acc)));
    sums_bytes = stores_directly ? 0 : aligned(images * rows * columns * width * Index(sizeof(Acc)));
    segment_bytes = aligned(2 * c.taps() * Index(sizeof(Index)));
  }

  void cut_bands(const Correlation<T>& c) {
    const auto box_of = [&](Index h, Index w) {  // bytes, with those of the outputs
      extent[0] = c.axes[0].span();
      extent[1] = (h - 1) * c.step[1] + c.axes[1].span(), extent[2] = (w - 1) * c.step[2] + c.axes[2].span();
      return (extent[0] * extent[1] * extent[2] * c.inputs + h * w * c.outputs) * Index(sizeof(Acc));
    };
    images = 1, rows = c.grid[1], columns = c.grid[2];
    const bool skips_taps = c.taps() > 1 || !in_place || columns < kLeastRow;
    tiles_along_images =
        skips_taps && c.batch >= kFewImages && columns <= kSmallRow && kTileRows * box_of(1, columns) <= kImagesBytes;
    if (tiles_along_images) {
      images = ceil_div(c.batch, ceil_div(c.batch, kTileRows));
      while (rows > 1 && images * box_of(rows, columns) > kImagesBytes) --rows;
    } else {
      while (rows > 1 && box_of(rows, columns) > kBandBytes) rows = (rows + 1) / 2;
      while (columns > 4 * kTileRows && box_of(rows, columns) > kBandBytes) columns = (columns + 1) / 2;
      const Index bytes = larger(1, box_of(rows, columns));
      if (rows == c.grid[1] && columns == c.grid[2]) images = smaller(c.batch, larger(1, kBandBytes / bytes));
      images = ceil_div(c.batch, ceil_div(c.batch, images));
    }
    rows = ceil_div(c.grid[1], ceil_div(c.grid[1], rows)), columns = ceil_div(c.grid[2], ceil_div(c.grid[2], columns));
    box_of(rows, columns);
    // The first-level cache holds what all images have at one pixel only where they do not share its sets.
    image_size = extent[0] * extent[1] * extent[2] * c.inputs;
    if (tiles_along_images && image_size * Index(sizeof(Acc)) % 1024 == 0) image_size += 80 / Index(sizeof(Acc));
    if (tiles_along_images) in_place = false;
  }
  Index team_bytes() const { return band_bytes + sums_bytes + segment_bytes; }
};

// One band of outputs of one group.
template <class T>
struct BandOfOutputs {
  Index part, group, n, images, d, h, rows, w, columns;
};

template <class T>
class Correlator {
  using Acc = Accumulator<T>;
  using Plan = CorrelationPlan<T>;
  static constexpr Index width = Plan::width;

 public:
  Correlator(const Correlation<T>& c, const Plan& plan, char* workspace)
      : c_(c), plan_(plan), panels_(reinterpret_cast<Acc*>(workspace)), teams_(workspace + plan.weight_bytes) {}

  void run() const {
    pack_weights();
    const Index items = this->items();
    const Index macs = c_.batch * c_.groups * c_.grid[0] * c_.grid[1] * c_.grid[2] * c_.outputs * c_.inputs * c_.taps();
    const Index teams = smaller(items, kTeams);
    parallel_for(teams, 1 + kConvGrain / (macs / teams + 1), [&](Index begin, Index end) {
      for (Index team = begin; team < end; ++team)
        for (Index item = team * items / teams; item < (team + 1) * items / teams; ++item)
          compute(item, teams_ + team * plan_.team_bytes());
      if (plan_.streams) end_stores_around();
    });
  }

 private:
  Index panel_size() const { return c_.taps() * c_.inputs * width; }
  Index items() const {
    return plan_.parts * c_.groups * ceil_div(c_.batch, plan_.images) * c_.grid[0] * ceil_div(c_.grid[1], plan_.rows) *
           ceil_div(c_.grid[2], plan_.columns);
  }

  void pack_weights() const {
    const Index grain = 1 + kConvGrain / (8 * panel_size() + 1);
    parallel_for(c_.groups * plan_.panels, grain, [&](Index begin, Index end) {
      for (Index i = begin; i < end; ++i) {
        const Index group = i / plan_.panels, o = i % plan_.panels * width;
        Acc* out = panels_ + i * panel_size();
        for (Index block = 0; block < plan_.channel_blocks; ++block) {
          const Index c = block * plan_.channels, channels = smaller(plan_.channels, c_.inputs - c);
          Weights<T> weights = c_.weights;
          weights.data += group * c_.weights_group + o * weights.output + c * weights.input;
          pack_panel(out, weights, c_.axes, c_.kernel, smaller(width, c_.outputs - o), channels);
          out += c_.taps() * channels * width;
        }
      }
    });
  }

  BandOfOutputs<T> band_of(Index item) const {
    const auto next = [&item](Index count) {
      const Index i = item % count;
      item /= count;
      return i;
    };
    const auto range = [](Index number, Index size, Index end, Index& begin, Index& count) {
      begin = number * size, count = smaller(size, end - begin);
    };
    BandOfOutputs<T> at;
    at.part = next(plan_.parts);
    range(next(ceil_div(c_.grid[2], plan_.columns)), plan_.columns, c_.grid[2], at.w, at.columns);
    range(next(ceil_div(c_.grid[1], plan_.rows)), plan_.rows, c_.grid[1], at.h, at.rows);
    at.d = next(c_.grid[0]);
    range(next(ceil_div(c_.batch, plan_.images)), plan_.images, c_.batch, at.n, at.images);
    at.group = item;
    return at;
  }

  void compute(Index item, char* workspace) const {
    const BandOfOutputs<T> at = band_of(item);
    const Band<const Acc> band = band_for(at, reinterpret_cast<Acc*>(workspace));
    Acc* sums = reinterpret_cast<Acc*>(workspace + plan_.band_bytes);
    Index* segments = reinterpret_cast<Index*>(workspace + plan_.band_bytes + plan_.sums_bytes);
    const Index tiles = at.images * at.rows * ceil_div(at.columns, kTileRows) * plan_.channel_blocks;
    Upcoming upcoming = behind(item, tiles * plan_.panels / plan_.parts);
    for (Index n = 0; n < at.images && c_.fills_gaps && at.part == 0; ++n)
      fill_gaps(c_, at.n + n, {at.d, at.h, at.w}, {1, at.rows, at.columns});
    for (Index panel = at.part * plan_.panels / plan_.parts; panel < (at.part + 1) * plan_.panels / plan_.parts;
         ++panel) {
      for (Index block = 0; block < plan_.channel_blocks; ++block)
        multiply(at, band, panel, block, sums, segments, upcoming);
      if (!plan_.stores_directly) finish(at, panel, sums);
    }
  }

  // What the band after this item's reads in place, where kernels are of one pixel, or else what it writes: neither
  // does a processor foresee.
  Upcoming behind(Index item, Index calls) const {
    item += plan_.parts;
    if (item >= items()) return {};
    const BandOfOutputs<T> at = band_of(item);
    const auto all_of = [&](const auto& band, Index channels) {
      Index rows = at.rows;
      if (at.images > 1 && band.batch == rows * band.space[1]) rows *= at.images;
      return Upcoming(band.data, rows, band.space[1], at.columns, band.space[2], channels, larger(1, calls));
    };
    if (plan_.in_place && c_.taps() == 1) return all_of(band_for(at, nullptr), c_.inputs);
    const bool writes_all = plan_.stores_directly && !plan_.streams && c_.groups * c_.y_step[1] * c_.y_step[2] == 1;
    return writes_all ? all_of(outputs_of(at, 0, nullptr), c_.outputs) : Upcoming();
  }

  // The part of the image that the band reads, packed where it has to be.
  Band<const Acc> band_for(const BandOfOutputs<T>& at, Acc* out) const {
    Box box{.n = at.n, .count = at.images, .channel = at.group * c_.inputs, .channels = c_.inputs};
    const Index first[kSpace] = {at.d, at.h, at.w}, count[kSpace] = {1, at.rows, at.columns};
    for (int i = 0; i < kSpace; ++i) {
      box.start[i] = first[i] * c_.step[i] + c_.axes[i].at;
      box.extent[i] = (count[i] - 1) * c_.step[i] + c_.axes[i].span();
    }
    if constexpr (std::is_same_v<T, Acc>) {
      if (plan_.in_place) {
        const Images<const T>& x = c_.x;
        const T* data = x.data + box.n * x.batch + box.channel;
        for (int i = 0; i < kSpace; ++i) data += box.start[i] * x.space[i];
        return {data, x.batch, {x.space[0], x.space[1], x.space[2]}};
      }
    }
    for (Index n = 0; n < at.images; ++n) {
      Box one = box;
      one.n += n, one.count = 1;
      pack_band(out + n * plan_.image_size, c_.x, one);
    }
    const Index pixel = c_.inputs, row = pixel * box.extent[2], slice = row * box.extent[1];
    return {out, plan_.image_size, {slice, row, pixel}};
  }

  // Where the taps' segments begin for one row of outputs, or one output of all images: those that meet the image.
  // Neighbouring taps of a row are one segment where all of their channels are read. Few rows meet other taps than the
  // last did, which are listed.
  struct TapsMet {
    Index first[kSpace] = {}, end[kSpace] = {};
  };
  void list_segments(ConvTile<Acc>& tile, const Band<const Acc>& band, const Index (&output)[kSpace], Index channels,
                     TapsMet& listed, Index* at) const {
    const Axis(&axes)[kSpace] = c_.axes;
    const bool one_output = plan_.tiles_along_images;
    const bool merges = channels == band.space[2] && axes[2].at_step == 1;
    TapsMet met;
    auto& [first, end] = met;
    Index count = 0;
    for (int i = 0; i < kSpace; ++i) {
      const Index start = output[i] * c_.step[i] + axes[i].at;
      first[i] = 0, end[i] = axes[i].count;
      if (i == 2 && !one_output) break;
      while (first[i] < end[i] && start + first[i] * axes[i].at_step < 0) ++first[i];
      while (first[i] < end[i] && start + (end[i] - 1) * axes[i].at_step >= c_.x.size[i]) --end[i];
    }
    if (memcmp(&met, &listed, sizeof met) == 0) return;
    listed = met;
    const Index together = merges ? end[2] - first[2] : 1;
    if (merges) end[2] = smaller(end[2], first[2] + 1);
    for (Index d = first[0]; d < end[0]; ++d)
      for (Index h = first[1]; h < end[1]; ++h)
        for (Index w = first[2]; w < end[2]; ++w, ++count) set_segment(band, {d, h, w}, channels, at, count);
    tile.segments = count, tile.depth = together * channels;
  }
  void set_segment(const Band<const Acc>& band, const Index (&tap)[kSpace], Index channels, Index* at,
                   Index number) const {
    at[number] = 0;
    for (int i = 0; i < kSpace; ++i) at[number] += tap[i] * c_.axes[i].at_step * band.space[i];
    at[c_.taps() + number] = ((tap[0] * c_.axes[1].count + tap[1]) * c_.axes[2].count + tap[2]) * channels * width;
  }

  // One panel of weights, some channels of it, times the whole band.
  void multiply(const BandOfOutputs<T>& at, const Band<const Acc>& band, Index panel, Index block, Acc* sums,
                Index* segments, Upcoming& upcoming) const {
    const Index channel = block * plan_.channels, channels = smaller(plan_.channels, c_.inputs - channel);
    const Index columns = smaller(width, c_.outputs - panel * width);
    ConvTile<Acc> tile{.a_at = segments, .b_at = segments + c_.taps(), .a_column = 1, .b_row = width};
    tile.b = panels_ + (at.group * plan_.panels + panel) * panel_size() + c_.taps() * channel * width;
    const ConvTileKernel<Acc>* kernels = conv_tile_kernels<Acc>(columns);
    const bool along_images = plan_.tiles_along_images;
    const Index pixel = c_.step[2] * band.space[2], row = c_.step[1] * band.space[1];
    const Index length = along_images ? at.images : at.columns, others = along_images ? at.columns : at.images;
    const Index tiles = ceil_div(length, kTileRows);
    tile.a_row = along_images ? band.batch : pixel, tile.streams = plan_.streams;
    Band<Acc> out = outputs_of(at, panel, sums);
    const Index columns_apart = plan_.stores_directly ? c_.y_step[2] * out.space[2] : out.space[2];
    const Index rows_apart = plan_.stores_directly ? c_.y_step[1] * out.space[1] : out.space[1];
    TileOutput<Acc> to{.out = nullptr, .out_row = along_images ? out.batch : columns_apart};
    if (block + 1 == plan_.channel_blocks) {
      to.bias = c_.bias ? c_.bias + at.group * c_.outputs + panel * width : nullptr;
      to.relu = c_.relu;
    }
    to.before_row = to.out_row;
    TapsMet listed;
    for (Index other = 0; other < others; ++other) {
      for (Index h = 0; h < at.rows; ++h) {
        list_segments(tile, band, {at.d, at.h + h, at.w + other}, channels, listed, segments);
        for (Index t = 0; t < tiles; ++t) {
          const Index i = t * length / tiles, rows = (t + 1) * length / tiles - i;
          const Index n = along_images ? i : other, w = along_images ? other : i;
          tile.a = band.data + channel + n * band.batch + h * row + w * pixel;
          to.out = out.data + n * out.batch + h * rows_apart + w * columns_apart;
          to.before = block > 0 ? to.out : nullptr;
          const Upcoming::Share share = upcoming.next(tile.segments * tile.depth);
          tile.ahead = share.at, tile.ahead_step = share.step;
          kernels[rows](tile, to, columns);
        }
      }
    }
  }

  Index y_start(const BandOfOutputs<T>& at) const {
    const Index first[kSpace] = {at.d, at.h, at.w};
    Index start = at.n * c_.y.batch;
    for (int i = 0; i < kSpace; ++i) start += (c_.origin[i] + first[i] * c_.y_step[i]) * c_.y.space[i];
    return start;
  }
  // Where the micro-kernel's sums go: y itself, or a block of (images, rows, columns, width) for `finish`.
  Band<Acc> outputs_of(const BandOfOutputs<T>& at, Index panel, Acc* sums) const {
    if constexpr (std::is_same_v<T, Acc>) {
      if (plan_.stores_directly)
        return {c_.y.data + y_start(at) + at.group * c_.outputs + panel * width,
                c_.y.batch,
                {c_.y.space[0], c_.y.space[1], c_.y.space[2]}};
    }
    return {sums, at.rows * at.columns * width, {0, at.columns * width, width}};
  }

  // Brings a panel's sums into y's type and format.
  void finish(const BandOfOutputs<T>& at, Index panel, const Acc* sums) const {
    const Index outputs = smaller(width, c_.outputs - panel * width), step = c_.y_step[2] * c_.y.space[2];
    T* first = c_.y.data + y_start(at) + (at.group * c_.outputs + panel * width) * c_.y.channel;
    for (Index n = 0; n < at.images; ++n) {
      for (Index h = 0; h < at.rows; ++h, sums += at.columns * width) {
        T* out = first + n * c_.y.batch + h * c_.y_step[1] * c_.y.space[1];
        if constexpr (std::is_same_v<T, Acc>) {
          if (step == 1) {
            copy_transposed(out, c_.y.channel, sums, width, at.columns, outputs);
            continue;
          }
        }
        if (c_.y.channel == 1) {
          for (Index w = 0; w < at.columns; ++w)
            map(out + w * step, outputs, [](auto v) { return v; }, sums + w * width);
        } else {
          for (Index o = 0; o < outputs; ++o)
            for (Index w = 0; w < at.columns; ++w) out[o * c_.y.channel + w * step] = narrowed<T>(sums[w * width + o]);
        }
      }
    }
  }

  const Correlation<T>& c_;
  const Plan& plan_;
  Acc* panels_;
  char* teams_;
};

template <class T>
std::size_t correlation_bytes(const Correlation<T>& given) {
  if (given.is_empty()) return 0;
  const Correlation<T> c = as_one_row(given);
  const CorrelationPlan<T> plan(c);
  return std::size_t(plan.weight_bytes + kTeams * plan.team_bytes());
}

template <class T>
void correlate(const Correlation<T>& given, void* workspace) {
  if (given.is_empty()) return fill_with_bias(given);
  const Correlation<T> c = as_one_row(given);
  const CorrelationPlan<T> plan(c);
  Correlator<T>(c, plan, static_cast<char*>(workspace)).run();
}

}  // namespace
}  // namespace dd2424::cpu::DD2424_ISA
