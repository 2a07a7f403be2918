// The forward pass and the gradient by the input: an image's tiles and the filters are brought to the points,
// multiplied there, matrix by matrix, and the sums brought back.
#include "cpu/conv_winograd.h"

#include "cpu/conv_tile.h"
#include "cpu/conv_winograd_filters.h"

namespace dd2424::cpu::DD2424_ISA {
namespace {

// Measured on an AMD EPYC of the Zen 4 kind (32 KB and 1 MB of cache a core).
constexpr Index kBlockChannels = 128;      // multiplied before sums are stored
constexpr Index kBlockBytes = 300 * 1024;  // of an image's points, which stay in the second-level cache
constexpr Index kLeastTiles = 28;          // of a block on wide layers, whose points no such cache holds
constexpr Index kFewTiles = 64;            // of all: filters are then transformed where they are used
constexpr Index kManyFilters = 256;        // likewise, from so many inputs on
constexpr Index kFewBlocks = 8;            // smaller blocks, so that threads find enough of them
constexpr Index kLeastChannels = 16;       // for which all of this pays
constexpr Index kLeastGathered = 12;       // likewise, of all phases together
constexpr Index kLeastTilesInAll = 8;      // likewise: below, filters take longer than images
constexpr Index kMostFilters = 1 << 20;    // pairs of channels, which take 144 bytes each at the points

// y[n, o, h, w] = bias[o] + sum over c, i, j < taps of g[o, c, i, j] x[n, c, h + i + origin[0], w + j + origin[1]] with
// the channels of all phases of x, or for each phase of y.
struct Correlation {
  const ConvSizes& sizes;
  PhaseImages x;
  Images<const float> whole;
  TileOutputs to[kPhases];
  Filters filters;
  Index x_phases, y_phases;
  Index inputs, outputs;  // of a phase
  Index height, width;    // to be cut into tiles
};

struct Plan {
  Tiling tiling;
  Index points;
  Index channels, channel_blocks;  // inputs, of all phases, that are multiplied before sums are stored
  Index panels, all_panels;        // of a phase's outputs, and of all phases, one after the other
  bool has_few_tiles;              // then threads share the panels, otherwise blocks of tiles
  Index blocks, tiles;             // of tiles: how many, and in the largest
  Index filters_size;              // of a panel and a block of channels at the points, in floats

  explicit Plan(const Correlation& c) : tiling(tile_of_taps(int(taps_of(c.sizes))), c.sizes.batch, c.height, c.width) {
    const Index inputs = c.x_phases * c.inputs, patch = patch_of(c.sizes);
    points = patch * patch;
    channel_blocks = ceil_div(inputs, kBlockChannels);
    channels = round_up(ceil_div(inputs, channel_blocks), kLanes<float>);
    channel_blocks = ceil_div(inputs, channels);
    panels = ceil_div(c.outputs, kWidth), all_panels = c.y_phases * panels;
    filters_size = points * (channels * kWidth + kPointGap);
    has_few_tiles = tiling.tiles() <= kFewTiles && inputs >= kManyFilters;
    tiles = tiling.tiles();
    if (!has_few_tiles) {
      const Index point_bytes = points * larger(channel_blocks * channels, kWidth) * Index(sizeof(float));
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
  Points points_at(float* data) const { return {data, points, tiles, channels}; }
  Points sums(float* data) const { return {data, points, tiles, kWidth}; }
  Index points_size() const { return points_at(nullptr).block * channel_blocks; }
  Index sums_size() const { return sums(nullptr).block; }

  // What exists once: the filters at the points, or the image. What a team has: the other, sums, and a stage.
  Index shared_size() const { return has_few_tiles ? points_size() : all_panels * channel_blocks * filters_size; }
  Index team_size() const { return (has_few_tiles ? filters_size : points_size()) + sums_size() + kStageSize; }
  Index team_bytes() const { return aligned(team_size() * Index(sizeof(float))); }
  std::size_t bytes() const {
    return std::size_t(aligned(shared_size() * Index(sizeof(float))) + kWinogradTeams * team_bytes());
  }
};

// Adds the products of some channels at a point: sums(tile, o) += image(tile, c) filters(c, o).
void multiply(const Points& image, const Points& sums, const float* filters, Index p, Index tiles, Range channels,
              Index columns, bool first, Ahead& reads, Ahead& writes) {
  static constexpr Index kStart[1] = {0};
  const ConvTileKernel<float>* kernels = conv_tile_kernels<float>(columns);
  ConvTile<float> in{.a = nullptr, .b = filters + channels.begin * kWidth, .a_at = kStart, .b_at = kStart};
  in.segments = 1, in.depth = channels.size(), in.a_row = image.width, in.a_column = 1, in.b_row = kWidth;
  TileOutput<float> to{.out = nullptr, .out_row = kWidth};
  to.before_row = kWidth;
  const Index count = ceil_div(tiles, kTileRows);
  for (Index i = 0; i < count; ++i) {
    const Index tile = i * tiles / count, rows = (i + 1) * tiles / count - tile;
    in.a = image.data + p * image.point + tile * image.width + channels.begin;
    to.out = sums.data + p * sums.point + tile * kWidth;
    to.before = first ? nullptr : to.out;
    kernels[rows](in, to, columns);
    reads.next<false>(), writes.next<true>();
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
  Index first_output(Index panel) const { return panel % plan_.panels * kWidth; }
  Index outputs_of(Index panel) const { return smaller(kWidth, c_.outputs - first_output(panel)); }
  Range channels_of(Index block) const {
    return {block * plan_.channels, smaller((block + 1) * plan_.channels, c_.x_phases * c_.inputs)};
  }

  void filters(Index panel, Index block, float* out, float* stage) const {
    const Range channels = channels_of(block);
    const Index point = channels.size() * kWidth + kPointGap;
    for (Index i = 0; i < c_.x_phases; ++i) {
      const Range own = channels.within({i * c_.inputs, (i + 1) * c_.inputs});
      if (own.size() == 0) continue;
      const Phase phase(c_.sizes, c_.y_phases > 1 ? panel / plan_.panels : i);
      with_taps(taps_of(c_.sizes), [&](auto taps) {
        transform_filters<taps()>(c_.filters, phase, c_.sizes.stride[1], first_output(panel), outputs_of(panel),
                                  own.begin - i * c_.inputs, own.size(), out + (own.begin - channels.begin) * kWidth,
                                  point, stage);
      });
    }
  }
  void transform(const Run& run, const Points& image, Index tile, float* stage) const {
    with_taps(taps_of(c_.sizes), [&](auto taps) {
      for (Index i = 0; i < c_.x.images; ++i)
        transform_run<ImageTransform<taps()>>(c_.x.x[i], c_.x.channels, c_.x.origin[i], run, image, tile,
                                              i * c_.x.channels, stage);
    });
  }

  // Sums of a panel, a block of channels after the other.
  void multiply_block(const Points& image, Index block, const float* filters, Index panel, Index tiles,
                      const Points& sums, Ahead& reads, Ahead& writes) const {
    Points part = image;
    part.data += block * image.block;
    const Range channels = channels_of(block);
    const Index columns = outputs_of(panel) > kLanes<float> ? kWidth : kLanes<float>;
    for (Index p = 0; p < plan_.points; ++p, filters += channels.size() * kWidth + kPointGap) {
      const Range phases = phases_at(c_.sizes, p), own{panel / plan_.panels, panel / plan_.panels + 1};
      Range all{0, c_.inputs};
      if (c_.x_phases > 1) all = {phases.begin * c_.inputs, phases.end * c_.inputs};
      else if (c_.y_phases > 1 && phases.within(own).size() == 0) all.end = 0;
      const Range met = channels.within(all);
      if (all.size() == 0 && block == 0)
        memset(sums.data + p * sums.point, 0, std::size_t(tiles * kWidth) * sizeof(float));
      if (met.size() == 0) continue;
      multiply(part, sums, filters, p, tiles, {met.begin - channels.begin, met.end - channels.begin}, columns,
               met.begin == all.begin, reads, writes);
    }
  }
  void write(Index first_run, Index end_run, Index panel, const Team& team) const {
    const Index first = plan_.tiling.first_tile(first_run);
    with_taps(taps_of(c_.sizes), [&](auto taps) {
      for (Index i = first_run; i < end_run; ++i) {
        const Run run = plan_.tiling.run(i);
        write_run<taps()>(c_.to[panel / plan_.panels], run, first_output(panel), outputs_of(panel), kWidth,
                          team.sums.at(run.tile - first, 0), team.sums.point, team.stage);
      }
    });
  }

  // Few tiles and many filters: the image is transformed once, filters in the loop.
  void run_panels() {
    const Points image = plan_.points_at(shared_);
    scratch_.share(plan_.tiling.runs(), 1, [&](Index item, char* memory) {
      const Run run = plan_.tiling.run(item);
      transform(run, image, run.tile, team(memory).stage);
    });
    scratch_.share(plan_.all_panels, 1, [&](Index panel, char* memory) {
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
    const Index parts = plan_.all_panels * plan_.channel_blocks, stride = c_.x.images > 1 ? c_.sizes.stride[1] : 1;
    scratch_.share(parts, 1, [&](Index item, char* memory) {
      filters(item / plan_.channel_blocks, item % plan_.channel_blocks, shared_ + item * plan_.filters_size,
              team(memory).stage);
    });
    Tiling read = plan_.tiling;  // of the whole image
    read.size *= stride;
    const Index origin = c_.x.origin[0][0] * stride + (taps_of(c_.sizes) - 1) * stride;
    scratch_.share(plan_.blocks, 1, [&](Index item, char* memory) {
      const Team team = this->team(memory);
      const Points image = plan_.points_at(team.own);
      const Index begin = plan_.first_run(item), end = plan_.first_run(item + 1);
      const Index first = plan_.tiling.first_tile(begin), tiles = plan_.tiles_of(item);
      for (Index i = begin; i < end; ++i) {
        const Run run = plan_.tiling.run(i);
        transform(run, image, run.tile - first, team.stage);
      }
      const Index products = plan_.points * ceil_div(tiles, kTileRows) * plan_.channel_blocks;  // of a panel
      Ahead reads(c_.whole, read, end, plan_.first_run(item + 2), origin, products * plan_.all_panels);
      Ahead block_writes;
      if (c_.to[0].y.channel == 1 && c_.y_phases == 1)
        block_writes = Ahead(c_.to[0].y, plan_.tiling, begin, end, 0, products);
      for (Index panel = 0; panel < plan_.all_panels; ++panel) {
        Ahead writes = block_writes.channels(first_output(panel), outputs_of(panel));
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

Correlation forward_of(const ConvForward<float>& a, float* gathered) {
  const ConvSizes& s = a.sizes;
  const bool last = s.weight_format == Format::channels_last;
  const Index filter = s.kernel[1] * s.kernel[2];
  Correlation c{.sizes = s,
                .x = images_of(s, a.x, gathered),
                .whole = images(a.x, s.x_format, s.inputs, s.image),
                .filters = {a.weight, s.kernel[1], filter * s.inputs, last ? 1 : filter, last ? s.inputs : 1, false},
                .x_phases = phases_of(s),
                .y_phases = 1,
                .inputs = s.inputs,
                .outputs = s.outputs,
                .height = s.out[1],
                .width = s.out[2]};
  if (gathers(s)) c.whole = c.x.x[0];
  c.to[0] = {images(a.y, s.y_format, s.outputs, s.out), a.bias, a.relu};
  return c;
}
// dx[h] = sum over i of weight[i] dy[h + padding - i]: the filters rotated, inputs and outputs exchanged.
Correlation input_of(const ConvInput<float>& a) {
  const ConvSizes& s = a.sizes;
  const bool last = s.weight_format == Format::channels_last;
  const Index filter = s.kernel[1] * s.kernel[2];
  Correlation c{.sizes = s,
                .x = {.images = 1, .channels = s.outputs},
                .whole = images(a.dy, s.y_format, s.outputs, s.out),
                .filters = {a.weight, s.kernel[1], last ? 1 : filter, filter * s.inputs, last ? s.inputs : 1, true},
                .x_phases = 1,
                .y_phases = phases_of(s),
                .inputs = s.outputs,
                .outputs = s.inputs,
                .height = ceil_div(s.image[1], s.stride[1]),
                .width = ceil_div(s.image[2], s.stride[2])};
  const Phase first(s, 0);
  c.x.x[0] = c.whole, c.x.origin[0][0] = first.h.gradient_origin(), c.x.origin[0][1] = first.w.gradient_origin();
  for (Index i = 0; i < c.y_phases; ++i)
    c.to[i] = {Phase(s, i).of(images(a.dx, s.x_format, s.inputs, s.image), s), a.bias, a.relu};
  return c;
}

Status run(const Correlation& c, void* workspace) {
  const Plan plan(c);
  Correlator(c, plan, workspace).run();
  return Status::ok;
}

// Pairs of an output and a tap that meet the image along one axis: the direct kernels multiply no others.
Index taps_inside(const ConvSizes& s, int d) {
  Index pairs = 0;
  for (Index q = 0; q < s.kernel[d]; ++q) {
    const Index first = larger(0, ceil_div(larger(0, s.padding[d] - q), s.stride[d]));
    const Index end = s.image[d] + s.padding[d] - q;
    pairs += larger(0, smaller(s.out[d], end <= 0 ? 0 : ceil_div(end, s.stride[d])) - first);
  }
  return pairs;
}

// Whether the phases are such that tiles of dx meet the same tile of dy.
bool phases_meet(const ConvSizes& s) {
  const Phase one(s, 0), other(s, kPhases / 2);
  return one.h.gradient_origin() == other.h.gradient_origin() &&
         Phase(s, 0).w.gradient_origin() == Phase(s, 1).w.gradient_origin();
}

bool has_channels(const ConvSizes& s, ConvPass pass) {
  if (phases_of(s) == 1) return smaller(s.inputs, s.outputs) >= kLeastChannels;
  if (s.outputs < kLeastChannels) return false;
  if (gathers(s)) return pass != ConvPass::input && kPhases * s.inputs >= kLeastGathered;
  return s.inputs % kLeastChannels == 0 && s.x_format == Format::channels_last &&
         (pass != ConvPass::input || phases_meet(s));
}

}  // namespace

bool uses_winograd(const ConvSizes& s, ConvPass pass) {
  const Index kernel = s.kernel[1], stride = s.stride[1], filters = s.inputs * s.outputs;
  bool fits = s.allows_winograd && s.groups == 1 && s.kernel[0] == 1 && s.image[0] == 1 && s.out[0] == 1;
  fits = fits && s.padding[0] == 0 && stride <= 2;
  for (int d = 1; d < kSpace; ++d) fits = fits && s.kernel[d] == kernel && s.stride[d] == stride && s.dilation[d] == 1;
  if (!fits || taps_of(s) < 2 || taps_of(s) > (stride == 1 && pass != ConvPass::weight ? 5 : 4)) return false;
  if (!has_channels(s, pass) || filters > kMostFilters) return false;
  const Index patch = patch_of(s), axis = stride == 1 ? patch : 2 * patch - kernel % 2;  // products along one
  const Index tiles = Tiling(tile_of_taps(int(taps_of(s))), s.batch, s.out[1], s.out[2]).tiles();
  const Index direct = s.batch * taps_inside(s, 1) * taps_inside(s, 2);
  return tiles >= kLeastTilesInAll &&
         (stride == 1 ? 2 * direct >= 3 * axis * axis * tiles : 4 * direct >= 5 * axis * axis * tiles);
}

Status winograd_forward(const ConvForward<float>& a, void* workspace) {
  float* gathered = static_cast<float*>(workspace);
  if (gathers(a.sizes)) gather_phases(a.sizes, a.x, gathered);
  return run(forward_of(a, gathered), gathered + gathered_size(a.sizes));
}
Status winograd_input(const ConvInput<float>& a, void* workspace) { return run(input_of(a), workspace); }
std::size_t winograd_forward_workspace(const ConvSizes& s) {
  const std::size_t gathered = std::size_t(gathered_size(s)) * sizeof(float);
  return gathered + Plan(forward_of(ConvForward<float>{.sizes = s}, nullptr)).bytes();
}
std::size_t winograd_input_workspace(const ConvSizes& s) {
  return Plan(input_of(ConvInput<float>{.sizes = s})).bytes();
}

}  // namespace dd2424::cpu::DD2424_ISA
