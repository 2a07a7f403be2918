#include "ops/resample_map.h"

#include "ops/copy.h"
#include "ops/images.h"

namespace dd2424::ops {
namespace {

AxisMap transpose(const AxisMap& map) {
  const auto size = static_cast<std::size_t>(map.in);
  AxisMap t{.in = map.out(), .first = std::vector<Index>(size + 1, 0), .index = map.index, .weight = map.weight};
  for (Index from : map.index) ++t.first[static_cast<std::size_t>(from) + 1];
  for (std::size_t i = 0; i < size; ++i) t.first[i + 1] += t.first[i];
  std::vector<Index> next = t.first;
  for (Index row = 0; row < map.out(); ++row)
    for (auto at = static_cast<std::size_t>(map.first[row]); at < static_cast<std::size_t>(map.first[row + 1]); ++at) {
      const auto to = static_cast<std::size_t>(next[static_cast<std::size_t>(map.index[at])]++);
      t.index[to] = row, t.weight[to] = map.weight[at];
    }
  return t;
}

struct MapNode final : Node {
  std::shared_ptr<const Mapping> map;
  explicit MapNode(std::shared_ptr<const Mapping> map) : map(std::move(map)) {}
  const char* name() const override { return map->op; }
  Tensors backward(const Tensors& grads, const Needs&) override {
    const bool channels_last = grads[0].ndim() > 3 && suggests_channels_last(grads[0]);
    return {map_axes(grads[0], std::make_shared<const Mapping>(map->transposed()), channels_last)};
  }
};

// The dimensions from the slowest to the fastest in memory.
Shape memory_order(int ndim, bool channels_last) {
  Shape order;
  for (int d = 0; d < ndim; ++d)
    if (!(channels_last && d == 1)) order.push_back(d);
  if (channels_last) order.push_back(1);
  return order;
}

void run_take(const Tensor& x, const Tensor& y, const Mapping& map, bool channels_last, const Scalar& value) {
  const Element fill = to_element(value, x.dtype());
  Take a{.x = x->data, .y = y->data, .value = &fill, .element_bytes = item_bytes(x.dtype()), .inner = 1, .ndim = 0};
  std::vector<std::vector<Index>> places;
  places.reserve(kMaxDims);
  for (Index dim : memory_order(x.ndim(), channels_last)) {
    const int d = static_cast<int>(dim);
    const bool merges = !map.moves(d) && a.ndim > 0 && !a.from[a.ndim - 1];
    const int at = merges ? a.ndim - 1 : a.ndim++;
    a.x_size[at] = merges ? a.x_size[at] * x.size(d) : x.size(d);
    a.y_size[at] = merges ? a.y_size[at] * y.size(d) : y.size(d);
    a.from[at] = nullptr;
    if (!map.moves(d)) continue;
    const AxisMap& axis = map.axis(d);
    std::vector<Index>& from = places.emplace_back(axis.first.size() - 1, -1);
    for (std::size_t i = 0; i < from.size(); ++i)
      if (axis.first[i] < axis.first[i + 1]) from[i] = axis.index[static_cast<std::size_t>(axis.first[i])];
    a.from[at] = from.data();
  }
  if (a.ndim == 0) a.x_size[0] = a.y_size[0] = 1, a.from[0] = nullptr, a.ndim = 1;
  if (a.ndim > 1 && !a.from[a.ndim - 1]) a.inner = a.y_size[--a.ndim];
  run(map.op, kernels<TakeKernels>(x.device()).take, y.numel(), 0, a);
}

template <class T>
void run_separable(const Tensor& x, const Tensor& y, const Mapping& map, bool channels_last) {
  using Acc = Accumulator<T>;
  constexpr int kSpace = Separable<T>::kSpace;
  static constexpr Index kSame[] = {0, 1};
  static constexpr Acc kOne = 1;
  int begin = channels_last ? 2 : 0;  // the first dimension that moves; those in front are planes
  while (!map.moves(begin)) ++begin;
  const int missing = kSpace - (x.ndim() - begin);
  Separable<T> a{.x = x.data<T>(), .y = y.data<T>(), .planes = 1, .inner = channels_last ? x.size(1) : 1};
  for (int d = 0; d < begin; ++d)
    if (!(channels_last && d == 1)) a.planes *= x.size(d);
  std::vector<Acc> weights[kSpace];
  std::vector<AxisMap> same;
  same.reserve(kSpace);
  for (int i = 0; i < kSpace; ++i) {
    const int d = begin + i - missing;
    a.in[i] = a.out[i] = 1, a.first[i] = kSame, a.index[i] = kSame, a.weight[i] = &kOne;
    if (i < missing) continue;
    if (!map.moves(d)) {
      AxisMap& identity = same.emplace_back(AxisMap{.in = x.size(d)});
      for (Index k = 0; k < x.size(d); ++k) identity.add(k, 1), identity.end_row();
    }
    const AxisMap& axis = map.moves(d) ? map.axis(d) : same.back();
    weights[i].assign(axis.weight.begin(), axis.weight.end());
    a.in[i] = axis.in, a.out[i] = axis.out();
    a.first[i] = axis.first.data(), a.index[i] = axis.index.data(), a.weight[i] = weights[i].data();
  }
  const auto& table = kernels<ResampleKernels<T>>(x.device());
  run(map.op, table.separable, x.numel() + y.numel(), table.separable_workspace(a), a);
}

}  // namespace

bool Mapping::only_moves() const {
  for (const auto& maps : axes)
    for (const AxisMap& axis : maps) {
      for (std::size_t i = 0; i + 1 < axis.first.size(); ++i)
        if (axis.first[i + 1] - axis.first[i] > 1) return false;
      for (double weight : axis.weight)
        if (weight != 1) return false;
    }
  return true;
}

bool Mapping::is_identity() const {
  return std::ranges::all_of(axes, [](const auto& maps) { return maps.empty(); });
}

Shape Mapping::out_shape(const Tensor& x) const {
  Shape shape = x.shape();
  for (int d = 0; d < x.ndim(); ++d)
    if (moves(d)) shape[d] = axis(d).out();
  return shape;
}

Mapping Mapping::transposed() const {
  Mapping t{.op = op, .axes = axes};
  for (auto& maps : t.axes)
    for (AxisMap& axis : maps) axis = transpose(axis);
  return t;
}

Tensor map_axes(const Tensor& input, const std::shared_ptr<const Mapping>& map, bool channels_last,
                const Scalar& value) {
  if (map->is_identity()) return clone(in_format(input, channels_last));
  const Shape shape = map->out_shape(input);
  checked_numel(map->op, shape);
  const Tensor x = in_format(input, channels_last), y = empty_images(shape, x.dtype(), channels_last);
  if (y.numel() > 0) {
    if (map->only_moves()) {
      run_take(x, y, *map, channels_last, value);
    } else {
      dispatch_float(map->op, x.dtype(), [&]<class T>(T) { run_separable<T>(x, y, *map, channels_last); });
    }
  }
  record<MapNode>(y, {&x}, map);
  return y;
}

}  // namespace dd2424::ops
