// The forward pass and the gradient by the input: an image's tiles and the filters are brought to the points,
// multiplied there, matrix by matrix, and the sums brought back.
#include "cpu/conv_winograd.h"

#include "cpu/conv_tile.h"
#include "cpu/conv_winograd_tiles.h"

namespace dd2424::cpu::DD2424_ISA {
namespace {

// Measured on an AMD EPYC of the Zen 4 kind (32 KB and 1 MB of cache a core).
constexpr Index kBlockChannels = 128;         // multiplied before sums are stored
constexpr Index kBlockBytes = 300 * 1024;     // of an image's points, which stay in the second-level cache
constexpr Index kLeastTiles = 28;             // of a block on wide layers, whose points no such cache holds
constexpr Index kFewTiles = 64;               // of all: filters are then transformed where they are used
constexpr Index kManyFilters = 256;           // likewise, from so many inputs on
constexpr Index kFewBlocks = 8;               // smaller blocks, so that threads find enough of them
constexpr Index kLeastChannels = 16;          // for which all of this pays
constexpr Index kLeastTilesInAll = 8;         // likewise: below, filters take longer than images
constexpr Index kMostFilters = 1 << 20;       // pairs of channels, which take 144 bytes each at the points
constexpr Index kFilterInputs = 16;           // whose filters are transformed together
constexpr Index kWidth = kPanelWidth<float>;  // of a panel of outputs
static_assert(kFilterInputs * kMostTaps * kWidth <= kStageSize);

// y[n, o, h, w] = bias[o] + sum over c, i, j < taps of g[o, c, i, j] x[n, c, h + i + origin[0], w + j + origin[1]]
struct Filters {
  const float* data;
  Index taps;                // along an axis, 3 or 5
  Index output, input, tap;  // strides
  bool rotated;              // g[i, j] is filter[taps - 1 - i, taps - 1 - j]
};
struct Correlation {
  Images<const float> x;
  TileOutputs to;
  Filters filters;
  Index batch, inputs, outputs;
  Index origin[2];
};

struct Plan {
  Tiling tiling;
  Index channels, channel_blocks;  // inputs that are multiplied before sums are stored
  Index panels;                    // of outputs
  bool has_few_tiles;              // then threads share the panels, otherwise blocks of tiles
  Index blocks, tiles;             // of tiles: how many, and in the largest
  Index filters_size;              // of a panel and a block of channels at the points, in floats

  explicit Plan(const Correlation& c)
      : tiling(tile_of_taps(int(c.filters.taps)), c.batch, c.to.y.size[1], c.to.y.size[2]) {
    channel_blocks = ceil_div(c.inputs, kBlockChannels);
    channels = round_up(ceil_div(c.inputs, channel_blocks), kLanes<float>);
    channel_blocks = ceil_div(c.inputs, channels);
    panels = ceil_div(c.outputs, kWidth);
    filters_size = kPoints * (channels * kWidth + kPointGap);
    has_few_tiles = tiling.tiles() <= kFewTiles && c.inputs >= kManyFilters;
    tiles = tiling.tiles();
    if (!has_few_tiles) {
      const Index point_bytes = kPoints * channel_blocks * channels * Index(sizeof(float));
      tiles = smaller(tiles, larger(kBlockBytes / point_bytes, kLeastTiles));
      tiles = smaller(tiles, larger(kTileRows, ceil_div(tiling.tiles(), kFewBlocks)));
    }
    blocks = smaller(tiling.runs(), ceil_div(tiling.tiles(), tiles));
    tiles = 0;
    for (Index block = 0; block < blocks; ++block) tiles = larger(tiles, tiles_of(block));
  }
  Index first_run(Index block) const { return block * tiling.runs() / blocks; }
  Index tiles_of(Index block) const {
    return tiling.first_tile(first_run(block + 1)) - tiling.first_tile(first_run(block));
  }
  Points points(float* data) const { return {data, tiles, channels}; }
  Points sums(float* data) const { return {data, tiles, kWidth}; }
  Index points_size() const { return points(nullptr).block * channel_blocks; }
  Index sums_size() const { return sums(nullptr).block; }

  // What exists once: the filters at the points, or the image. What a team has: the other, sums, and a stage.
  Index shared_size() const { return has_few_tiles ? points_size() : panels * channel_blocks * filters_size; }
  Index team_size() const { return (has_few_tiles ? filters_size : points_size()) + sums_size() + kStageSize; }
  Index team_bytes() const { return aligned(team_size() * Index(sizeof(float))); }
  std::size_t bytes() const {
    return std::size_t(aligned(shared_size() * Index(sizeof(float))) + kWinogradTeams * team_bytes());
  }
};

// Filters in vectors over the outputs: tap q of input i at i * input + q * tap.
struct FilterStage {
  Index input, tap;
};
FilterStage stage_filters(const Filters& f, Index o, Index outputs, Index c, Index inputs, float* stage) {
  const Index taps = f.taps * f.taps;
  const float* from = f.data + o * f.output + c * f.input;
  if (outputs < kWidth) memset(stage, 0, std::size_t(inputs * taps * kWidth) * sizeof *stage);
  if (f.tap == 1) {
    if (f.input == taps) copy_transposed(stage, kWidth, from, f.output, outputs, inputs * taps);
    else
      for (Index i = 0; i < inputs; ++i)
        copy_transposed(stage + i * taps * kWidth, kWidth, from + i * f.input, f.output, outputs, taps);
    return {taps * kWidth, kWidth};
  }
  for (Index q = 0; q < taps; ++q, from += f.tap) {
    float* to = stage + q * inputs * kWidth;
    if (f.input == 1) copy_transposed(to, kWidth, from, f.output, outputs, inputs);
    else
      for (Index i = 0; i < inputs; ++i) map(to + i * kWidth, outputs, [](auto v) { return v; }, from + i * f.input);
  }
  return {kWidth, inputs * kWidth};
}

// Brings the filters of a panel of outputs and a block of inputs to the points: (point, input, kWidth).
template <int Taps>
void transform_filters(const Filters& f, Index o, Index outputs, Index c, Index inputs, float* out, float* stage) {
  const Index point = inputs * kWidth + kPointGap;
  for (Index first = 0; first < inputs; first += kFilterInputs) {
    const Index count = smaller(kFilterInputs, inputs - first);
    const FilterStage at = stage_filters(f, o, outputs, c + first, count, stage);
    for (Index i = 0; i < count; ++i) {
      for (Index v = 0; v < smaller(kWidth, outputs); v += kLanes<float>) {
        const float* from = stage + i * at.input + v;
        float* to = out + (first + i) * kWidth + v;
        const auto read = [&](int h, int w) {
          const int q = h * Taps + w;
          return load(from + (f.rotated ? Taps * Taps - 1 - q : q) * at.tap);
        };
        both_ways<FilterTransform<Taps>>(read,
                                         [&](int h, int w, Floats x) { store(to + (h * kPatch + w) * point, x); });
      }
    }
  }
}

// Adds the products of a block of channels at every point: sums(tile, o) += image(tile, c) filters(c, o).
void multiply(const Points& image, const Points& sums, const float* filters, Index tiles, Index channels, Index outputs,
              bool first, Ahead& reads, Ahead& writes) {
  static constexpr Index kStart[1] = {0};
  const Index columns = outputs > kLanes<float> ? kWidth : kLanes<float>, count = ceil_div(tiles, kTileRows);
  const ConvTileKernel<float>* kernels = conv_tile_kernels<float>(columns);
  ConvTile<float> in{.a = nullptr, .b = filters, .a_at = kStart, .b_at = kStart, .segments = 1, .depth = channels};
  in.a_row = image.width, in.a_column = 1, in.b_row = kWidth;
  TileOutput<float> to{.out = nullptr, .out_row = kWidth};
  to.before_row = kWidth;
  for (Index p = 0; p < kPoints; ++p, in.b += channels * kWidth + kPointGap) {
    for (Index i = 0; i < count; ++i) {
      const Index tile = i * tiles / count, rows = (i + 1) * tiles / count - tile;
      in.a = image.data + p * image.point + tile * image.width;
      to.out = sums.data + p * sums.point + tile * kWidth;
      to.before = first ? nullptr : to.out;
      kernels[rows](in, to, columns);
      reads.next<false>(), writes.next<true>();
    }
  }
}

class Correlator {
 public:
  Correlator(const Correlation& c, const Plan& plan, void* workspace)
      : c_(c),
        plan_(plan),
        shared_(static_cast<float*>(workspace)),
        scratch_(static_cast<char*>(workspace) + aligned(plan.shared_size() * Index(sizeof(float))),
                 plan.team_bytes()) {}

  void run() { plan_.has_few_tiles ? run_panels() : run_blocks(); }

 private:
  // A team's memory.
  struct Team {
    float* own;  // the points of its tiles, or of its filters
    Points sums;
    float* stage;
  };
  Team team(char* memory) const {
    float* own = reinterpret_cast<float*>(memory);
    float* sums = own + (plan_.has_few_tiles ? plan_.filters_size : plan_.points_size());
    return {own, plan_.sums(sums), sums + plan_.sums_size()};
  }
  Index outputs_of(Index panel) const { return smaller(kWidth, c_.outputs - panel * kWidth); }
  Index channels_of(Index block) const { return smaller(plan_.channels, c_.inputs - block * plan_.channels); }

  void filters(Index panel, Index block, float* out, float* stage) const {
    const auto transform = c_.filters.taps == 3 ? transform_filters<3> : transform_filters<5>;
    transform(c_.filters, panel * kWidth, outputs_of(panel), block * plan_.channels, channels_of(block), out, stage);
  }
  void multiply_block(const Points& image, Index block, const float* filters, Index panel, Index tiles,
                      const Points& sums, Ahead& reads, Ahead& writes) const {
    Points part = image;
    part.data += block * image.block;
    multiply(part, sums, filters, tiles, channels_of(block), outputs_of(panel), block == 0, reads, writes);
  }
  void write(Index first_run, Index end_run, Index panel, const Team& team) const {
    const Index first = plan_.tiling.first_tile(first_run);
    for (Index i = first_run; i < end_run; ++i) {
      const Run run = plan_.tiling.run(i);
      const auto write = run.size == 4 ? write_run<4> : write_run<2>;
      write(c_.to, run, panel * kWidth, outputs_of(panel), kWidth, team.sums.at(run.tile - first, 0), team.sums.point,
            team.stage);
    }
  }

  // Few tiles and many filters: the image is transformed once, filters in the loop.
  void run_panels() {
    const Points image = plan_.points(shared_);
    scratch_.share(plan_.tiling.runs(), 1, [&](Index item, char* memory) {
      const Run run = plan_.tiling.run(item);
      transform_run<ImageTransform>(c_.x, c_.inputs, c_.origin, run, image, run.tile, team(memory).stage);
    });
    scratch_.share(plan_.panels, 1, [&](Index panel, char* memory) {
      const Team team = this->team(memory);
      Ahead none;
      for (Index block = 0; block < plan_.channel_blocks; ++block) {
        filters(panel, block, team.own, team.stage);
        multiply_block(image, block, team.own, panel, plan_.tiling.tiles(), team.sums, none, none);
      }
      write(0, plan_.tiling.runs(), panel, team);
    });
  }

  // Many tiles: filters are transformed once, blocks of tiles in the loop.
  void run_blocks() {
    const Index parts = plan_.panels * plan_.channel_blocks;
    scratch_.share(parts, 1, [&](Index item, char* memory) {
      filters(item / plan_.channel_blocks, item % plan_.channel_blocks, shared_ + item * plan_.filters_size,
              team(memory).stage);
    });
    scratch_.share(plan_.blocks, 1, [&](Index item, char* memory) {
      const Team team = this->team(memory);
      const Points image = plan_.points(team.own);
      const Index begin = plan_.first_run(item), end = plan_.first_run(item + 1);
      const Index first = plan_.tiling.first_tile(begin), tiles = plan_.tiles_of(item);
      for (Index i = begin; i < end; ++i) {
        const Run run = plan_.tiling.run(i);
        transform_run<ImageTransform>(c_.x, c_.inputs, c_.origin, run, image, run.tile - first, team.stage);
      }
      const Index products = kPoints * ceil_div(tiles, kTileRows) * plan_.channel_blocks;  // of a panel
      Ahead reads(c_.x, plan_.tiling, end, plan_.first_run(item + 2), c_.origin[0] + c_.filters.taps - 1,
                  products * plan_.panels);
      Ahead block_writes;
      if (c_.to.y.channel == 1) block_writes = Ahead(c_.to.y, plan_.tiling, begin, end, 0, products);
      for (Index panel = 0; panel < plan_.panels; ++panel) {
        Ahead writes = block_writes.channels(panel * kWidth, outputs_of(panel));
        for (Index block = 0; block < plan_.channel_blocks; ++block) {
          const float* filters = shared_ + (panel * plan_.channel_blocks + block) * plan_.filters_size;
          multiply_block(image, block, filters, panel, tiles, team.sums, reads, writes);
        }
        write(begin, end, panel, team);
      }
    });
  }

  const Correlation& c_;
  const Plan& plan_;
  float* shared_;
  Scratch scratch_;
};

Correlation forward_of(const ConvForward<float>& a) {
  const ConvSizes& s = a.sizes;
  const bool last = s.weight_format == Format::channels_last;
  const Index taps = s.kernel[1], filter = taps * taps;
  return {.x = images(a.x, s.x_format, s.inputs, s.image),
          .to = {images(a.y, s.y_format, s.outputs, s.out), a.bias, a.relu},
          .filters = {a.weight, taps, filter * s.inputs, last ? 1 : filter, last ? s.inputs : 1, false},
          .batch = s.batch,
          .inputs = s.inputs,
          .outputs = s.outputs,
          .origin = {-s.padding[1], -s.padding[2]}};
}
// dx[h] = sum over i of weight[i] dy[h + padding - i]: the filters rotated, inputs and outputs exchanged.
Correlation input_of(const ConvInput<float>& a) {
  const ConvSizes& s = a.sizes;
  const bool last = s.weight_format == Format::channels_last;
  const Index taps = s.kernel[1], filter = taps * taps;
  return {.x = images(a.dy, s.y_format, s.outputs, s.out),
          .to = {images(a.dx, s.x_format, s.inputs, s.image), a.bias, a.relu},
          .filters = {a.weight, taps, last ? 1 : filter, filter * s.inputs, last ? s.inputs : 1, true},
          .batch = s.batch,
          .inputs = s.outputs,
          .outputs = s.inputs,
          .origin = {s.padding[1] - taps + 1, s.padding[2] - taps + 1}};
}

Status run(const Correlation& c, void* workspace) {
  const Plan plan(c);
  Correlator(c, plan, workspace).run();
  return Status::ok;
}

// Pairs of an output and a tap that meet the image along one axis: the direct kernels multiply no others.
Index taps_inside(const ConvSizes& s, int d) {
  Index pairs = 0;
  for (Index q = 0; q < s.kernel[d]; ++q)
    pairs += larger(0, smaller(s.out[d], s.image[d] + s.padding[d] - q) - larger(0, s.padding[d] - q));
  return pairs;
}

}  // namespace

bool uses_winograd(const ConvSizes& s) {
  const Index taps = s.kernel[1], filters = s.inputs * s.outputs;
  bool fits = s.allows_winograd && s.groups == 1 && s.kernel[0] == 1 && s.image[0] == 1 && s.out[0] == 1;
  fits = fits && (taps == 3 || taps == 5);
  for (int d = 1; d < kSpace; ++d) fits = fits && s.kernel[d] == taps && s.stride[d] == 1 && s.dilation[d] == 1;
  if (!fits || smaller(s.inputs, s.outputs) < kLeastChannels || filters > kMostFilters) return false;
  const Index tiles = Tiling(tile_of_taps(int(taps)), s.batch, s.out[1], s.out[2]).tiles();
  const Index direct = s.batch * taps_inside(s, 1) * taps_inside(s, 2);
  return tiles >= kLeastTilesInAll && 2 * direct >= 3 * kPoints * tiles;
}

Status winograd_forward(const ConvForward<float>& a, void* workspace) { return run(forward_of(a), workspace); }
Status winograd_input(const ConvInput<float>& a, void* workspace) { return run(input_of(a), workspace); }
std::size_t winograd_forward_workspace(const ConvSizes& s) {
  return Plan(forward_of(ConvForward<float>{.sizes = s})).bytes();
}
std::size_t winograd_input_workspace(const ConvSizes& s) {
  return Plan(input_of(ConvInput<float>{.sizes = s})).bytes();
}

}  // namespace dd2424::cpu::DD2424_ISA
