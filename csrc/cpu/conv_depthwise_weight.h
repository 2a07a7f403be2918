#pragma once
// The gradient by the weights where groups have few channels: lane by lane, as in conv_depthwise.h.
#include "cpu/conv_depthwise.h"

namespace dd2424::cpu::DD2424_ISA {
namespace {

constexpr int kLaneTaps = 9;  // whose sums stay in registers together

template <class T>
struct LaneGradientTile {
  const T* x;
  const T* dy;
  T* sums;
  const Index* x_at;
  const Index* sum_at;
  Index taps, pixels, x_step, dy_step, channels;
};

// sums[sum_at[t]] += sum over pixels p of x[x_at[t] + p * x_step] * dy[p * dy_step], lane by lane.
template <int Taps, bool IsWhole, class T>
void lane_gradient_tile(const LaneGradientTile<T>& in, Index first) {
  Vec<T> sums[Taps] = {};
  const T* x[Taps];
#pragma GCC unroll 9
  for (int t = 0; t < Taps; ++t) x[t] = in.x + in.x_at[first + t];
  const T* dy = in.dy;
  for (Index p = 0, at = 0; p < in.pixels; ++p, at += in.x_step, dy += in.dy_step) {
    const Vec<T> gradient = load_lanes<IsWhole>(dy, in.channels);
#pragma GCC unroll 9
    for (int t = 0; t < Taps; ++t) sums[t] = fma(load_lanes<IsWhole>(x[t] + at, in.channels), gradient, sums[t]);
  }
#pragma GCC unroll 9
  for (int t = 0; t < Taps; ++t) {
    T* total = in.sums + in.sum_at[first + t];
    store(total, load(total) + sums[t]);
  }
}
template <bool IsWhole, class T>
[[gnu::noinline]] void lane_gradient(const LaneGradientTile<T>& in) {
  Index t = 0;
  for (; t + kLaneTaps <= in.taps; t += kLaneTaps) lane_gradient_tile<kLaneTaps, IsWhole>(in, t);
  for (; t + 3 <= in.taps; t += 3) lane_gradient_tile<3, IsWhole>(in, t);
  for (; t < in.taps; ++t) lane_gradient_tile<1, IsWhole>(in, t);
}

// `c` is the forward pass: its y stands for dy.
template <class T>
class LaneWeightGradient {
  using Acc = Accumulator<T>;
  static constexpr Index lanes = kLanes<Acc>;

 public:
  LaneWeightGradient(const Correlation<T>& c, char* workspace) : c_(c), plan_(c), workspace_(workspace) {
    x_in_place_ = plan_.in_place, dy_in_place_ = plan_.stores_directly;
    items_ = c.batch * plan_.bands, chunks_ = smaller(items_, kSumChunks);
    const bool packs = !x_in_place_ || !dy_in_place_;
    parts_ = packs ? plan_.blocks : smaller(plan_.blocks, ceil_div(kFewItems, larger(1, chunks_)));
    sums_size_ = c.taps() * c.inputs * plan_.blocks * lanes;
    dy_bytes_ = aligned(dy_in_place_ ? 0 : plan_.rows * c.grid[2] * lanes * Index(sizeof(Acc)));
    team_bytes_ = plan_.x_bytes + dy_bytes_ + plan_.list_bytes;
  }
  std::size_t bytes() const { return std::size_t(chunks_ * sums_bytes() + chunks_ * parts_ * team_bytes_); }

  // Sums (tap, input, output).
  const Acc* run() const {
    const Index units = chunks_ * parts_, macs = items_ * plan_.rows * c_.grid[2] * c_.grid[0] * sums_size_ / units;
    parallel_for(units, 1 + kConvGrain / 4 / (macs + 1), [&](Index begin, Index end) {
      for (Index unit = begin; unit < end; ++unit) add_unit(unit);
    });
    combine();
    return sums_of(0);
  }

 private:
  struct Place {
    Index n, h, count, block, blocks;
  };
  Index sums_bytes() const { return aligned(sums_size_ * Index(sizeof(Acc))); }
  Acc* sums_of(Index chunk) const { return reinterpret_cast<Acc*>(workspace_ + chunk * sums_bytes()); }

  void add_unit(Index unit) const {
    const Index chunk = unit / parts_, part = unit % parts_, row = plan_.blocks * lanes;
    Place at{.block = part * plan_.blocks / parts_};
    at.blocks = (part + 1) * plan_.blocks / parts_ - at.block;
    for (Index i = 0; i < c_.taps() * c_.inputs; ++i)
      memset(sums_of(chunk) + i * row + at.block * lanes, 0, std::size_t(at.blocks * lanes) * sizeof(Acc));
    char* workspace = workspace_ + chunks_ * sums_bytes() + unit * team_bytes_;
    for (Index item = chunk * items_ / chunks_; item < (chunk + 1) * items_ / chunks_; ++item) {
      at.n = item / plan_.bands, at.h = item % plan_.bands * plan_.rows;
      at.count = smaller(plan_.rows, c_.grid[1] - at.h);
      for (Index d = 0; d < c_.grid[0]; ++d) add_rows(at, d, chunk, workspace);
    }
  }

  void add_rows(const Place& at, Index d, Index chunk, char* workspace) const {
    Part<const Acc> x, dy;
    if constexpr (std::is_same_v<T, Acc>) {
      const auto in_place = [&](const auto& images) {
        return Part<const Acc>{.data = images.data + at.n * images.batch + at.block * lanes,
                               .space = {images.space[0], images.space[1], images.space[2]}};
      };
      x = in_place(c_.x), dy = in_place(c_.y);
    }
    if (!x_in_place_) {
      const LaneCorrelator<T> packer(c_, plan_, workspace);
      x = packer.packed_part({at.n, at.h, at.count, at.block, 1}, d, reinterpret_cast<Acc*>(workspace));
    }
    if (!dy_in_place_) dy = packed_dy(at, d, reinterpret_cast<Acc*>(workspace + plan_.x_bytes));
    add_products(at, d, x, dy, chunk, workspace);
  }

  Part<const Acc> packed_dy(const Place& at, Index d, Acc* out) const {
    const Images<const T> dy{.data = c_.y.data,
                             .size = {c_.y.size[0], c_.y.size[1], c_.y.size[2]},
                             .batch = c_.y.batch,
                             .channel = c_.y.channel,
                             .space = {c_.y.space[0], c_.y.space[1], c_.y.space[2]}};
    const Index start[kSpace] = {d, at.h, 0}, extent[kSpace] = {1, at.count, c_.grid[2]};
    const Index channel = at.block * lanes, count = smaller(lanes, plan_.channels - channel);
    pack_lanes(out, dy, at.n, LaneChannels<T>{channel, count, 1, 1}, start, extent);
    return {.data = out, .start = {d, at.h, 0}, .space = {0, c_.grid[2] * lanes, lanes}};
  }

  void slide_products(const Place& at, Index d, const Part<const float>& x, const Part<const float>& dy, Index chunk,
                      char* workspace) const {
    const LaneCorrelator<T> lister(c_, plan_, workspace);
    Index* list = reinterpret_cast<Index*>(workspace + plan_.x_bytes + dy_bytes_);
    LaneRowGradient row{.x_at = list, .sum_at = list + c_.taps() * c_.inputs, .pixel = x.space[2]};
    row.tap = c_.inputs * plan_.blocks * lanes, row.dy_step = dy.space[2];
    row.start = c_.axes[2].at, row.size = c_.x.size[2], row.outputs = c_.grid[2];
    row.x_row = c_.step[1] * x.space[1], row.dy_row = dy.space[1];
    for (Index h = at.h; h < at.h + at.count; h += row.rows) {
      row.lines = lister.list_lines(x, d, h, list);
      row.rows = lister.rows_together({at.n, at.h, at.count, at.block, at.blocks}, h);
      const float* from = dy.data + (d - dy.start[0]) * dy.space[0] + (h - dy.start[1]) * dy.space[1];
      for (Index block = 0; block < at.blocks; ++block) {
        row.x = x.data + block * lanes, row.dy = from + block * lanes;
        row.sums = sums_of(chunk) + (at.block + block) * lanes;
        if (c_.step[2] == 1) slide_rows_gradient<1>(row);
        else slide_rows_gradient<2>(row);
      }
    }
  }

  void fetch_next_rows(const Place& at, Index d, Index h, const Part<const Acc>& x, const Part<const Acc>& dy,
                       Index block, const LaneCorrelator<T>& lister) const {
    if (!x_in_place_ || !dy_in_place_ || h + 1 >= c_.grid[1]) return;
    lister.fetch_next_row({at.n, at.h, at.count, at.block, at.blocks}, d, h, x, block);
    fetch_part(dy.data + d * dy.space[0] + (h + 1) * dy.space[1], c_.grid[2] * dy.space[2], block, at.blocks);
  }

  void add_products(const Place& at, Index d, const Part<const Acc>& x, const Part<const Acc>& dy, Index chunk,
                    char* workspace) const {
    if constexpr (std::is_same_v<Acc, float>) {
      if (plan_.slides) return slide_products(at, d, x, dy, chunk, workspace);
    }
    const LaneCorrelator<T> lister(c_, plan_, workspace);
    Index* list = reinterpret_cast<Index*>(workspace + plan_.x_bytes + dy_bytes_);
    const Met whole = whole_outputs(c_.axes[2], c_.step[2], c_.grid[2], c_.x.size[2]);
    for (Index h = at.h; h < at.h + at.count; ++h) {
      for (Index w = 0; w < c_.grid[2];) {
        const Index end = w == whole.first && whole.end > w ? whole.end : w + 1;
        LaneTile<Acc> taps{};
        lister.list_taps(taps, x, {d, h, w}, list);
        LaneGradientTile<Acc> tile{
            .x_at = list, .sum_at = list + c_.taps() * c_.inputs, .taps = taps.taps, .pixels = end - w};
        tile.x_step = c_.step[2] * x.space[2], tile.dy_step = dy.space[2];
        const Acc* from = dy.data + (d - dy.start[0]) * dy.space[0] + (h - dy.start[1]) * dy.space[1] + w * dy.space[2];
        for (Index block = 0; block < at.blocks; ++block) {
          const Index channel = (at.block + block) * lanes;
          tile.x = x.data + block * lanes, tile.dy = from + block * lanes, tile.sums = sums_of(chunk) + channel;
          tile.channels = smaller(lanes, plan_.channels - channel);
          if (w == whole.first) fetch_next_rows(at, d, h, x, dy, block, lister);
          if (tile.channels == lanes) lane_gradient<true>(tile);
          else lane_gradient<false>(tile);
        }
        w = end;
      }
    }
  }

  // Adds the chunks' sums in the order of a balanced binary tree.
  void combine() const {
    for (Index step = 1; step < chunks_; step *= 2)
      for (Index chunk = 0; chunk + step < chunks_; chunk += 2 * step)
        map(sums_of(chunk), sums_size_, [](auto x, auto y) { return x + y; }, sums_of(chunk), sums_of(chunk + step));
  }

  const Correlation<T>& c_;
  LanePlan<T> plan_;
  char* workspace_;
  bool x_in_place_, dy_in_place_;
  Index items_, chunks_, parts_, sums_size_, dy_bytes_, team_bytes_;
};

}  // namespace
}  // namespace dd2424::cpu::DD2424_ISA
