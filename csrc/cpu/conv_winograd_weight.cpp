// The gradient by the weights: at every point, a product over the tiles of x and of dy.
#include "cpu/conv_tile.h"
#include "cpu/conv_winograd.h"
#include "cpu/conv_winograd_tiles.h"

namespace dd2424::cpu::DD2424_ISA {
namespace {

// Measured on an AMD EPYC of the Zen 4 kind (32 KB and 1 MB of cache a core, 32 MB for both).
constexpr Index kBlockBytes = 4 << 20;        // of x and dy at the points
constexpr Index kLeastTiles = 128;            // of a block: the sums come from memory and go back to it
constexpr Index kWholeBytes = 20 << 20;       // of all, which are one block if it is not larger than sums would be
constexpr Index kOwnSumsBytes = 192 * 1024;   // sums smaller than this each thread has for itself
constexpr Index kOwnBlockBytes = 512 * 1024;  // then of x and dy: with the sums they stay in the second-level cache
constexpr Index kChunks = 8;                  // of the tiles, whose sums are added at the end
constexpr Index kMostChannels = 64;           // of a part of the sums
constexpr Index kFewItems = 4;                // of them: they are made smaller where there would be fewer
constexpr Index kStagedInputs = 16;           // whose taps are written together
constexpr Index kWidth = kPanelWidth<float>;

// Tiles of 2 x 2 outputs, which 5 taps have, take longer to the points than the products that they save.
template <class F>
void with_taps_of_weight(Index taps, const F& f) {
  with_taps(taps, [&](auto constant) {
    if constexpr (constant() < 5) f(constant);
  });
}

// Sums (point, input, output) in parts of `channels` inputs, of all phases, and a panel of outputs. Blocks of tiles
// follow each other; threads share a block's tiles first, then the parts of the sums. Of a single block each part goes
// on to the weights at once, and only a thread's own part exists. Where sums are small, chunks of the blocks have their
// own, and threads share the chunks.
struct WeightPlan {
  Tiling tiling;
  Index points, inputs;  // inputs of all phases
  Index channels, channel_blocks, panels;
  Index blocks, tiles;  // of tiles: how many, and in the largest
  Index chunks = 1;     // of blocks

  explicit WeightPlan(const ConvSizes& s)
      : tiling(tile_of_taps(int(taps_of(s))), s.batch, s.out[1], s.out[2]),
        points(patch_of(s) * patch_of(s)),
        inputs(phases_of(s) * s.inputs) {
    constexpr Index lanes = kLanes<float>;
    panels = ceil_div(s.outputs, kWidth);
    channels = kMostChannels;
    while (channels > 2 * lanes && ceil_div(inputs, channels) * panels < kFewItems) channels /= 2;
    channels = round_up(ceil_div(inputs, ceil_div(inputs, channels)), lanes);
    channel_blocks = ceil_div(inputs, channels);
    const Index tile_bytes = points * (channel_blocks * channels + panels * kWidth) * Index(sizeof(float));
    const Index sums_bytes = points * channel_blocks * channels * panels * kWidth * Index(sizeof(float));
    const bool own = sums_bytes <= kOwnSumsBytes;
    tiles = own ? larger(1, kOwnBlockBytes / tile_bytes) : larger(kLeastTiles, kBlockBytes / tile_bytes);
    const Index all_bytes = tiling.tiles() * tile_bytes;
    if (!own && all_bytes <= smaller(kWholeBytes, sums_bytes + tiles * tile_bytes)) tiles = tiling.tiles();
    tiles = smaller(tiling.tiles(), tiles);
    blocks = smaller(tiling.runs(), ceil_div(tiling.tiles(), tiles));
    tiles = 0;
    for (Index block = 0; block < blocks; ++block) tiles = larger(tiles, tiles_of(block));
    if (own) chunks = smaller(kChunks, blocks);
  }
  Index first_run(Index block) const { return block * tiling.runs() / blocks; }
  Index tiles_of(Index block) const {
    return tiling.first_tile(first_run(block + 1)) - tiling.first_tile(first_run(block));
  }
  Points x_points(float* data) const { return {data, points, tiles, channels}; }
  Points dy_points(float* data) const { return {data, points, tiles, kWidth}; }
  Points sums(float* data) const { return {data, points, channels, kWidth}; }  // inputs stand where tiles do elsewhere

  Index x_size() const { return channel_blocks * x_points(nullptr).block; }
  Index dy_size() const { return panels * dy_points(nullptr).block; }
  bool keeps_sums() const { return blocks > 1; }
  Index part_size() const { return sums(nullptr).block; }  // of the sums
  Index sums_size() const { return channel_blocks * panels * part_size(); }
  Index operands_size() const { return round_up(x_size() + dy_size(), 16); }
  Index all_sums_size() const { return keeps_sums() ? round_up(chunks * sums_size(), 16) : 0; }
  Index team_size() const { return kStageSize + (keeps_sums() ? 0 : part_size()) + (chunks > 1 ? operands_size() : 0); }
  Index shared_size() const { return all_sums_size() + (chunks > 1 ? 0 : operands_size()); }
  std::size_t bytes() const {
    return std::size_t(shared_size() + kWinogradTeams * round_up(team_size(), 16)) * sizeof(float);
  }
};

class WeightGradient {
 public:
  WeightGradient(const ConvWeight<float>& a, const WeightPlan& plan, float* workspace)
      : a_(a),
        s_(a.sizes),
        plan_(plan),
        x_images_(images_of(s_, a.x, workspace)),
        dy_images_(images(a.dy, s_.y_format, s_.outputs, s_.out)),
        sums_(workspace + gathered_size(s_)),
        items_(plan.channel_blocks * plan.panels),
        scratch_(reinterpret_cast<char*>(sums_ + plan.shared_size()),
                 round_up(plan.team_size(), 16) * Index(sizeof(float))) {}

  void run() {
    if (plan_.chunks > 1) add_chunks();
    else add_blocks();
    if (plan_.keeps_sums())
      scratch_.share(items_, 1, [&](Index item, char* memory) {
        write(item, part_of(sums_, item), reinterpret_cast<float*>(memory));
      });
  }

 private:
  // A block of tiles at the points.
  struct Operands {
    Points x, dy;
  };
  Operands operands(float* data) const { return {plan_.x_points(data), plan_.dy_points(data + plan_.x_size())}; }
  // A part of the sums: a block of inputs and a panel of outputs.
  Points part_of(float* sums, Index item) const { return plan_.sums(sums + item * plan_.part_size()); }
  Range channels_of(Index item) const {
    const Index first = item / plan_.panels * plan_.channels;
    return {first, smaller(first + plan_.channels, plan_.inputs)};
  }

  Index products() const { return items_ * plan_.points * ceil_div(plan_.channels, kTileRows); }

  void add_blocks() {
    const Operands at = operands(sums_ + plan_.all_sums_size());
    for (Index block = 0; block < plan_.blocks; ++block) {
      const Index begin = plan_.first_run(block);
      scratch_.share(2 * (plan_.first_run(block + 1) - begin), 1, [&](Index item, char* memory) {
        transform(begin + item / 2, plan_.tiling.first_tile(begin), item % 2, at, reinterpret_cast<float*>(memory));
      });
      multiply(block, at);
    }
  }
  void add_chunks() {
    scratch_.share(plan_.chunks, 1, [&](Index chunk, char* memory) {
      float* stage = reinterpret_cast<float*>(memory);
      const Operands at = operands(stage + kStageSize);
      float* sums = sums_ + chunk * plan_.sums_size();
      const Index first = chunk * plan_.blocks / plan_.chunks;
      for (Index block = first; block < (chunk + 1) * plan_.blocks / plan_.chunks; ++block) {
        const Index begin = plan_.first_run(block), end = plan_.first_run(block + 1);
        for (Index item = 2 * begin; item < 2 * end; ++item)
          transform(item / 2, plan_.tiling.first_tile(begin), item % 2, at, stage);
        const Ahead dy(dy_images_, plan_.tiling, end, plan_.first_run(block + 2), 0, products());
        for (Index item = 0; item < items_; ++item)
          multiply(item, {0, plan_.points}, plan_.tiles_of(block), at, part_of(sums, item), block == first, {},
                   dy.share(item, items_));
      }
    });
    // In the order of a balanced binary tree.
    parallel_for(plan_.sums_size(), kGatherGrain, [&](Index begin, Index end) {
      for (Index step = 1; step < plan_.chunks; step *= 2)
        for (Index chunk = 0; chunk + step < plan_.chunks; chunk += 2 * step) {
          float* to = sums_ + chunk * plan_.sums_size() + begin;
          map(to, end - begin, [](auto x, auto y) { return x + y; }, to, to + step * plan_.sums_size());
        }
    });
  }

  // Brings a run of x or of dy to the points.
  void transform(Index number, Index first, bool of_dy, const Operands& at, float* stage) const {
    const Run run = plan_.tiling.run(number);
    const Index tile = run.tile - first;
    with_taps_of_weight(taps_of(s_), [&](auto taps) {
      if (of_dy)
        return transform_run<GradientTransform<taps()>>(dy_images_, s_.outputs, {0, 0}, run, at.dy, tile, 0, stage);
      for (Index i = 0; i < x_images_.images; ++i)
        transform_run<ImageTransform<taps()>>(x_images_.x[i], x_images_.channels, x_images_.origin[i], run, at.x, tile,
                                              i * x_images_.channels, stage);
    });
  }

  // Adds a block's products to the sums. Threads share parts of them, and points too where much is to follow: none then
  // waits for long.
  void multiply(Index block, const Operands& at) {
    const Index groups = plan_.keeps_sums() ? patch_of(s_) : 1, next = plan_.first_run(block + 1);
    const Index end = plan_.first_run(block + 2);
    Tiling read = plan_.tiling;  // of the whole image
    read.size *= s_.stride[1];
    Ahead x;
    if (!gathers(s_))
      x = Ahead(images(a_.x, s_.x_format, s_.inputs, s_.image), read, next, end, s_.kernel[1] - 1 - s_.padding[1],
                products());
    const Ahead dy(dy_images_, plan_.tiling, next, end, 0, products());
    scratch_.share(items_ * groups, 1, [&](Index i, char* memory) {
      const Index item = i / groups, first = i % groups * (plan_.points / groups);
      float* stage = reinterpret_cast<float*>(memory);
      const Points sums = plan_.keeps_sums() ? part_of(sums_, item) : plan_.sums(stage + kStageSize);
      multiply(item, {first, first + plan_.points / groups}, plan_.tiles_of(block), at, sums, block == 0,
               x.share(i, items_ * groups), dy.share(i, items_ * groups));
      if (!plan_.keeps_sums()) write(item, sums, stage);
    });
  }

  // sums(c, o) += x(tile, c) dy(tile, o) at some points.
  void multiply(Index item, Range points, Index tiles, const Operands& at, const Points& sums, bool first, Ahead x,
                Ahead dy) const {
    static constexpr Index kStart[1] = {0};
    const Index panel = item % plan_.panels;
    const Range channels = channels_of(item);
    const Index columns = s_.outputs - panel * kWidth > kLanes<float> ? kWidth : kLanes<float>;
    const ConvTileKernel<float>* kernels = conv_tile_kernels<float>(columns);
    ConvTile<float> in{.a = nullptr, .b = nullptr, .a_at = kStart, .b_at = kStart, .segments = 1, .depth = tiles};
    in.a_row = 1, in.a_column = plan_.channels, in.b_row = kWidth;
    TileOutput<float> to{.out = nullptr, .out_row = kWidth};
    to.before_row = kWidth;
    for (Index p = points.begin; p < points.end; ++p) {
      const Range phases = phases_at(s_, p), met = channels.within({phases.begin * s_.inputs, phases.end * s_.inputs});
      if (first && met.size() < channels.size())
        memset(sums.data + p * sums.point, 0, std::size_t(channels.size() * kWidth) * sizeof(float));
      in.b = at.dy.data + panel * at.dy.block + p * at.dy.point;
      const Index count = ceil_div(met.size(), kTileRows);
      for (Index i = 0; i < count; ++i) {
        const Index c = met.begin - channels.begin + i * met.size() / count;
        const Index rows = met.begin - channels.begin + (i + 1) * met.size() / count - c;
        in.a = at.x.data + item / plan_.panels * at.x.block + p * at.x.point + c;
        to.out = sums.data + p * sums.point + c * kWidth;
        to.before = first ? nullptr : to.out;
        kernels[rows](in, to, columns);
        x.next<false>(), dy.next<false>();
      }
    }
  }

  // Brings a part of the sums back to taps, and those into the weights' format.
  void write(Index item, const Points& part, float* stage) const {
    with_taps_of_weight(taps_of(s_), [&](auto taps) { write<taps()>(item, part, stage); });
  }
  template <int Taps>
  void write(Index item, const Points& part, float* stage) const {
    const Range channels = channels_of(item);
    const Index o = item % plan_.panels * kWidth, outputs = smaller(kWidth, s_.outputs - o);
    for (Index first = channels.begin, count; first < channels.end; first += count) {
      const Index phase = first / s_.inputs, c = first % s_.inputs;
      count = smaller(smaller(kStagedInputs, channels.end - first), s_.inputs - c);
      const float* sums = part.at(first - channels.begin, 0);
      stage_taps<Taps>(sums, count, outputs, stage);
      write_taps(Phase(s_, phase), c, count, o, outputs, stage, Taps);
    }
  }
  // Stages (tap, input, output) where filters have their inputs last, otherwise (input, tap, output).
  Index staged_input(Index taps) const { return s_.weight_format == Format::channels_last ? kWidth : taps * kWidth; }
  Index staged_tap(Index count) const { return s_.weight_format == Format::channels_last ? count * kWidth : kWidth; }
  template <int Taps>
  void stage_taps(const float* sums, Index count, Index outputs, float* stage) const {
    using Transform = TapsTransform<Taps>;
    const Index input = staged_input(Taps * Taps), tap = staged_tap(count), point = plan_.sums(nullptr).point;
    for (Index i = 0; i < count; ++i)
      for (Index v = 0; v < outputs; v += kLanes<float>) {
        const float* from = sums + i * kWidth + v;
        float* to = stage + i * input + v;
        both_ways<Transform>([&](int h, int w) { return load(from + (h * Transform::kIn + w) * point); },
                             [&](int h, int w, Floats x) { store(to + (h * Taps + w) * tap, x); });
      }
  }
  void write_taps(const Phase& phase, Index c, Index count, Index o, Index outputs, const float* stage,
                  Index taps) const {
    const bool last = s_.weight_format == Format::channels_last;
    const Index kernel = s_.kernel[1] * s_.kernel[2], filter = kernel * s_.inputs, stride = s_.stride[1];
    float* to = a_.dweight + o * filter + c * (last ? 1 : kernel);
    if (!last && stride == 1) return copy_transposed(to, filter, stage, kWidth, count * kernel, outputs);
    const Index input = staged_input(taps * taps), tap = staged_tap(count);
    for (Index h = 0; h < phase.h.taps; ++h)
      for (Index w = 0; w < phase.w.taps; ++w) {
        const Index q = (h * stride + phase.h.tap) * s_.kernel[2] + w * stride + phase.w.tap;
        const float* from = stage + (h * taps + w) * tap;
        if (last) copy_transposed(to + q * s_.inputs, filter, from, kWidth, count, outputs);
        else
          for (Index i = 0; i < count; ++i)
            for (Index j = 0; j < outputs; ++j) to[j * filter + i * kernel + q] = from[i * input + j];
      }
  }

  const ConvWeight<float>& a_;
  const ConvSizes& s_;
  const WeightPlan& plan_;
  const PhaseImages x_images_;
  const Images<const float> dy_images_;
  float* sums_;
  const Index items_;  // parts of the sums
  Scratch scratch_;
};

}  // namespace

Status winograd_weight(const ConvWeight<float>& a, void* workspace) {
  const WeightPlan plan(a.sizes);
  if (gathers(a.sizes)) gather_phases(a.sizes, a.x, static_cast<float*>(workspace));
  WeightGradient(a, plan, static_cast<float*>(workspace)).run();
  return Status::ok;
}
std::size_t winograd_weight_workspace(const ConvSizes& s) {
  return std::size_t(gathered_size(s)) * sizeof(float) + WeightPlan(s).bytes();
}

}  // namespace dd2424::cpu::DD2424_ISA
