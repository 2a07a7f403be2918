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

constexpr Index kShortRow = 128;        // elements: a row takes as long to begin
constexpr Index kLargeTable = 1 << 14;  // places of a row

// Few of the places lie side by side in x, so that nothing is lost where rows are joined.
bool is_scattered(const Part& part, Index inner) {
  Index together = 0;
  for (Index i = 1; i < part.size; ++i) together += part.at(i) == part.at(i - 1) + inner;
  return 2 * together < part.size;
}

// The last two dimensions become one.
void join_last(std::vector<Part>& parts) {
  const Part last = std::move(parts.back());
  parts.pop_back();
  Part& outer = parts.back();
  std::vector<Index> from;
  from.reserve(static_cast<std::size_t>(outer.size * last.size));
  for (Index i = 0; i < outer.size; ++i)
    for (Index j = 0; j < last.size; ++j) {
      const Index a = outer.at(i), b = last.at(j);
      from.push_back(a < 0 || b < 0 ? -1 : a + b);
    }
  outer.size *= last.size, outer.from = std::move(from);
}

void run_take(const Tensor& x, const Tensor& y, const Mapping& map, bool channels_last, const Scalar& value) {
  const Shape order = memory_order(x.ndim(), channels_last);
  Index stride = 1;
  std::vector<Part> parts;
  for (int k = x.ndim() - 1; k >= 0; --k) {
    const int d = static_cast<int>(order[k]);
    Part part{.size = y.size(d), .stride = stride, .from = {}};
    if (map.moves(d)) {
      const AxisMap& axis = map.axis(d);
      part.from.assign(axis.first.size() - 1, -1);
      for (std::size_t i = 0; i < part.from.size(); ++i)
        if (axis.first[i] < axis.first[i + 1])
          part.from[i] = axis.index[static_cast<std::size_t>(axis.first[i])] * stride;
    }
    stride *= x.size(d);
    parts.insert(parts.begin(), std::move(part));
  }
  take_parts(map.op, x, y, std::move(parts), value);
}

// Lists of numbers that a kernel reads: where they are, or for a GPU one copy of them all there.
template <class N>
class Lists {
 public:
  void add(const N** at, const N* numbers, std::size_t count) {
    if (count > 0) entries_.push_back({at, numbers, count});
  }
  // Points all to their lists; they stay as long as this does.
  void place(Device device) {
    std::size_t total = 0;
    for (const Entry& entry : entries_) total += entry.count;
    if (device == Device::cuda && total > 0) {
      there_ = empty({static_cast<Index>(total)}, DTypeOf<N>::value, device);
      std::vector<N> joined;
      joined.reserve(total);
      for (const Entry& entry : entries_) joined.insert(joined.end(), entry.numbers, entry.numbers + entry.count);
      copy_bytes(device, there_->data, Device::cpu, joined.data(), total * sizeof(N));
    }
    std::size_t before = 0;
    for (const Entry& entry : entries_) {
      *entry.at = there_.defined() ? there_.data<N>() + before : entry.numbers;
      before += entry.count;
    }
  }

 private:
  struct Entry {
    const N** at;
    const N* numbers;
    std::size_t count;
  };
  std::vector<Entry> entries_;
  Tensor there_;
};

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
  Lists<Index> places;
  Lists<Acc> factors;
  std::vector<AxisMap> same;
  same.reserve(kSpace);
  for (int i = 0; i < kSpace; ++i) {
    const int d = begin + i - missing;
    a.in[i] = a.out[i] = 1;
    if (i < missing) {
      places.add(&a.first[i], kSame, 2), places.add(&a.index[i], kSame, 1), factors.add(&a.weight[i], &kOne, 1);
      continue;
    }
    if (!map.moves(d)) {
      AxisMap& identity = same.emplace_back(AxisMap{.in = x.size(d)});
      for (Index k = 0; k < x.size(d); ++k) identity.add(k, 1), identity.end_row();
    }
    const AxisMap& axis = map.moves(d) ? map.axis(d) : same.back();
    weights[i].assign(axis.weight.begin(), axis.weight.end());
    a.in[i] = axis.in, a.out[i] = axis.out();
    places.add(&a.first[i], axis.first.data(), axis.first.size());
    places.add(&a.index[i], axis.index.data(), axis.index.size());
    factors.add(&a.weight[i], weights[i].data(), weights[i].size());
  }
  places.place(x.device()), factors.place(x.device());
  const auto& table = kernels<ResampleKernels<T>>(x.device());
  run(map.op, table.separable, x.numel() + y.numel(), Scratch(table.separable_workspace(a), x.device()), a);
}

}  // namespace

void take_parts(const char* op, const Tensor& x, const Tensor& y, std::vector<Part> parts, const Scalar& value) {
  const Element fill = to_element(value, x.dtype());
  std::vector<Part> merged;  // what lies side by side counts as one
  for (Part& part : parts) {
    if (part.size == 1 && part.from.empty()) continue;
    const bool merges = !merged.empty() && merged.back().from.empty() && part.from.empty() &&
                        merged.back().stride == part.size * part.stride;
    if (merges) {
      merged.back().size *= part.size, merged.back().stride = part.stride;
    } else {
      merged.push_back(std::move(part));
    }
  }
  Take a{.x = x->data, .y = y->data, .value = &fill, .element_bytes = item_bytes(x.dtype()), .inner = 1, .ndim = 0};
  if (!merged.empty() && merged.back().from.empty() && merged.back().stride == 1 && merged.size() > 1) {
    a.inner = merged.back().size;
    merged.pop_back();
  }
  while (merged.size() > 1 && is_scattered(merged.back(), a.inner) && merged.back().size * a.inner < kShortRow &&
         merged.back().size * merged[merged.size() - 2].size <= kLargeTable)
    join_last(merged);
  if (merged.empty()) merged.push_back({.size = 1, .stride = 1, .from = {}});
  Lists<Index> places;
  for (const Part& part : merged) {
    a.y_size[a.ndim] = part.size, a.x_stride[a.ndim] = part.stride, a.from[a.ndim] = nullptr;
    places.add(&a.from[a.ndim++], part.from.data(), part.from.size());
  }
  places.place(x.device());
  run(op, kernels<TakeKernels>(x.device()).take, y.numel(), 0, a);
}

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
  const Tensor x = in_format(input, channels_last), y = empty_images(shape, x.dtype(), channels_last, x.device());
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
