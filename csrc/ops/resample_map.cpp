#include "ops/resample_map.h"

#include <algorithm>

#include "ops/copy.h"
#include "ops/graph.h"
#include "ops/images.h"

namespace dd2424::ops {
namespace {

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

constexpr Index kShortRow = 128;        // elements: a row takes as long to begin
constexpr Index kLargeTable = 1 << 14;  // places of a row

// Parts as a kernel of the host's likes them: short rows may be joined, which makes a list that no one keeps.
struct Places {
  Part part;
  std::vector<Index> joined;  // in elements
  bool is_regular() const { return !part.from && joined.empty(); }
  Index at(Index i) const {
    if (!joined.empty()) return joined[static_cast<std::size_t>(i)];
    if (!part.from) return i * part.stride;
    const Index from = part.from->here()[static_cast<std::size_t>(i)];
    return from < 0 ? -1 : from * part.stride;
  }
};

// Few of the places lie side by side in x, so that nothing is lost where rows are joined.
bool is_scattered(const Places& places, Index inner) {
  Index together = 0;
  for (Index i = 1; i < places.part.size; ++i) together += places.at(i) == places.at(i - 1) + inner;
  return 2 * together < places.part.size;
}

// The last two dimensions become one.
void join_last(std::vector<Places>& all) {
  const Places last = std::move(all.back());
  all.pop_back();
  Places& outer = all.back();
  std::vector<Index> joined;
  joined.reserve(static_cast<std::size_t>(outer.part.size * last.part.size));
  for (Index i = 0; i < outer.part.size; ++i)
    for (Index j = 0; j < last.part.size; ++j) {
      const Index a = outer.at(i), b = last.at(j);
      joined.push_back(a < 0 || b < 0 ? -1 : a + b);
    }
  outer = {.part = {.size = outer.part.size * last.part.size, .stride = 1}, .joined = std::move(joined)};
}

void run_take(const Tensor& x, const Tensor& y, const Mapping& map, bool channels_last, const Scalar& value) {
  const Shape order = memory_order(x.ndim(), channels_last);
  Index stride = 1;
  std::vector<Part> parts;
  for (int k = x.ndim() - 1; k >= 0; --k) {
    const int d = static_cast<int>(order[k]);
    parts.push_back({.size = y.size(d), .stride = stride, .from = map.moves(d) ? &map.axis(d).from : nullptr});
    stride *= x.size(d);
  }
  std::ranges::reverse(parts);
  take_parts(map.op, x, y, parts, value);
}

template <class Acc>
const Numbers<Acc>& weights(const Axis& axis) {
  if constexpr (std::is_same_v<Acc, float>) return axis.float_weight;
  else return axis.weight;
}

template <class T>
void run_separable(const Tensor& x, const Tensor& y, const Mapping& map, bool channels_last) {
  constexpr int kSpace = Separable<T>::kSpace;
  int begin = channels_last ? 2 : 0;  // the first dimension that moves; those in front are planes
  while (!map.moves(begin)) ++begin;
  const int missing = kSpace - (x.ndim() - begin);
  Separable<T> a{.x = x.data<T>(), .y = y.data<T>(), .planes = 1, .inner = channels_last ? x.size(1) : 1};
  for (int d = 0; d < begin; ++d)
    if (!(channels_last && d == 1)) a.planes *= x.size(d);
  AxisRef axes[kSpace];
  for (int i = 0; i < kSpace; ++i) {
    const int d = begin + i - missing;
    axes[i] = i < missing    ? identity_axis(1)
              : map.moves(d) ? map.axes[static_cast<std::size_t>(d)]
                             : identity_axis(x.size(d));
    const Axis& axis = *axes[i];
    a.in[i] = axis.in, a.out[i] = axis.out;
    a.first[i] = axis.first.on(x.device()), a.index[i] = axis.index.on(x.device());
    a.weight[i] = weights<typename Separable<T>::Acc>(axis).on(x.device());
    keep_for_replays(axes[i]);
  }
  const auto& table = kernels<ResampleKernels<T>>(x.device());
  run(map.op, table.separable, x.numel() + y.numel(), Scratch(table.separable_workspace(a), x.device()), a);
}

}  // namespace

void take_parts(const char* op, const Tensor& x, const Tensor& y, const std::vector<Part>& parts, const Scalar& value) {
  const Element fill = to_element(value, x.dtype());
  std::vector<Places> merged;  // what lies side by side counts as one
  for (const Part& part : parts) {
    if (part.size == 1 && !part.from) continue;
    const bool merges = !merged.empty() && merged.back().is_regular() && !part.from &&
                        merged.back().part.stride == part.size * part.stride;
    if (merges) {
      merged.back().part.size *= part.size, merged.back().part.stride = part.stride;
    } else {
      merged.push_back({.part = part, .joined = {}});
    }
  }
  Take a{.x = x->data, .y = y->data, .value = &fill, .element_bytes = item_bytes(x.dtype()), .inner = 1, .ndim = 0};
  if (merged.size() > 1 && merged.back().is_regular() && merged.back().part.stride == 1) {
    a.inner = merged.back().part.size;
    merged.pop_back();
  }
  while (x.device() == Device::cpu && merged.size() > 1 && is_scattered(merged.back(), a.inner) &&
         merged.back().part.size * a.inner < kShortRow &&
         merged.back().part.size * merged[merged.size() - 2].part.size <= kLargeTable)
    join_last(merged);
  if (merged.empty()) merged.push_back({.part = {.size = 1, .stride = 1}, .joined = {}});
  for (const Places& places : merged) {
    const Numbers<Index>* from = places.part.from;
    a.y_size[a.ndim] = places.part.size, a.x_stride[a.ndim] = places.part.stride;
    a.from[a.ndim++] = !places.joined.empty() ? places.joined.data() : from ? from->on(x.device()) : nullptr;
  }
  run(op, kernels<TakeKernels>(x.device()).take, y.numel(), 0, a);
}

bool Mapping::only_moves() const {
  return std::ranges::all_of(axes, [](const AxisRef& axis) { return !axis || axis->only_moves(); });
}

bool Mapping::is_identity() const {
  return std::ranges::all_of(axes, [](const AxisRef& axis) { return !axis; });
}

Shape Mapping::out_shape(const Tensor& x) const {
  Shape shape = x.shape();
  for (int d = 0; d < x.ndim(); ++d)
    if (moves(d)) shape[d] = axis(d).out;
  return shape;
}

Mapping Mapping::transposed() const {
  Mapping t{.op = op, .axes = axes};
  for (AxisRef& axis : t.axes)
    if (axis) axis = axis->adjoint();
  return t;
}

Tensor map_axes(const Tensor& input, const std::shared_ptr<const Mapping>& map, bool channels_last,
                const Scalar& value) {
  if (map->is_identity()) return clone(in_format(input, channels_last));
  const Shape shape = map->out_shape(input);
  channels_last = channels_last && (map->only_moves() || !map->moves(1));  // else pixels stay whole
  checked_numel(map->op, shape);
  const Tensor x = in_format(input, channels_last), y = empty_images(shape, x.dtype(), channels_last, x.device());
  if (y.numel() > 0) {
    for (const AxisRef& axis : map->axes) keep_for_replays(axis);
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
