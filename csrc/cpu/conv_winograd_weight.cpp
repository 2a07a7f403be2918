// The gradient by the weights: at every point, a product over the tiles of x and of dy.
#include "cpu/conv_tile.h"
#include "cpu/conv_winograd.h"
#include "cpu/conv_winograd_tiles.h"

namespace dd2424::cpu::DD2424_ISA {
namespace {

// Measured on an AMD EPYC of the Zen 4 kind (32 KB and 1 MB of cache a core, 32 MB for both).
constexpr Index kBlockBytes = 4 << 20;  // of x and dy at the points
constexpr Index kLeastTiles = 128;      // of a block: the sums come from memory and go back to it
constexpr Index kMostChannels = 64;     // of a part of the sums
constexpr Index kFewItems = 4;          // of them: they are made smaller where there would be fewer
constexpr Index kStagedInputs = 16;     // whose taps are written together
constexpr Index kWidth = kPanelWidth<float>;
constexpr int kTaps = 3;

// Sums (point, input, output) in parts of `channels` inputs and a panel of outputs. Blocks of tiles follow each other;
// threads share a block's tiles first, then the parts of the sums. The last block's sums go on to the weights.
struct WeightPlan {
  Tiling tiling;
  Index channels, channel_blocks, panels;
  Index blocks, tiles;  // of tiles: how many, and in the largest

  explicit WeightPlan(const ConvSizes& s) : tiling(tile_of_taps(kTaps), s.batch, s.out[1], s.out[2]) {
    constexpr Index lanes = kLanes<float>;
    panels = ceil_div(s.outputs, kWidth);
    channels = kMostChannels;
    while (channels > 2 * lanes && ceil_div(s.inputs, channels) * panels < kFewItems) channels /= 2;
    channels = round_up(ceil_div(s.inputs, ceil_div(s.inputs, channels)), lanes);
    channel_blocks = ceil_div(s.inputs, channels);
    const Index tile_bytes = kPoints * (channel_blocks * channels + panels * kWidth) * Index(sizeof(float));
    tiles = smaller(tiling.tiles(), larger(kLeastTiles, kBlockBytes / tile_bytes));
    blocks = smaller(tiling.runs(), ceil_div(tiling.tiles(), tiles));
    tiles = 0;
    for (Index block = 0; block < blocks; ++block) tiles = larger(tiles, tiles_of(block));
  }
  Index first_run(Index block) const { return block * tiling.runs() / blocks; }
  Index tiles_of(Index block) const {
    return tiling.first_tile(first_run(block + 1)) - tiling.first_tile(first_run(block));
  }
  Points x_points(float* data) const { return {data, tiles, channels}; }
  Points dy_points(float* data) const { return {data, tiles, kWidth}; }
  Points sums(float* data) const { return {data, channels, kWidth}; }  // inputs stand where tiles do elsewhere

  Index x_size() const { return channel_blocks * x_points(nullptr).block; }
  Index dy_size() const { return panels * dy_points(nullptr).block; }
  Index sums_size() const { return channel_blocks * panels * sums(nullptr).block; }
  Index shared_size() const { return round_up(x_size() + dy_size() + sums_size(), 16); }
  static constexpr Index kTeamBytes = kStageSize * Index(sizeof(float));
  std::size_t bytes() const { return std::size_t(shared_size() * Index(sizeof(float)) + kWinogradTeams * kTeamBytes); }
};

class WeightGradient {
 public:
  WeightGradient(const ConvWeight<float>& a, const WeightPlan& plan, float* workspace)
      : a_(a),
        s_(a.sizes),
        plan_(plan),
        x_images_(images(a.x, s_.x_format, s_.inputs, s_.image)),
        dy_images_(images(a.dy, s_.y_format, s_.outputs, s_.out)),
        x_(plan.x_points(workspace)),
        dy_(plan.dy_points(workspace + plan.x_size())),
        sums_(workspace + plan.x_size() + plan.dy_size()),
        items_(plan.channel_blocks * plan.panels),
        scratch_(reinterpret_cast<char*>(workspace + plan.shared_size()), WeightPlan::kTeamBytes) {}

  void run() {
    for (Index block = 0; block < plan_.blocks; ++block) {
      transform(block);
      multiply(block);
    }
    if (plan_.blocks > 1)
      scratch_.share(items_, 1, [&](Index item, char* memory) { write(item, reinterpret_cast<float*>(memory)); });
  }

 private:
  // A part of the sums: a block of inputs and a panel of outputs.
  Points sums_of(Index item) const { return plan_.sums(sums_ + item * plan_.sums(nullptr).block); }
  Index channels_of(Index item) const {
    return smaller(plan_.channels, s_.inputs - item / plan_.panels * plan_.channels);
  }

  // Brings a block of tiles of x and dy to the points.
  void transform(Index block) {
    const Index begin = plan_.first_run(block), runs = plan_.first_run(block + 1) - begin;
    const Index first = plan_.tiling.first_tile(begin);
    scratch_.share(2 * runs, 1, [&](Index item, char* memory) {
      const Run run = plan_.tiling.run(begin + item / 2);
      float* stage = reinterpret_cast<float*>(memory);
      const Index tile = run.tile - first;
      if (item % 2 == 0)
        transform_run<ImageTransform>(x_images_, s_.inputs, {-s_.padding[1], -s_.padding[2]}, run, x_, tile, stage);
      else transform_run<GradientTransform>(dy_images_, s_.outputs, {0, 0}, run, dy_, tile, stage);
    });
  }

  // Adds a block's products to the sums. Threads share parts of them, and points too where much is to follow: none then
  // waits for long. A single block's sums are brought back while they are in a cache.
  void multiply(Index block) {
    const Index groups = plan_.blocks > 1 ? kPatch : 1, next = plan_.first_run(block + 1);
    const Index end = plan_.first_run(block + 2), products = items_ * kPoints * ceil_div(plan_.channels, kTileRows);
    const Ahead x(x_images_, plan_.tiling, next, end, kTaps - 1 - s_.padding[1], products);
    const Ahead dy(dy_images_, plan_.tiling, next, end, 0, products);
    scratch_.share(items_ * groups, 1, [&](Index i, char* memory) {
      const Index first = i % groups * (kPoints / groups);
      multiply(i / groups, first, first + kPoints / groups, plan_.tiles_of(block), block == 0,
               x.share(i, items_ * groups), dy.share(i, items_ * groups));
      if (groups == 1) write(i, reinterpret_cast<float*>(memory));
    });
  }

  // sums(c, o) += x(tile, c) dy(tile, o) at some points.
  void multiply(Index item, Index point, Index end_point, Index tiles, bool first, Ahead x, Ahead dy) const {
    static constexpr Index kStart[1] = {0};
    const Index channels = channels_of(item), panel = item % plan_.panels, count = ceil_div(channels, kTileRows);
    const Index columns = s_.outputs - panel * kWidth > kLanes<float> ? kWidth : kLanes<float>;
    const ConvTileKernel<float>* kernels = conv_tile_kernels<float>(columns);
    const Points sums = sums_of(item);
    ConvTile<float> in{.a = nullptr, .b = nullptr, .a_at = kStart, .b_at = kStart, .segments = 1, .depth = tiles};
    in.a_row = 1, in.a_column = plan_.channels, in.b_row = kWidth;
    TileOutput<float> to{.out = nullptr, .out_row = kWidth};
    to.before_row = kWidth;
    for (Index p = point; p < end_point; ++p) {
      in.b = dy_.data + panel * dy_.block + p * dy_.point;
      for (Index i = 0; i < count; ++i) {
        const Index c = i * channels / count, rows = (i + 1) * channels / count - c;
        in.a = x_.data + item / plan_.panels * x_.block + p * x_.point + c;
        to.out = sums.data + p * sums.point + c * kWidth;
        to.before = first ? nullptr : to.out;
        kernels[rows](in, to, columns);
        x.next<false>(), dy.next<false>();
      }
    }
  }

  // Brings a part of the sums back to taps, and those into the weights' format.
  void write(Index item, float* stage) const {
    constexpr Index taps = kTaps * kTaps;
    const Points sums = sums_of(item);
    const Index c = item / plan_.panels * plan_.channels, channels = channels_of(item);
    const Index o = item % plan_.panels * kWidth, outputs = smaller(kWidth, s_.outputs - o), filter = taps * s_.inputs;
    const bool last = s_.weight_format == Format::channels_last;
    for (Index first = 0; first < channels; first += kStagedInputs) {
      const Index count = smaller(kStagedInputs, channels - first);
      const Index input = last ? kWidth : taps * kWidth, tap = last ? count * kWidth : kWidth;  // of the stage
      for (Index i = 0; i < count; ++i)
        for (Index v = 0; v < outputs; v += kLanes<float>) {
          const float* from = sums.at(first + i, 0) + v;
          float* to = stage + i * input + v;
          both_ways<TapsTransform>([&](int h, int w) { return load(from + (h * kPatch + w) * sums.point); },
                                   [&](int h, int w, Floats x) { store(to + (h * kTaps + w) * tap, x); });
        }
      float* to = a_.dweight + o * filter + (c + first) * (last ? 1 : taps);
      if (last) {
        for (Index q = 0; q < taps; ++q)
          copy_transposed(to + q * s_.inputs, filter, stage + q * tap, kWidth, count, outputs);
      } else {
        copy_transposed(to, filter, stage, kWidth, count * taps, outputs);
      }
    }
  }

  const ConvWeight<float>& a_;
  const ConvSizes& s_;
  const WeightPlan& plan_;
  const Images<const float> x_images_, dy_images_;
  Points x_, dy_;
  float* sums_;
  const Index items_;  // parts of the sums
  Scratch scratch_;
};

}  // namespace

// Tiles of 2 x 2 outputs, which 5 taps have, take longer to the points than the products that they save.
bool weight_uses_winograd(const ConvSizes& s) { return s.kernel[1] == kTaps && uses_winograd(s); }

Status winograd_weight(const ConvWeight<float>& a, void* workspace) {
  const WeightPlan plan(a.sizes);
  WeightGradient(a, plan, static_cast<float*>(workspace)).run();
  return Status::ok;
}
std::size_t winograd_weight_workspace(const ConvSizes& s) { return WeightPlan(s).bytes(); }

}  // namespace dd2424::cpu::DD2424_ISA
