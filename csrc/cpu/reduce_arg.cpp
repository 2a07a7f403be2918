#include "cpu/math.h"
#include "cpu/reduce_arg.h"

// The first of the largest (smallest) terms, NaN above all. Of a row only the block with the extreme is searched for
// its place.
namespace dd2424::cpu::DD2424_ISA {
namespace {

template <class C>
inline bool is_nan(C x) {
  return x != x;
}

template <class C, bool largest>
struct Better {
  static Vec<C> lanes(Vec<C> best, Vec<C> x) {  // a NaN stays
    const Vec<C> better = (largest ? x <= best : x >= best) ? best : x;
    return best != best ? best : better;
  }
  static bool one(C x, C than) { return (largest ? x > than : x < than) || (is_nan(x) && !is_nan(than)); }
};

template <class C, bool largest>
C extreme(const C* x, Index n) {
  using V = Vec<C>;
  constexpr int lanes = kLanes<C>, unroll = 4;
  const V first = broadcast(x[0]);
  V best[unroll] = {first, first, first, first};
  Index i = 0;
  for (; i + unroll * lanes <= n; i += unroll * lanes)
#pragma GCC unroll 4
    for (int k = 0; k < unroll; ++k) best[k] = Better<C, largest>::lanes(best[k], load(x + i + k * lanes));
  for (; i + lanes <= n; i += lanes) best[0] = Better<C, largest>::lanes(best[0], load(x + i));
  if (i < n) best[0] = Better<C, largest>::lanes(best[0], load(x + i, n - i, x[0]));
  const V all = Better<C, largest>::lanes(Better<C, largest>::lanes(best[0], best[1]),
                                          Better<C, largest>::lanes(best[2], best[3]));
  C result = x[0];
  for (int k = 0; k < lanes; ++k)
    if (Better<C, largest>::one(all[k], result)) result = all[k];
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
void columns(C* values, Index* indices, const C* x, Index width, Index term) {
  for (Index i = 0; i < width; ++i) {
    const bool better = Better<C, largest>::one(x[i], values[i]);
    values[i] = better ? x[i] : values[i];
    indices[i] = better ? term : indices[i];
  }
}

template <class C, bool largest>
constexpr Contest<C> kContest{
    .extreme = extreme<C, largest>, .find = find<C>, .columns = columns<C, largest>, .better = Better<C, largest>::one};

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
