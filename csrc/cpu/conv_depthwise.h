#pragma once
// Groups of few channels, such as one each: a lane of a vector is an output channel, whatever group it belongs to. Each
// tap multiplies a vector of the image by a vector of weights, and nothing is summed across lanes.
#include "cpu/conv_correlate.h"
#include "cpu/conv_depthwise_row.h"
#include "cpu/shuffle.h"

namespace dd2424::cpu::DD2424_ISA {
namespace {

constexpr int kLaneOutputs = 8;           // pixels whose sums stay in registers together
constexpr Index kLaneBytes = 128 * 1024;  // of a packed part of the image

// A tile: sums of neighbouring pixels, for as many channels as a vector has lanes.
template <class T>
struct LaneTile {
  const T* x;
  T* y;
  const T* weights;
  const T* bias;  // or null
  const Index* x_at;
  const Index* weight_at;
  Index taps, x_step, y_step, channels;
  bool relu, streams;
};

template <bool IsWhole, class T>
inline Vec<T> load_lanes(const T* p, Index count) {
  if constexpr (IsWhole) return load(p);
  else return load(p, count);
}

template <class T, int Outputs, bool IsWhole>
inline void lane_tile(const LaneTile<T>& in, Index first) {
  Vec<T> sums[Outputs] = {};
  const T* x = in.x + first * in.x_step;
  for (Index t = 0; t < in.taps; ++t) {
    const Vec<T> weight = load(in.weights + in.weight_at[t]);
    const T* from = x + in.x_at[t];
#pragma GCC unroll 8
    for (int j = 0; j < Outputs; ++j)
      sums[j] = fma(load_lanes<IsWhole>(from + j * in.x_step, in.channels), weight, sums[j]);
  }
  T* y = in.y + first * in.y_step;
#pragma GCC unroll 8
  for (int j = 0; j < Outputs; ++j) {
    Vec<T> sum = sums[j];
    if (in.bias) sum += load_lanes<IsWhole>(in.bias, in.channels);
    if (in.relu) sum = sum < T(0) ? Vec<T>{} : sum;  // a NaN stays one
    if (!IsWhole) store(y + j * in.y_step, sum, in.channels);
    else if (in.streams) store_around(y + j * in.y_step, sum);
    else store(y + j * in.y_step, sum);
  }
}

template <bool IsWhole, class T>
[[gnu::noinline]] void lane_row(const LaneTile<T>& in, Index outputs) {
  Index j = 0;
  for (; j + kLaneOutputs <= outputs; j += kLaneOutputs) lane_tile<T, kLaneOutputs, IsWhole>(in, j);
  if (j + 4 <= outputs) lane_tile<T, 4, IsWhole>(in, j), j += 4;
  if (j + 2 <= outputs) lane_tile<T, 2, IsWhole>(in, j), j += 2;
  if (j < outputs) lane_tile<T, 1, IsWhole>(in, j);
}

// Part of an image as the tiles read it: pixel (d, h, w) at data + sum of (position - start) * space.
template <class X>
struct Part {
  X* data;
  Index start[kSpace], space[kSpace];
  Index input;  // from one input of a group to the next
};

// Where a block of lanes reads: lane o of group o / outputs, whose channels begin at o / outputs * inputs.
template <class T>
struct LaneChannels {
  static constexpr Index lanes = kLanes<Accumulator<T>>;
  Index first, count;  // of the block's outputs
  Index inputs, outputs;
  // The channels that the block reads are as many and lie as its outputs do, so that whole vectors can be moved.
  bool are_aligned() const { return inputs == outputs && lanes % outputs == 0; }
  Index channel(Index lane, Index input) const { return (first + lane) / outputs * inputs + input; }
};

// One row of pixels, for the inputs i of each group: out[i * plane + w * lanes + lane].
template <class T>
void pack_lane_row(Accumulator<T>* out, Index plane, const T* in, const Images<const T>& x, const LaneChannels<T>& at,
                   Index columns) {
  using Acc = Accumulator<T>;
  constexpr Index lanes = kLanes<Acc>;
  if (!at.are_aligned()) {
    for (Index i = 0; i < at.inputs; ++i, out += plane)
      for (Index lane = 0; lane < at.count; ++lane) {
        const T* from = in + at.channel(lane, i) * x.channel;
        for (Index w = 0; w < columns; ++w) out[w * lanes + lane] = widened(from[w * x.space[2]]);
      }
    return;
  }
  in += at.first * x.channel;
  if (x.channel != 1) {
    copy_transposed(out, lanes, in, x.channel, at.count, columns);
  } else if (at.count == lanes) {
    for (Index w = 0; w < columns; ++w) store(out + w * lanes, load(in + w * x.space[2]));
  } else {
    for (Index w = 0; w < columns; ++w) store(out + w * lanes, load(in + w * x.space[2], at.count));
  }
  if (at.inputs == 1) return;
  for (Index i = at.inputs - 1; i >= 0; --i) {  // input 0 last: what it replaces is what all are made of
    LaneNumbers<Acc> numbers{};
    for (Index lane = 0; lane < lanes; ++lane) numbers[lane] = int(lane / at.outputs * at.inputs + i);
    for (Index w = 0; w < columns; ++w) store(out + i * plane + w * lanes, pick<Acc>(load(out + w * lanes), numbers));
  }
}

// Some rows of an image for a block of lanes: (input, d, h, w, lane).
template <class T>
void pack_lanes(Accumulator<T>* out, const Images<const T>& x, Index n, const LaneChannels<T>& at,
                const Index (&start)[kSpace], const Index (&extent)[kSpace]) {
  const Index row = extent[2] * at.lanes, plane = extent[0] * extent[1] * row;
  if (at.count < at.lanes) memset(out, 0, std::size_t(at.inputs * plane) * sizeof *out);
  for (Index d = 0; d < extent[0]; ++d)
    for (Index h = 0; h < extent[1]; ++h, out += row) {
      const T* in = x.data + n * x.batch + (start[0] + d) * x.space[0] + (start[1] + h) * x.space[1];
      pack_lane_row(out, plane, in + start[2] * x.space[2], x, at, extent[2]);
    }
}

// How the work is cut; none of it moves a bit.
template <class T>
struct LanePlan {
  using Acc = Accumulator<T>;
  static constexpr Index lanes = kLanes<Acc>;
  Index channels, blocks;  // outputs of all groups; vectors of them
  Index rows, bands, parts;
  bool in_place, stores_directly, streams;
  bool slides;  // along rows of three taps
  Index weight_bytes, x_bytes, y_bytes, list_bytes;

  explicit LanePlan(const Correlation<T>& c) {
    channels = c.groups * c.outputs, blocks = ceil_div(channels, lanes);
    constexpr bool is_plain = std::is_same_v<T, Acc>;
    in_place = is_plain && c.x.channel == 1 && c.inputs == 1 && c.outputs == 1;
    stores_directly = is_plain && c.y.channel == 1, streams = stores_directly && c.can_stream();
    const Axis& along = c.axes[2];
    const Index reach = (c.grid[2] - 1) * c.step[2] + along.at + kRowTaps;  // the end of the last pixel met
    slides = std::is_same_v<Acc, float> && channels % lanes == 0 && along.count == kRowTaps && along.at_step == 1;
    slides = slides && c.step[2] <= 2 && (along.at == 0 || along.at == -1) && reach <= c.x.size[2] + 1;
    rows = c.grid[1];
    while (rows > 1 && box_bytes(c, rows) > kLaneBytes) rows = (rows + 1) / 2;
    bands = ceil_div(c.grid[1], rows);
    const Index items = c.batch * bands;
    parts = !in_place ? blocks : items < kFewItems ? smaller(blocks, ceil_div(kFewItems, items)) : 1;
    weight_bytes = aligned(c.taps() * c.inputs * blocks * lanes * Index(sizeof(Acc)));
    x_bytes = in_place ? 0 : aligned(box_bytes(c, rows));
    y_bytes = stores_directly ? 0 : aligned(rows * c.grid[2] * lanes * Index(sizeof(Acc)));
    list_bytes = aligned(2 * c.taps() * c.inputs * Index(sizeof(Index)));
  }
  static Index box_bytes(const Correlation<T>& c, Index h) {
    Index pixels = smaller(c.x.size[0], c.axes[0].span());
    pixels *= smaller(c.x.size[1], (h - 1) * c.step[1] + c.axes[1].span()) * c.x.size[2];
    return pixels * c.inputs * lanes * Index(sizeof(Acc));
  }
  Index team_bytes() const { return x_bytes + y_bytes + list_bytes; }
  std::size_t bytes() const { return std::size_t(weight_bytes + kTeams * team_bytes()); }
};

template <class T>
class LaneCorrelator {
  using Acc = Accumulator<T>;
  static constexpr Index lanes = kLanes<Acc>;

 public:
  LaneCorrelator(const Correlation<T>& c, const LanePlan<T>& plan, char* workspace)
      : c_(c), plan_(plan), weights_(reinterpret_cast<Acc*>(workspace)), teams_(workspace + plan.weight_bytes) {}

  struct Rows {
    Index n, h, count, block, blocks;
  };

  void run() const {
    pack_weights();
    const Index items = plan_.parts * c_.batch * plan_.bands, teams = smaller(items, kTeams);
    const Index macs = c_.batch * c_.grid[0] * c_.grid[1] * c_.grid[2] * plan_.channels * c_.inputs * c_.taps();
    parallel_for(teams, 1 + kConvGrain / 4 / (macs / larger(1, teams) + 1), [&](Index begin, Index end) {
      for (Index team = begin; team < end; ++team)
        for (Index item = team * items / teams; item < (team + 1) * items / teams; ++item)
          compute(item, teams_ + team * plan_.team_bytes());
      if (plan_.streams) end_stores_around();
    });
  }

  // What the rows read of the image, no pixel outside of it.
  Part<const Acc> packed_part(const Rows& at, Index d, Acc* out) const {
    const Index first[kSpace] = {d * c_.step[0], at.h * c_.step[1], 0};
    const Index last[kSpace] = {first[0], (at.h + at.count - 1) * c_.step[1], (c_.grid[2] - 1) * c_.step[2]};
    Part<const Acc> part{.data = out};
    Index extent[kSpace];
    for (int i = 0; i < kSpace; ++i) {
      const Index end = smaller(c_.x.size[i], last[i] + c_.axes[i].at + c_.axes[i].span());
      part.start[i] = smaller(larger(0, first[i] + c_.axes[i].at), c_.x.size[i]);
      extent[i] = larger(0, end - part.start[i]);
    }
    part.space[2] = lanes, part.space[1] = extent[2] * lanes, part.space[0] = extent[1] * part.space[1];
    part.input = extent[0] * part.space[0];
    const Index channel = at.block * lanes, count = smaller(lanes, plan_.channels - channel);
    pack_lanes(out, c_.x, at.n, LaneChannels<T>{channel, count, c_.inputs, c_.outputs}, part.start, extent);
    return part;
  }

  void list_taps(LaneTile<Acc>& tile, const Part<const Acc>& x, const Index (&output)[kSpace], Index* list) const {
    Met met[kSpace];
    Index base = 0, start[kSpace];
    for (int i = 0; i < kSpace; ++i) {
      start[i] = output[i] * c_.step[i] + c_.axes[i].at;
      met[i] = taps_met(c_.axes[i], start[i], c_.x.size[i]);
      base += (start[i] - x.start[i]) * x.space[i];
    }
    const Index row = plan_.blocks * lanes;
    Index* weight_at = list + c_.taps() * c_.inputs;
    tile.taps = 0;
    for (Index d = met[0].first; d < met[0].end; ++d)
      for (Index h = met[1].first; h < met[1].end; ++h)
        for (Index w = met[2].first; w < met[2].end; ++w)
          for (Index i = 0; i < c_.inputs; ++i, ++tile.taps) {
            list[tile.taps] = base + d * c_.axes[0].at_step * x.space[0] + h * c_.axes[1].at_step * x.space[1] +
                              w * c_.axes[2].at_step * x.space[2] + i * x.input;
            weight_at[tile.taps] = (((d * c_.axes[1].count + h) * c_.axes[2].count + w) * c_.inputs + i) * row;
          }
  }

  // The rows of three taps that a row of outputs meets: their pixels 0, and their first weights. The number of them.
  Index list_lines(const Part<const Acc>& x, Index d, Index h, Index* x_at) const {
    const Index start[2] = {d * c_.step[0] + c_.axes[0].at, h * c_.step[1] + c_.axes[1].at};
    const Met slices = taps_met(c_.axes[0], start[0], c_.x.size[0]),
              rows = taps_met(c_.axes[1], start[1], c_.x.size[1]);
    const Index row = plan_.blocks * lanes;
    Index* weight_at = x_at + c_.taps() * c_.inputs;
    Index count = 0;
    for (Index input = 0; input < c_.inputs; ++input)
      for (Index i = slices.first; i < slices.end; ++i)
        for (Index j = rows.first; j < rows.end; ++j, ++count) {
          x_at[count] = (start[0] + i * c_.axes[0].at_step - x.start[0]) * x.space[0] +
                        (start[1] + j * c_.axes[1].at_step - x.start[1]) * x.space[1] + input * x.input;
          weight_at[count] = ((i * c_.axes[1].count + j) * kRowTaps * c_.inputs + input) * row;
        }
    return count;
  }

  // From row h on, those of one block that meet all taps: their lines lie alike.
  Index rows_together(const Rows& at, Index h) const {
    const Met whole = whole_outputs(c_.axes[1], c_.step[1], c_.grid[1], c_.x.size[1]);
    if (!plan_.slides || at.blocks > 1 || h < whole.first || h >= whole.end) return 1;
    return smaller(whole.end, at.h + at.count) - h;
  }

  // Of the rows that the outputs behind row h read, the last; a part of it for each block.
  void fetch_next_row(const Rows& at, Index d, Index h, const Part<const Acc>& x, Index block) const {
    const Index slice = larger(0, d * c_.step[0] + c_.axes[0].at);
    const Index row = (h + 1) * c_.step[1] + c_.axes[1].at + c_.axes[1].span() - 1;
    if (!plan_.in_place || at.blocks < plan_.blocks || slice >= c_.x.size[0] || row < 0 || row >= c_.x.size[1]) return;
    for (Index r = larger(0, row - c_.step[1] + 1); r <= row; ++r)
      fetch_part(x.data + slice * x.space[0] + r * x.space[1], c_.x.size[2] * x.space[2], block, at.blocks);
  }

 private:
  // (tap, input, channel), blocks of a whole vector.
  void pack_weights() const {
    const Index row = plan_.blocks * lanes;
    if (plan_.channels < row) memset(weights_, 0, std::size_t(plan_.weight_bytes));
    for (Index channel = 0; channel < plan_.channels; ++channel) {
      const T* group = c_.weights.data + channel / c_.outputs * c_.weights_group;
      const T* from = group + channel % c_.outputs * c_.weights.output;
      Acc* out = weights_ + channel;
      for (Index d = 0; d < c_.axes[0].count; ++d)
        for (Index h = 0; h < c_.axes[1].count; ++h)
          for (Index w = 0; w < c_.axes[2].count; ++w) {
            const Index tap = number_of_tap(c_.axes, c_.kernel, d, h, w) * c_.weights.tap;
            for (Index i = 0; i < c_.inputs; ++i, out += row) *out = widened(from[tap + i * c_.weights.input]);
          }
    }
  }

  void compute(Index item, char* workspace) const {
    const Index part = item % plan_.parts, band = item / plan_.parts % plan_.bands;
    Rows at{.n = item / plan_.parts / plan_.bands, .h = band * plan_.rows};
    at.count = smaller(plan_.rows, c_.grid[1] - at.h);
    at.block = part * plan_.blocks / plan_.parts;
    at.blocks = (part + 1) * plan_.blocks / plan_.parts - at.block;
    Acc* packed = reinterpret_cast<Acc*>(workspace);
    Part<const Acc> x;
    if constexpr (std::is_same_v<T, Acc>)
      x = {.data = c_.x.data + at.n * c_.x.batch + at.block * lanes,
           .start = {},
           .space = {c_.x.space[0], c_.x.space[1], c_.x.space[2]}};
    for (Index d = 0; d < c_.grid[0]; ++d) {
      if (!plan_.in_place) x = packed_part(at, d, packed);
      compute_rows(at, d, x, workspace + plan_.x_bytes);
    }
  }

  void compute_rows(const Rows& at, Index d, const Part<const Acc>& x, char* workspace) const {
    Acc* sums = reinterpret_cast<Acc*>(workspace);
    Index* list = reinterpret_cast<Index*>(workspace + plan_.y_bytes);
    T* y = c_.y.data + at.n * c_.y.batch + at.block * lanes * c_.y.channel;
    y += (c_.origin[0] + d * c_.y_step[0]) * c_.y.space[0] + c_.origin[2] * c_.y.space[2];
    const Index step = c_.y_step[2] * c_.y.space[2], row = c_.y_step[1] * c_.y.space[1], line = c_.grid[2] * lanes;
    for (Index h = at.h, rows; h < at.h + at.count; h += rows) {
      T* out = y + c_.origin[1] * c_.y.space[1] + h * row;
      rows = rows_together(at, h);
      if constexpr (std::is_same_v<T, Acc>) {
        if (plan_.stores_directly) {
          compute_row(at, d, h, rows, x, {out, step, row}, list);
          continue;
        }
      }
      compute_row(at, d, h, rows, x, {sums, lanes, line}, list);
      const Index channels = smaller(lanes, plan_.channels - at.block * lanes);
      for (Index r = 0; r < rows; ++r) unpack_row(out + r * row, step, sums + r * line, channels);
    }
  }
  // Where outputs go: strides of pixels and of rows.
  struct Outputs {
    Acc* y;
    Index step, row;
  };

  void slide(const Rows& at, Index d, Index h, Index rows, const Part<const float>& x, const Outputs& to,
             Index* list) const {
    LaneRow row{.x_at = list, .weight_at = list + c_.taps() * c_.inputs, .lines = list_lines(x, d, h, list)};
    row.pixel = x.space[2], row.tap = c_.inputs * plan_.blocks * lanes, row.y_step = to.step;
    row.rows = rows, row.x_row = c_.step[1] * x.space[1], row.y_row = to.row;
    row.start = c_.axes[2].at, row.size = c_.x.size[2], row.relu = c_.relu, row.streams = plan_.streams;
    for (Index block = 0; block < at.blocks; ++block) {
      const Index channel = (at.block + block) * lanes;
      row.x = x.data + block * lanes, row.y = to.y + block * lanes;
      row.weights = weights_ + channel, row.bias = c_.bias ? c_.bias + channel : nullptr;
      if (c_.step[2] == 1) slide_rows<1>(row, c_.grid[2]);
      else slide_rows<2>(row, c_.grid[2]);
    }
  }

  // Columns at the edges one by one, for each meets other taps; all between in one go.
  void compute_row(const Rows& at, Index d, Index h, Index rows, const Part<const Acc>& x, const Outputs& to,
                   Index* list) const {
    if constexpr (std::is_same_v<Acc, float>) {
      if (plan_.slides) return slide(at, d, h, rows, x, to, list);
    }
    const Met whole = whole_outputs(c_.axes[2], c_.step[2], c_.grid[2], c_.x.size[2]);
    for (Index w = 0; w < c_.grid[2];) {
      const Index end = w == whole.first && whole.end > w ? whole.end : w + 1;
      LaneTile<Acc> tile{.x_at = list, .weight_at = list + c_.taps() * c_.inputs};
      list_taps(tile, x, {d, h, w}, list);
      tile.x_step = c_.step[2] * x.space[2], tile.y_step = to.step;
      for (Index block = 0; block < at.blocks; ++block) {
        const Index channel = (at.block + block) * lanes;
        tile.x = x.data + block * lanes, tile.y = to.y + w * to.step + block * lanes;
        tile.weights = weights_ + channel, tile.bias = c_.bias ? c_.bias + channel : nullptr;
        tile.channels = smaller(lanes, plan_.channels - channel), tile.relu = c_.relu;
        tile.streams = plan_.streams;
        if (w == whole.first) fetch_next_row(at, d, h, x, block);
        if (tile.channels == lanes) lane_row<true>(tile, end - w);
        else lane_row<false>(tile, end - w);
      }
      w = end;
    }
  }

  void unpack_row(T* row, Index step, const Acc* sums, Index channels) const {
    if constexpr (std::is_same_v<T, Acc>) {
      if (step == 1) return copy_transposed(row, c_.y.channel, sums, lanes, c_.grid[2], channels);
    }
    for (Index w = 0; w < c_.grid[2] && c_.y.channel == 1; ++w)
      map(row + w * step, channels, [](auto v) { return v; }, sums + w * lanes);
    for (Index lane = 0; lane < channels && c_.y.channel != 1; ++lane)
      for (Index w = 0; w < c_.grid[2]; ++w) row[lane * c_.y.channel + w * step] = narrowed<T>(sums[w * lanes + lane]);
  }

  const Correlation<T>& c_;
  const LanePlan<T>& plan_;
  Acc* weights_;
  char* teams_;
};

}  // namespace
}  // namespace dd2424::cpu::DD2424_ISA
