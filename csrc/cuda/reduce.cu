#include "core/reduce.h"

#include <math.h>

#include "cuda/launch.h"
#include "cuda/offer.h"
#include "cuda/value.h"

// Every reduction is one walk. An output's terms are cut into chunks, and a chunk is shared by 1, 32 or 256 threads,
// each of which folds every 1st, 32nd or 256th term; what they have is merged in a tree. A second walk merges the
// chunks. How it is cut is read off the sizes, so that sums have the same bits on every GPU.
namespace dd2424::cuda {
namespace {

constexpr Index kTermsPerThread = 64;  // that one thread folds, one after the other, while chunks are left to be had
constexpr Index kMostChunks = 1024;
constexpr Index kStateBytes = 16;

struct Cut {
  int lanes;  // threads for each chunk
  Index chunks, size;
};
// Neighbouring outputs that lie side by side in memory are better read by neighbouring threads than an output's terms.
bool lies_across(const ReduceShape& at) {
  if (at.kept == 0 || at.reduced == 0 || at.shape[at.kept - 1] < kWarp) return false;
  return at.strides[at.kept - 1] < at.strides[at.kept + at.reduced - 1];
}
Cut cut_of(const ReduceShape& at) {
  const int lanes = lies_across(at) || at.terms < 8 ? 1 : at.terms < 1024 ? kWarp : kThreads;
  const Index wanted = (at.terms + lanes * kTermsPerThread - 1) / (lanes * kTermsPerThread);
  const Index most = wanted < kMostChunks ? wanted : kMostChunks, chunks = most > 1 ? most : 1;
  const Index size = (at.terms + chunks - 1) / chunks;
  return {lanes, size > 0 ? (at.terms + size - 1) / size : 1, size};
}

__device__ inline Index place_of(const ReduceShape& at, int first, int count, Index i) {
  Index place = 0;
  for (int d = first + count - 1; d > first; --d) {
    const Index rest = quotient(i, at.shape[d]);
    place += (i - rest * at.shape[d]) * at.strides[d];
    i = rest;
  }
  return count > 0 ? place + i * at.strides[first] : place;
}

// Merges the states of `lanes` neighbouring threads; the first of them has the result.
template <class F>
__device__ typename F::State merged(const F& f, typename F::State mine, int lanes) {
  __shared__ typename F::State states[kThreads];
  const int thread = static_cast<int>(threadIdx.x), lane = thread % lanes;
  for (int step = lanes / 2; step > 0; step /= 2) {
    states[thread] = mine;
    __syncthreads();
    if (lane < step) mine = f.merge(mine, states[thread + step]);
    __syncthreads();
  }
  return mine;
}

template <class F>
__global__ void fold_terms(F f, ReduceShape at, Cut cut, typename F::State* partial) {
  const Index group = (static_cast<Index>(blockIdx.x) * kThreads + threadIdx.x) / cut.lanes;
  const int lane = static_cast<int>(threadIdx.x) % cut.lanes;
  const Index chunk = quotient(group, at.outputs), output = group - chunk * at.outputs;
  const bool has_work = chunk < cut.chunks;
  typename F::State state = f.start();
  if (has_work) {
    const Index begin = chunk * cut.size, left = at.terms - begin, end = begin + (left < cut.size ? left : cut.size);
    const Index first = place_of(at, 0, at.kept, output);
    for (Index term = begin + lane; term < end; term += cut.lanes)
      state = f.merge(state, f.load(output, term, first + place_of(at, at.kept, at.reduced, term)));
  }
  state = merged(f, state, cut.lanes);
  if (!has_work || lane != 0) return;
  if (cut.chunks == 1) f.finish(output, state);
  else partial[group] = state;
}

template <class F>
__global__ void fold_chunks(F f, Index outputs, Index chunks, const typename F::State* partial) {
  const Index output = static_cast<Index>(blockIdx.x) * (kThreads / kWarp) + threadIdx.x / kWarp;
  typename F::State state = f.start();
  for (Index chunk = threadIdx.x % kWarp; output < outputs && chunk < chunks; chunk += kWarp)
    state = f.merge(state, partial[chunk * outputs + output]);
  state = merged(f, state, kWarp);
  if (output < outputs && threadIdx.x % kWarp == 0) f.finish(output, state);
}

template <class F>
Status fold(const Context& context, const ReduceShape& at, const F& f) {
  static_assert(sizeof(typename F::State) <= kStateBytes);
  const Cut cut = cut_of(at);
  auto* partial = static_cast<typename F::State*>(context.workspace);
  const Index threads = cut.chunks * at.outputs * cut.lanes;
  const auto blocks = [](Index n) { return dim3(static_cast<unsigned>((n + kThreads - 1) / kThreads)); };
  const Status status = launch(context, blocks(threads), dim3(kThreads), fold_terms<F>, f, at, cut, partial);
  if (status != Status::ok || cut.chunks == 1) return status;
  return launch(context, blocks(at.outputs * kWarp), dim3(kThreads), fold_chunks<F>, f, at.outputs, cut.chunks,
                static_cast<const typename F::State*>(partial));
}

std::size_t workspace(const ReduceShape& at) {
  const Cut cut = cut_of(at);
  return cut.chunks == 1 ? 0 : static_cast<std::size_t>(cut.chunks * at.outputs * kStateBytes);
}

// What is folded, with the state that a thread keeps.

template <class T>
struct Fold {
  using State = Computed<T>;  // integers wrap in their own type
  ReduceOp op;
  Reduce<T> a;

  __device__ State start() const {
    switch (op) {
      case ReduceOp::prod: return State(1);
      case ReduceOp::max: return lowest();
      case ReduceOp::min: return highest();
      default: return State(0);
    }
  }
  __device__ State load(Index, Index, Index place) const {
    const State x = value(a.x[place]);
    if (op == ReduceOp::sum_squares) return State(x * x);
    if (op == ReduceOp::sum_abs) return x < State(0) ? State(-x) : x;
    return x;
  }
  __device__ State merge(State x, State y) const {
    switch (op) {
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
  __device__ static State lowest() {
    if constexpr (std::is_floating_point_v<State>) return -static_cast<State>(HUGE_VALF);
    else if constexpr (std::is_signed_v<State>) return State(-highest() - 1);
    else return State(0);
  }
  __device__ static State highest() {
    if constexpr (std::is_floating_point_v<State>) return static_cast<State>(HUGE_VALF);
    else if constexpr (std::is_same_v<State, bool>) return true;
    else if constexpr (std::is_signed_v<State>) return State(~std::uint64_t{0} >> (65 - 8 * sizeof(State)));
    else return State(~State(0));
  }
};

template <class T>
struct Argument {  // the first of the best; NaN is better than any number
  struct State {
    Computed<T> value;
    Index index;  // -1: none yet
  };
  ArgOp op;
  ArgReduce<T> a;

  __device__ State start() const { return {Computed<T>(), -1}; }
  __device__ State load(Index, Index term, Index place) const { return {value(a.x[place]), term}; }
  __device__ State merge(const State& x, const State& y) const {
    if (x.index < 0 || y.index < 0) return x.index < 0 ? y : x;
    const bool x_nan = x.value != x.value, y_nan = y.value != y.value;
    const bool equal = x_nan || y_nan ? x_nan && y_nan : x.value == y.value;
    if (equal) return x.index < y.index ? x : y;
    const bool x_wins = x_nan || (!y_nan && (op == ArgOp::argmax ? x.value > y.value : x.value < y.value));
    return x_wins ? x : y;
  }
  __device__ void finish(Index output, const State& state) const {
    a.index[output] = state.index;
    if (a.value) a.value[output] = element<T>(state.value);
  }
};

template <class T>
struct Vote {
  using State = int;
  LogicOp op;
  Logic<T> a;

  __device__ State start() const { return op == LogicOp::all; }
  __device__ State load(Index, Index, Index place) const { return value(a.x[place]) != Computed<T>(0); }
  __device__ State merge(State x, State y) const { return op == LogicOp::all ? x && y : x || y; }
  __device__ void finish(Index output, State state) const { a.y[output] = state != 0; }
};

// First the mean distance from the first term, then the mean square of the distances from the mean that this gives.
template <class T>
struct Mean {
  using State = Computed<T>;
  Variance<T> a;

  __device__ State start() const { return State(0); }
  __device__ State origin(Index output) const {
    if (a.at.terms == 0) return State(0);
    const State first = value(a.x[place_of(a.at, 0, a.at.kept, output)]);
    return first - first == State(0) ? first : State(0);  // inf would make every distance NaN
  }
  __device__ State load(Index output, Index, Index place) const { return value(a.x[place]) - origin(output); }
  __device__ State merge(State x, State y) const { return x + y; }
  __device__ void finish(Index output, State state) const {
    a.mean[output] = origin(output);
    a.variance[output] = state / static_cast<State>(a.at.terms);  // the shift, until the second walk replaces it
  }
};
template <class T>
struct Spread {
  using State = Computed<T>;
  Variance<T> a;

  __device__ State start() const { return State(0); }
  __device__ State load(Index output, Index, Index place) const {
    const State distance = (value(a.x[place]) - a.mean[output]) - a.variance[output];
    return distance * distance;
  }
  __device__ State merge(State x, State y) const { return x + y; }
  __device__ void finish(Index output, State state) const {
    const double freedom = static_cast<double>(a.at.terms) - a.correction;
    a.mean[output] += a.variance[output];
    a.variance[output] = state / static_cast<State>(freedom > 0 ? freedom : 0);
  }
};

template <class T>
Status reduce(const Context& context, ReduceOp op, const Reduce<T>& a) {
  if (op == ReduceOp::sum_abs && !std::is_floating_point_v<Computed<T>>) return Status::unsupported;
  return fold(context, a.at, Fold<T>{op, a});
}
template <class T>
Status arg_reduce(const Context& context, ArgOp op, const ArgReduce<T>& a) {
  return a.at.terms == 0 ? Status::unsupported : fold(context, a.at, Argument<T>{op, a});
}
template <class T>
Status logic(const Context& context, LogicOp op, const Logic<T>& a) {
  return fold(context, a.at, Vote<T>{op, a});
}
template <class T>
Status variance(const Context& context, const Variance<T>& a) {
  const Status status = fold(context, a.at, Mean<T>{a});
  return status == Status::ok ? fold(context, a.at, Spread<T>{a}) : status;
}

// One thread walks a line.
template <class T, bool is_product>
__global__ void scan_kernel(Scan<T> a) {
  for_each_item(a.outer * a.inner, [&](Index line) {
    const Index outer = quotient(line, a.inner), first = outer * a.n * a.inner + (line - outer * a.inner);
    Computed<T> so_far = is_product;
    for (Index i = 0; i < a.n; ++i) {
      const Computed<T> x = value(a.x[first + i * a.inner]);
      so_far = static_cast<Computed<T>>(is_product ? so_far * x : so_far + x);
      a.y[first + i * a.inner] = element<T>(so_far);
    }
  });
}
template <class T, bool is_product>
Status scan(const Context& context, const Scan<T>& a) {
  return launch_items(context, a.outer * a.inner, scan_kernel<T, is_product>, a);
}

template <class T>
constexpr ReduceKernels<T> table() {
  ReduceKernels<T> kernels{.reduce = reduce<T>, .arg_reduce = arg_reduce<T>, .logic = logic<T>, .workspace = workspace};
  if constexpr (std::is_floating_point_v<Computed<T>>) kernels.variance = variance<T>;
  if constexpr (!std::is_same_v<T, bool>) kernels.cumsum = scan<T, false>, kernels.cumprod = scan<T, true>;
  return kernels;
}
template <class T>
constexpr ReduceKernels<T> kReduce = table<T>();

}  // namespace

void offer_reduce(DeviceTables& tables) {
  offer(tables, kReduce<float>);
  offer(tables, kReduce<double>);
  offer(tables, kReduce<bfloat16>);
  offer(tables, kReduce<std::int64_t>);
  offer(tables, kReduce<std::int32_t>);
  offer(tables, kReduce<std::int16_t>);
  offer(tables, kReduce<std::int8_t>);
  offer(tables, kReduce<std::uint8_t>);
  offer(tables, kReduce<bool>);
}

}  // namespace dd2424::cuda
