#include "cpu/math.h"
#include "cpu/reduce_arg.h"

// The first of the largest (smallest) terms, NaN above all. A block of a row is searched for the place only where its
// extreme value beats the best so far.
namespace dd2424::cpu::DD2424_ISA {
namespace {

template <class C>
inline bool is_nan(C x) {
  return x != x;
}

template <class C, bool largest>
struct Better {
  static auto lanes(Vec<C> x, Vec<C> than) { return largest ? x > than : x < than; }
  static bool one(C x, C than) { return (largest ? x > than : x < than) || (is_nan(x) && !is_nan(than)); }
};

// The extreme of n > 0 terms; NaN where there is one.
template <class C, bool largest>
C extreme(const C* x, Index n) {
  using V = Vec<C>;
  const V first = broadcast(x[0]);
  V best = first, nan_seen = V{};
  const auto take = [&](V v) {
    best = Better<C, largest>::lanes(v, best) ? v : best;
    if constexpr (std::is_floating_point_v<C>) nan_seen = v == v ? nan_seen : v;
  };
  Index i = 0;
  for (; i + kLanes<C> <= n; i += kLanes<C>) take(load(x + i));
  if (i < n) take(load(x + i, n - i, x[0]));
  C result = x[0];
  for (int k = 0; k < kLanes<C>; ++k) {
    if (is_nan(C(nan_seen[k]))) return nan_seen[k];
    if (Better<C, largest>::one(best[k], result)) result = best[k];
  }
  return result;
}

template <class C>
Index find(const C* x, Index n, C value) {
  Index i = 0;
  if (is_nan(value)) {
    while (i < n - 1 && !is_nan(x[i])) ++i;
  } else {
    while (i < n - 1 && x[i] != value) ++i;
  }
  return i;
}

template <class C, bool largest>
void row(const C* x, Index n, Index first, Best<C>& best) {
  const C value = extreme<C, largest>(x, n);
  if (best.index < 0 || Better<C, largest>::one(value, best.value)) best = {value, first + find(x, n, value)};
}

template <class C, bool largest>
void columns(C* values, Index* indices, const C* x, Index width, Index term) {
  for (Index i = 0; i < width; ++i) {
    const bool better = Better<C, largest>::one(x[i], values[i]);
    values[i] = better ? x[i] : values[i];
    indices[i] = better ? term : indices[i];
  }
}

template <class C, bool largest>
constexpr Contest<C> kContest{
    .row = row<C, largest>, .columns = columns<C, largest>, .better = Better<C, largest>::one};

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
