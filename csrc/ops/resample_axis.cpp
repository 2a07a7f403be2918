#include "ops/resample_axis.h"

#include <algorithm>
#include <map>
#include <type_traits>

namespace dd2424::ops {
namespace {

AxisMap transpose(const Axis& axis) {
  const auto size = static_cast<std::size_t>(axis.in);
  const std::vector<Index>&first = axis.first.here(), &index = axis.index.here();
  AxisMap t{.in = axis.out, .first = std::vector<Index>(size + 1, 0), .index = index, .weight = axis.weight.here()};
  for (Index from : index) ++t.first[static_cast<std::size_t>(from) + 1];
  for (std::size_t i = 0; i < size; ++i) t.first[i + 1] += t.first[i];
  std::vector<Index> next = t.first;
  for (Index row = 0; row < axis.out; ++row)
    for (auto at = static_cast<std::size_t>(first[static_cast<std::size_t>(row)]);
         at < static_cast<std::size_t>(first[static_cast<std::size_t>(row) + 1]); ++at) {
      const auto to = static_cast<std::size_t>(next[static_cast<std::size_t>(index[at])]++);
      t.index[to] = row, t.weight[to] = axis.weight.here()[at];
    }
  return t;
}

std::vector<Index> sources(const AxisMap& map) {
  if (std::ranges::any_of(map.weight, [](double weight) { return weight != 1; })) return {};
  std::vector<Index> from(static_cast<std::size_t>(map.out()), -1);
  for (std::size_t i = 0; i < from.size(); ++i) {
    if (map.first[i + 1] - map.first[i] > 1) return {};
    if (map.first[i] < map.first[i + 1]) from[i] = map.index[static_cast<std::size_t>(map.first[i])];
  }
  return from;
}

bool maps_to_itself(const AxisMap& map, const std::vector<Index>& from) {
  if (map.in != map.out() || static_cast<Index>(from.size()) != map.in) return false;
  for (std::size_t i = 0; i < from.size(); ++i)
    if (from[i] != static_cast<Index>(i)) return false;
  return true;
}

constexpr std::size_t kMostAxes = 256;
constexpr Index kMostTerms = 1 << 20;  // some 50 MB with the adjoints, and half of it again on a GPU

struct Kept {
  AxisRef axis;
  Index used;  // at which call
};
struct Cache {
  std::mutex mutex;
  std::map<AxisKey, Kept> kept;
  Index terms = 0, calls = 0;
};
Cache& cache() {  // never destroyed: what is on a GPU may outlive what gives it back
  static Cache& instance = *new Cache;
  return instance;
}

// What leaves the cache is given to the caller, to be destroyed without the lock.
AxisRef drop_least_used(Cache& c) {
  const auto oldest = std::ranges::min_element(c.kept, {}, [](const auto& each) { return each.second.used; });
  AxisRef axis = std::move(oldest->second.axis);
  c.terms -= axis->terms();
  c.kept.erase(oldest);
  return axis;
}

}  // namespace

// Kernels of any stream, and replays of graphs, may still read the copy. It goes so seldom that all are waited for;
// while a graph is captured, the graph's pool keeps what is released.
template <class N>
Numbers<N>::~Numbers() {
  if (there_.defined() && !is_capturing()) device_services("resample").synchronize();
}

template <class N>
const N* Numbers<N>::on(Device device) const {
  if (device == Device::cpu || here_.empty()) return here_.data();
  std::call_once(copied_, [&] {
    constexpr DType dtype = DTypeOf<N>::value;
    const Tensor copy = empty({static_cast<Index>(here_.size())}, dtype, device);
    copy_bytes(device, copy->data, Device::cpu, here_.data(), here_.size() * sizeof(N));
    there_ = copy;
  });
  return there_.data<N>();
}
template class Numbers<Index>;
template class Numbers<float>;
template class Numbers<double>;

Axis::Axis(const AxisMap& map)
    : in(map.in),
      out(map.out()),
      first(map.first),
      index(map.index),
      weight(map.weight),
      float_weight(std::vector<float>(map.weight.begin(), map.weight.end())),
      from(sources(map)),
      is_identity(maps_to_itself(map, from.here())) {}

const AxisRef& Axis::adjoint() const {
  std::call_once(transposed_, [&] { adjoint_ = std::make_shared<const Axis>(transpose(*this)); });
  return adjoint_;
}

AxisRef axis_for(const AxisKey& key, const std::function<AxisMap()>& make) {
  Cache& c = cache();
  {
    const std::lock_guard lock(c.mutex);
    if (const auto found = c.kept.find(key); found != c.kept.end()) {
      found->second.used = ++c.calls;
      return found->second.axis;
    }
  }
  AxisRef axis = std::make_shared<const Axis>(make());
  if (axis->terms() > kMostTerms) return axis;
  std::vector<AxisRef> dropped;
  const std::lock_guard lock(c.mutex);
  while (!c.kept.empty() && (c.kept.size() >= kMostAxes || c.terms + axis->terms() > kMostTerms))
    dropped.push_back(drop_least_used(c));
  const auto [at, is_new] = c.kept.insert({key, Kept{axis, ++c.calls}});
  if (is_new) c.terms += axis->terms();
  return at->second.axis;
}

AxisRef identity_axis(Index size) {
  return axis_for({kIdentityAxis, size}, [&] {
    AxisMap map{.in = size};
    for (Index i = 0; i < size; ++i) map.add(i, 1), map.end_row();
    return map;
  });
}

void forget_axes() {
  std::map<AxisKey, Kept> kept;
  const std::lock_guard lock(cache().mutex);
  kept.swap(cache().kept);
  cache().terms = 0;
}

}  // namespace dd2424::ops
