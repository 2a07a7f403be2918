#include "core/reduce.h"

#include <math.h>

#include "cuda/offer.h"
#include "cuda/reduce_scan.h"
#include "cuda/reduce_walk.h"
#include "cuda/value.h"

// What is folded (reduce_walk.h), with the state that a thread keeps. take() adds a term to a state that has those
// before it along the output; merge() joins two states.
namespace dd2424::cuda {
namespace {

template <class C>
__device__ inline C highest() {
  if constexpr (std::is_floating_point_v<C>) return static_cast<C>(HUGE_VALF);
  else if constexpr (std::is_same_v<C, bool>) return true;
  else if constexpr (std::is_signed_v<C>) return C(~std::uint64_t{0} >> (65 - 8 * sizeof(C)));
  else return C(~C(0));
}
template <class C>
__device__ inline C lowest() {
  if constexpr (std::is_floating_point_v<C>) return -highest<C>();
  else if constexpr (std::is_signed_v<C>) return C(-highest<C>() - 1);
  else return C(0);
}

struct Nothing {};
template <class T>
struct Walk {
  using Element = T;
  static constexpr bool kTakesMany = false, kHasOneState = false;
  __device__ static Nothing about(const T*) { return {}; }  // what a thread wants to know of an output's first term
};

// What floats are mostly asked for is known to the compiler; the rest asks at each step.
constexpr int kAnyOp = -1;
template <class T, int known = kAnyOp>
struct Fold : Walk<T> {
  using State = Computed<T>;  // integers wrap in their own type
  ReduceOp stated;
  Reduce<T> a;
  Fold(ReduceOp op, const Reduce<T>& a) : stated(op), a(a) {}

  __device__ ReduceOp op() const { return known == kAnyOp ? stated : static_cast<ReduceOp>(known); }
  __device__ State start() const {
    switch (op()) {
      case ReduceOp::prod: return State(1);
      case ReduceOp::max: return lowest<State>();
      case ReduceOp::min: return highest<State>();
      default: return State(0);
    }
  }
  __device__ void take(State& state, Nothing, Index, T element) const {
    const State x = value(element);
    if (op() == ReduceOp::sum_squares) state = merge(state, State(x * x));
    else state = merge(state, op() == ReduceOp::sum_abs && x < State(0) ? State(-x) : x);
  }
  __device__ State merge(State x, State y) const {
    switch (op()) {
      case ReduceOp::prod: return State(x * y);
      case ReduceOp::max: return x > y || x != x ? x : y;  // NaN wins
      case ReduceOp::min: return x < y || x != x ? x : y;
      default: return State(x + y);
    }
  }
  __device__ void finish(Index output, State state) const {
    if constexpr (std::is_floating_point_v<State>) a.y[output] = element<T>(state * static_cast<State>(a.scale));
    else a.y[output] = state;
  }
};

template <class T>
struct Argument : Walk<T> {  // the first of the best; NaN is better than any number
  struct State {
    Computed<T> value;
    Index index;  // -1: none that is better than the worst there is
  };
  static constexpr bool kHasOneState = true;
  ArgOp op;
  ArgReduce<T> a;
  Argument(ArgOp op, const ArgReduce<T>& a) : op(op), a(a) {}

  __device__ bool is_better(Computed<T> x, Computed<T> than) const {
    return (op == ArgOp::argmax ? x > than : x < than) || (x != x && than == than);
  }
  __device__ State start() const { return {op == ArgOp::argmax ? lowest<Computed<T>>() : highest<Computed<T>>(), -1}; }
  __device__ void take(State& state, Nothing, Index term, T element) const {
    const Computed<T> x = value(element);
    if (is_better(x, state.value)) state = {x, term};
  }
  __device__ State merge(const State& x, const State& y) const {
    if (is_better(x.value, y.value)) return x;
    return is_better(y.value, x.value) || y.index < x.index ? y : x;
  }
  __device__ void finish(Index output, const State& state) const {
    a.index[output] = state.index < 0 ? 0 : state.index;
    if (a.value) a.value[output] = element<T>(state.value);
  }
};

template <class T>
struct Vote : Walk<T> {
  using State = int;
  LogicOp op;
  Logic<T> a;
  Vote(LogicOp op, const Logic<T>& a) : op(op), a(a) {}

  __device__ State start() const { return op == LogicOp::all; }
  __device__ void take(State& state, Nothing, Index, T element) const {
    state = merge(state, value(element) != Computed<T>(0));
  }
  __device__ State merge(State x, State y) const { return op == LogicOp::all ? x & y : x | y; }
  __device__ void finish(Index output, State state) const { a.y[output] = state != 0; }
};

// Mean and squares about it (Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm", 1979), of distances
// from the output's first term: a large common offset then costs no precision.
template <class T>
struct Spread {
  using Element = T;
  using C = Computed<T>;
  static constexpr bool kTakesMany = true, kHasOneState = true;
  struct State {
    C count, mean, squares;
  };
  Variance<T> a;
  explicit Spread(const Variance<T>& a) : a(a) {}

  __device__ C about(const T* x) const {
    if (a.at.terms == 0) return C(0);
    const C first = value(*x);
    return first - first == C(0) ? first : C(0);  // inf would make every distance NaN
  }
  __device__ State start() const { return {C(0), C(0), C(0)}; }
  __device__ void take(State& state, C origin, Index, T element) const {
    state = merge(state, {C(1), value(element) - origin, C(0)});
  }
  template <int n>
  __device__ void take_many(State& state, C origin, const T (&elements)[n]) const {
    State many{C(n), C(0), C(0)};
    C distances[n];
#pragma unroll
    for (int i = 0; i < n; ++i) many.mean += distances[i] = value(elements[i]) - origin;
    many.mean *= C(1) / C(n);
#pragma unroll
    for (int i = 0; i < n; ++i) many.squares = fma(distances[i] - many.mean, distances[i] - many.mean, many.squares);
    state = merge(state, many);
  }
  __device__ State merge(const State& x, const State& y) const {
    const C count = x.count + y.count, distance = y.mean - x.mean;
    if (x.count == C(0) || y.count == C(0)) return x.count == C(0) ? y : x;
    const C share = y.count / count;
    return {count, x.mean + distance * share, x.squares + y.squares + distance * distance * x.count * share};
  }
  __device__ void finish(Index output, const State& state) const {
    const double freedom = static_cast<double>(a.at.terms) - a.correction;
    a.mean[output] = about(a.x + place_of(a.at, 0, a.at.kept, output)) + state.mean;
    a.variance[output] = state.squares / static_cast<C>(freedom > 0 ? freedom : 0);
  }
};

template <ReduceOp op, class T>
Status reduce_by(const Context& context, const Reduce<T>& a) {
  return fold(context, a.at, Fold<T, static_cast<int>(op)>(op, a));
}
template <class T>
Status reduce(const Context& context, ReduceOp op, const Reduce<T>& a) {
  if constexpr (std::is_floating_point_v<Computed<T>>) {
    switch (op) {
      case ReduceOp::sum: return reduce_by<ReduceOp::sum>(context, a);
      case ReduceOp::max: return reduce_by<ReduceOp::max>(context, a);
      case ReduceOp::min: return reduce_by<ReduceOp::min>(context, a);
      case ReduceOp::sum_squares: return reduce_by<ReduceOp::sum_squares>(context, a);
      default: return fold(context, a.at, Fold<T>(op, a));
    }
  } else {
    return op == ReduceOp::sum_abs ? Status::unsupported : fold(context, a.at, Fold<T>(op, a));
  }
}
template <class T>
Status arg_reduce(const Context& context, ArgOp op, const ArgReduce<T>& a) {
  return a.at.terms == 0 ? Status::unsupported : fold(context, a.at, Argument<T>(op, a));
}
template <class T>
Status logic(const Context& context, LogicOp op, const Logic<T>& a) {
  return fold(context, a.at, Vote<T>(op, a));
}
template <class T>
Status variance(const Context& context, const Variance<T>& a) {
  return fold(context, a.at, Spread<T>(a));
}

template <class T>
constexpr ReduceKernels<T> table() {
  ReduceKernels<T> kernels{
      .reduce = reduce<T>, .arg_reduce = arg_reduce<T>, .logic = logic<T>, .workspace = fold_workspace<T>};
  if constexpr (std::is_floating_point_v<Computed<T>>) kernels.variance = variance<T>;
  if constexpr (!std::is_same_v<T, bool>) kernels.cumsum = cumsum<T>, kernels.cumprod = cumprod<T>;
  return kernels;
}
template <class T>
constexpr ReduceKernels<T> kReduce = table<T>();

}  // namespace

void offer_reduce(DeviceTables& tables) {
  offer(tables, kReduce<float>);
  offer(tables, kReduce<double>);
  offer(tables, kReduce<bfloat16>);
  offer(tables, kReduce<float16>);
  offer(tables, kReduce<std::int64_t>);
  offer(tables, kReduce<std::int32_t>);
  offer(tables, kReduce<std::int16_t>);
  offer(tables, kReduce<std::int8_t>);
  offer(tables, kReduce<std::uint8_t>);
  offer(tables, kReduce<bool>);
}

}  // namespace dd2424::cuda
