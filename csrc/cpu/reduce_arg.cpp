#include "cpu/reduce_arg.h"
#include "cpu/reduce_extreme.h"

// The first of the largest (smallest) terms, NaN above all. Of a row only the block with the extreme is searched for
// its place.
namespace dd2424::cpu::DD2424_ISA {
namespace {

template <class C>
inline bool is_nan(C x) {
  return x != x;
}

template <class C, bool largest>
bool better(C x, C than) {
  return (largest ? x > than : x < than) || (is_nan(x) && !is_nan(than));
}

// The first place that `is_hit` holds at, which is given vectors and elements; there is one.
template <class C, class F>
inline Index first_hit(const C* x, Index n, const F& is_hit) {
  constexpr Index lanes = kLanes<C>;
  Index i = 0;
  for (; i + 4 * lanes <= n; i += 4 * lanes) {
    const auto at = [=](Index k) { return is_hit(load(x + i + k * lanes)); };
    if (any_lane((at(0) | at(1)) | (at(2) | at(3)))) break;
  }
  while (i + lanes <= n && !any_lane(is_hit(load(x + i)))) i += lanes;
  while (i < n - 1 && !is_hit(x[i])) ++i;
  return i;
}
template <class C>
Index find(const C* x, Index n, C value) {
  if (is_nan(value)) return first_hit(x, n, [](auto v) { return v != v; });
  return first_hit(x, n, [value](auto v) { return v == value; });
}

template <class C, bool largest>
void columns(C* values, Index* indices, const C* x, Index width, Index term) {
  for (Index i = 0; i < width; ++i) {
    const bool is_better = better<C, largest>(x[i], values[i]);
    values[i] = is_better ? x[i] : values[i];
    indices[i] = is_better ? term : indices[i];
  }
}

template <class C, bool largest>
constexpr Contest<C> kContest{.find = find<C>, .columns = columns<C, largest>, .better = better<C, largest>};

}  // namespace

template <class C>
const Contest<C>& contest(bool largest) {
  return largest ? kContest<C, true> : kContest<C, false>;
}
template const Contest<float>& contest(bool);
template const Contest<double>& contest(bool);
template const Contest<std::int64_t>& contest(bool);
template const Contest<std::int32_t>& contest(bool);

}  // namespace dd2424::cpu::DD2424_ISA
