#pragma once
// Group norm, and instance norm, whose groups are single channels. In NCHW a group of an item is one run of memory, and
// the unit of work; channels-last, a tile of the item's groups is, with the columns of batch norm.
#include "core/float_mode.h"
#include "core/norm.h"
#include "cpu/norm_planes.h"
#include "cpu/norm_tiles.h"

namespace dd2424::cpu::DD2424_ISA {
namespace {

constexpr Index kTileChannels = 64;  // at least, where there are so few items that threads share one

// What of the items is done at a time: `groups` groups of one.
struct GroupUnits {
  Index groups, per_item;
  template <class L>
  static GroupUnits of(Index items, Index groups, Index size, bool channels_last) {  // size: channels of a group
    if (!channels_last) return {1, groups};
    const Index wanted = items < 16 ? kTileChannels : kTile<L>, whole = (wanted + size - 1) / size;
    const Index most = kTile<L> / size, each = smaller(groups, smaller(whole, most));
    return {each, (groups + each - 1) / each};
  }
};
// Calls body(item, first group, groups) for every unit, on all threads.
template <class L, class G, class Body>
void for_groups(const G& a, const Body& body) {
  const GroupUnits units = GroupUnits::of<L>(a.items, a.groups, a.channels / a.groups, a.channels_last);
  const Index work = units.groups * (a.channels / a.groups) * a.inner;
  parallel_for(a.items * units.per_item, kGrain / work + 1, [&](Index begin, Index end) {
    for (Index k = begin; k < end; ++k) {
      const Index first = k % units.per_item * units.groups;
      body(k / units.per_item, first, smaller(units.groups, a.groups - first));
    }
    end_stores_around();
  });
}

// What a group's moments leave: its mean as mean + low, counted from `first` in `m`.
template <class L>
struct GroupStatistics {
  L mean, low, rstd;
  GroupStatistics(double first, double offset, double variance, double eps)
      : mean(static_cast<L>(first + offset)),
        low(static_cast<L>((first - static_cast<double>(mean)) + offset)),
        rstd(L(1) / sqrt(static_cast<L>(variance) + static_cast<L>(eps))) {}
};
template <class T, class L = Lane<T>>
void keep_statistics(const GroupNormForward<T>& a, Index at, const GroupStatistics<L>& s) {
  if (a.mean) a.mean[at] = s.mean, a.low[at] = s.low, a.rstd[at] = s.rstd;
}
template <class L>
inline L parameter(const L* p, Index channel, L otherwise) {
  return p ? p[channel] : otherwise;
}

template <class T, class L = Lane<T>>
void normalize_run(const GroupNormForward<T>& a, bool around, Index item, Index group) {
  const Index size = a.channels / a.groups, count = size * a.inner, at = (item * a.groups + group) * count;
  const L first = load_some(a.x + at, 1)[0];
  const Moments<double> m = plane_moments(a.x + at, first, {1, 1, count}, 0, 0, 1);
  const GroupStatistics<L> s(static_cast<double>(first), m.mean, m.m2 / static_cast<double>(count), a.eps);
  keep_statistics(a, item * a.groups + group, s);
  for (Index c = 0; c < size; ++c) {
    const L scale = s.rstd * parameter(a.weight, group * size + c, L(1)),
            shift = parameter(a.bias, group * size + c, L(0)) - s.low * scale;
    const Affine<Vec<L>> f{broadcast(s.mean), broadcast(scale), broadcast(shift)};
    map_out(around, a.y + at + c * a.inner, a.inner, f, a.x + at + c * a.inner);
  }
}

template <class T, class L = Lane<T>>
void normalize_groups(const GroupNormForward<T>& a, bool around, Index item, Index group, Index groups) {
  const Index size = a.channels / a.groups, channel = group * size;
  const T* x = a.x + item * a.inner * a.channels;
  double mean[kTile<L>], m2[kTile<L>];
  tile_moments<T>(x + channel, a.channels, groups * size, 0, a.inner, mean, m2);
  Line<L> about, scale, shift;
  for (Index g = 0; g < groups; ++g) {  // moments of columns, joined to those of groups
    const double first = static_cast<double>(load_some(x + channel + g * size, 1)[0]);
    double sum = 0, within = 0, between = 0;
    for (Index c = g * size; c < (g + 1) * size; ++c) {
      mean[c] += static_cast<double>(load_some(x + channel + c, 1)[0]) - first;
      sum += mean[c];
      within += m2[c];
    }
    const double offset = sum / static_cast<double>(size), n = static_cast<double>(a.inner);
    for (Index c = g * size; c < (g + 1) * size; ++c) between += (mean[c] - offset) * (mean[c] - offset);
    const GroupStatistics<L> s(first, offset, (within / n + between) / static_cast<double>(size), a.eps);
    keep_statistics(a, item * a.groups + group + g, s);
    for (Index c = g * size; c < (g + 1) * size; ++c) {
      about.of[c] = s.mean;
      scale.of[c] = s.rstd * parameter(a.weight, channel + c, L(1));
      shift.of[c] = parameter(a.bias, channel + c, L(0)) - s.low * scale.of[c];
    }
  }
  BatchNormForward<T> rows{};
  rows.x = x, rows.y = a.y + item * a.inner * a.channels;
  normalize_tile(rows, TileAffine<L>{about.of, scale.of, shift.of}, {channel, groups * size, a.channels}, around, 0,
                 a.inner);
}

template <class T, class L = Lane<T>>
Status group_norm_forward(const Context&, const GroupNormForward<T>& a) {
  const FloatMode mode;
  if (a.channels == 0 || a.inner == 0) return Status::ok;
  const bool around = goes_around(a.y, a.items * a.channels * a.inner, a.channels_last ? a.channels : a.inner);
  for_groups<L>(a, [&](Index item, Index group, Index groups) {
    if (a.channels_last) normalize_groups(a, around, item, group, groups);
    else normalize_run(a, around, item, group);
  });
  return Status::ok;
}

// Backward. With n = (x - mean) * rstd and g = dy * weight, over the M elements of a group,
//   dx = rstd * (g - sum(g) / M - n * sum(g n) / M)
//      = dy * slope - (x - mean) * tilt - shift, of which the slope alone differs from channel to channel.
// The sums of dy and dy n of each item's channels, of which dbias and dweight are made, are kept in the workspace.
struct ItemSums {
  double *dy, *dyn;  // (channels)
  ItemSums(void* workspace, Index item, Index channels)
      : dy(static_cast<double*>(workspace) + 2 * item * channels), dyn(dy + channels) {}
};
template <class L>
struct GroupGradient {
  L rstd, tilt, shift;
};
// Of channels [begin, end), a group, given the sums of dy and of dy (x - mean), which become those of dy n.
template <class T, class L = Lane<T>>
GroupGradient<L> group_gradient(const GroupNormBackward<T>& a, Index at, const ItemSums& sums, Index begin, Index end) {
  const double low = static_cast<double>(a.low[at]), rstd = static_cast<double>(a.rstd[at]);
  double total = 0, product = 0;
  for (Index c = begin; c < end; ++c) {
    const double weight = static_cast<double>(parameter(a.weight, c, L(1)));
    sums.dyn[c] = rstd * (sums.dyn[c] - low * sums.dy[c]);
    total += weight * sums.dy[c];
    product += weight * sums.dyn[c];
  }
  const double n = static_cast<double>(end - begin) * static_cast<double>(a.inner), tilt = rstd * rstd * product / n;
  return {a.rstd[at], static_cast<L>(tilt), static_cast<L>(rstd * total / n - tilt * low)};
}

template <class T, class L = Lane<T>>
void differentiate_run(const GroupNormBackward<T>& a, bool around, const ItemSums& sums, Index item, Index group) {
  const Index size = a.channels / a.groups, at = item * a.groups + group, first = group * size;
  const T *x = a.x + at * size * a.inner, *dy = a.dy + at * size * a.inner;
  const L mean = a.mean[at];
  for (Index c = 0; c < size; ++c) {
    Vec<L> of_channel[2]{};
    add_row<L>(a.inner, of_channel, [&](Index i, Index count, Vec<L>* part) {
      const Vec<L> g = load_some(dy + c * a.inner + i, count);  // 0 beyond count
      part[0] += g;
      part[1] = fma(g, load_some(x + c * a.inner + i, count) - mean, part[1]);
    });
    sums.dy[first + c] = static_cast<double>(lanes_sum<L>(of_channel[0]));
    sums.dyn[first + c] = static_cast<double>(lanes_sum<L>(of_channel[1]));
  }
  const GroupGradient<L> d = group_gradient(a, at, sums, first, first + size);
  if (!a.dx) return;
  for (Index c = 0; c < size; ++c) {
    const Vec<L> slope = broadcast(d.rstd * parameter(a.weight, first + c, L(1)));
    const auto dx = [=](Vec<L> v, Vec<L> g) {
      return fma(g, slope, -fma(v - mean, broadcast(d.tilt), broadcast(d.shift)));
    };
    map_out(around, a.dx + (at * size + c) * a.inner, a.inner, dx, x + c * a.inner, dy + c * a.inner);
  }
}

template <class T, class L = Lane<T>>
void differentiate_groups(const GroupNormBackward<T>& a, bool around, const ItemSums& sums, Index item, Index group,
                          Index groups) {
  const Index size = a.channels / a.groups, channel = group * size, from = item * a.inner * a.channels;
  const L* mean = a.mean + item * a.groups + group;
  const Tile tile{channel, groups * size, a.channels};
  Line<L> about, slope, tilt, shift;
  for (Index g = 0; g < groups; ++g)
    for (Index c = 0; c < size; ++c) about.of[g * size + c] = mean[g];
  BatchNormBackward<T> rows{};
  rows.x = a.x + from, rows.dy = a.dy + from;
  double distances[kTile<L>];
  const TileAffine<L> f{about.of, nullptr, nullptr};
  tile_sums<T>(rows, f, tile, 0, a.inner, {sums.dy + channel, sums.dyn + channel, distances});
  for (Index g = 0; g < groups; ++g) {
    const Index begin = channel + g * size;
    const GroupGradient<L> d = group_gradient(a, item * a.groups + group + g, sums, begin, begin + size);
    for (Index c = g * size; c < (g + 1) * size; ++c) {
      slope.of[c] = d.rstd * parameter(a.weight, channel + c, L(1));
      tilt.of[c] = d.tilt;
      shift.of[c] = d.shift;
    }
  }
  if (!a.dx) return;
  rows.dx = a.dx + from;
  differentiate_tile(rows, f, TileGradient<L>{slope.of, tilt.of, shift.of}, tile, around, 0, a.inner);
}

// The items' sums, in their order.
template <class T, class L = Lane<T>>
void join_items(const GroupNormBackward<T>& a, void* workspace) {
  if (!a.dweight && !a.dbias) return;
  parallel_for(a.channels, kGrain / (a.items + 1) + 1, [&](Index begin, Index end) {
    for (Index c = begin; c < end; ++c) {
      double dbias = 0, dweight = 0;
      for (Index item = 0; item < a.items && a.inner > 0; ++item) {
        const ItemSums sums(workspace, item, a.channels);
        dbias += sums.dy[c], dweight += sums.dyn[c];
      }
      if (a.dbias) a.dbias[c] = static_cast<L>(dbias);
      if (a.dweight) a.dweight[c] = static_cast<L>(dweight);
    }
  });
}

template <class T, class L = Lane<T>>
Status group_norm_backward(const Context& context, const GroupNormBackward<T>& a) {
  const FloatMode mode;
  if (a.channels == 0) return Status::ok;
  const bool around = goes_around(a.dx, a.items * a.channels * a.inner, a.channels_last ? a.channels : a.inner);
  if (a.inner > 0)
    for_groups<L>(a, [&](Index item, Index group, Index groups) {
      const ItemSums sums(context.workspace, item, a.channels);
      if (a.channels_last) differentiate_groups(a, around, sums, item, group, groups);
      else differentiate_run(a, around, sums, item, group);
    });
  join_items(a, context.workspace);
  return Status::ok;
}

inline std::size_t group_norm_workspace(Index items, Index channels, Index, Index, bool forward) {
  return forward ? 0 : static_cast<std::size_t>(2 * items * channels) * sizeof(double);
}

}  // namespace
}  // namespace dd2424::cpu::DD2424_ISA
