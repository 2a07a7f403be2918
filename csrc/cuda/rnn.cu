#include "core/rnn.h"

#include "cuda/offer.h"
#include "cuda/rnn_cell.h"
#include "cuda/rnn_product.h"

// Recurrent layers: at each step a block multiplies the states of some sequences with the weights of some units and
// finishes those units. Where the GPU can run all blocks at once, one launch makes all steps, and the weights stay in
// shared memory; else, and where the steps differ in size, there is a launch for each. Both make the same sums.
namespace dd2424::cuda {
namespace {

constexpr int kEach = 2;          // columns of a thread on the way back
constexpr Index kFewBlocks = 96;  // with blocks of many units; where there are no more, each has few, and more work

__host__ __device__ inline Span span_of(const RnnSteps& steps, Index t) {
  return t >= 0 && t < steps.count ? Span{steps.start(t), steps.size(t)} : Span{0, 0};
}
// The s-th step of a walk, which may have gone one beyond the last.
__host__ __device__ inline Step step_of(const RnnSteps& steps, bool from_last, Index s) {
  const Index t = from_last ? steps.count - 1 - s : s, move = from_last ? -1 : 1;
  return {span_of(steps, t), span_of(steps, t - move), span_of(steps, t + move)};
}

template <class T>
__device__ inline bool in_packs(const T* x, Index stride, Index n) {
  return reinterpret_cast<std::uintptr_t>(x) % sizeof(Pack<T>) == 0 && (stride | n) % Pack<T>::size == 0;
}

// The sums of all gates: what the input gave, and the product.
template <class T, int gates>
__device__ inline void add_sums(const RnnForward<T>& a, const Step& step, const Unit& u, const T (&products)[gates],
                                T (&sums)[4]) {
  const T* before = a.gates + (step.at.row + u.sequence) * a.gates_row + u.unit;
#pragma unroll
  for (int g = 0; g < gates; ++g) sums[g] = before[g * a.hidden] + products[g];
  if (gates != 3) return;
  sums[2] = before[2 * a.hidden];
  sums[3] = !a.weight ? before[3 * a.hidden] : products[gates - 1] + (a.bias ? a.bias[u.unit] : T(0));
}

template <class T, int gates, int units>
__global__ void __launch_bounds__(kRnnThreads, sizeof(T) == 4 && gates > 1 ? 2 : 1)
    walk_forward(RnnForward<T> a, Step given, Index first, Index last, bool are_resident) {
  constexpr int parts = kLanes / units, columns = gates * units;
  const Index n = a.hidden, first_unit = Index{blockIdx.x} * units, first_row = Index{blockIdx.y} * kTileRows;
  const int group = static_cast<int>(threadIdx.x) / kLanes, column = static_cast<int>(threadIdx.x) % kLanes / parts;
  const int part = static_cast<int>(threadIdx.x) % parts;
  const bool vectors = in_packs(a.y, a.y_row, n) && in_packs(a.h0, n, n);
  const auto weight = [&](Index c, Index k) {
    const Index unit = first_unit + c % units;
    return unit < n && k < n ? a.weight[(c / units * n + unit) * n + k] : T(0);
  };
  const Room<T, columns, parts> room(n, are_resident);
  if (are_resident) load_weights<false, columns>(room.weights(), room.row, 0, whole_packs<T>(n), weight);
  for (Index s = first; s < last; ++s) {
    const Step step = a.steps.starts ? given : step_of(a.steps, a.reverse, s);
    const auto row = [&](int r) {
      const Index sequence = first_row + r;
      return sequence < step.at.count ? row_or_first<T>(step.before, sequence, a.y, a.y_row, a.h0, n) : nullptr;
    };
    T products[kRows][gates] = {};
    if (a.weight && first_row < step.at.count)
      multiply<false, columns, parts>(products, room, n, column, units, vectors, row, weight);
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
      const Unit u{first_row + group * kRows + i, first_unit + column};
      if (i % parts != part || u.sequence >= step.at.count || u.unit >= n) continue;
      T sums[4] = {};
      add_sums(a, step, u, products[i], sums);
      forward_cell(a, step, u, sums);
    }
    if (s + 1 < last) wait_for_grid();
  }
}

// There and back: sums of what the step walked before gave the weights, then the step itself. The walk ends one beyond
// the last step, where only the gradient of the first state is left to be summed.
template <class T, int units>
__global__ void __launch_bounds__(kRnnThreads, sizeof(T) == 4 ? 2 : 1)
    walk_backward(RnnBackward<T> a, Step given, Index first, Index last, bool are_resident) {
  constexpr int each = kEach, parts = kLanes * each / units;
  const Index n = a.hidden, depth = summed_gates(a.mode) * n;
  const Index first_unit = Index{blockIdx.x} * units, first_row = Index{blockIdx.y} * kTileRows;
  const int group = static_cast<int>(threadIdx.x) / kLanes, part = static_cast<int>(threadIdx.x) % parts;
  const int column = static_cast<int>(threadIdx.x) % kLanes / parts * each;
  const bool is_gru = a.mode == RnnMode::gru, vectors = in_packs(a.drecurrent, a.dgates_row, depth);
  const auto weight = [&](Index c, Index k) {
    return first_unit + c < n && k < depth ? a.weight[k * n + first_unit + c] : T(0);
  };
  const Room<T, units, parts> room(depth, are_resident);
  if (are_resident) load_weights<true, units>(room.weights(), room.row, 0, whole_packs<T>(depth), weight);
  for (Index s = first; s < last; ++s) {
    const Step step = a.steps.starts ? given : step_of(a.steps, !a.reverse, s);
    const auto row = [&](int r) {
      const Index sequence = first_row + r;
      return sequence < step.before.count ? a.drecurrent + (step.before.row + sequence) * a.dgates_row : nullptr;
    };
    T products[kRows][each] = {};
    if (first_row < step.before.count)
      multiply<true, units, parts>(products, room, depth, column, 1, vectors, row, weight);
#pragma unroll
    for (int i = 0; i < kRows; ++i)
#pragma unroll
      for (int j = 0; j < each; ++j) {
        const Unit u{first_row + group * kRows + i, first_unit + column + j};
        if ((i * each + j) % parts != part || u.unit >= n) continue;
        T* state = a.dh0 + u.sequence * n + u.unit;
        const bool follows = u.sequence < step.before.count;
        if (u.sequence < step.at.count) {
          const T arrived = follows ? products[i][j] + (is_gru ? *state : T(0))
                            : a.dhn ? a.dhn[u.sequence * n + u.unit]
                                    : T(0);
          const T kept = backward_cell(a, step, u, arrived);
          if (is_gru) *state = kept;
        } else if (follows) {
          *state = products[i][j] + (is_gru ? *state : T(0));
        }
      }
    if (s + 1 < last) wait_for_grid();
  }
}

// Blocks for all units and sequences.
template <int units>
dim3 grid(Index hidden, Index batch) {
  return dim3(static_cast<unsigned>((hidden + units - 1) / units),
              static_cast<unsigned>((batch + kTileRows - 1) / kTileRows));
}
bool has_many(Index hidden, Index batch) {
  const dim3 blocks = grid<kLanes>(hidden, batch);
  return Index{blocks.x} * blocks.y >= kFewBlocks;
}

template <class Arguments>
using Kernel = void (*)(Arguments, Step, Index, Index, bool);
template <class Arguments>
struct Walk {
  Kernel<Arguments> kernel;
  dim3 blocks;
  std::size_t bytes, resident_bytes;
  bool from_last;
  Index count;
};

template <class Arguments>
Status run(const Context& context, const Arguments& a, const Walk<Arguments>& walk) {
  const dim3 threads(kRnnThreads);
  const Index blocks = Index{walk.blocks.x} * walk.blocks.y;
  const bool may_stay =
      a.weight && !a.steps.starts && walk.count > 1 &&
      walk.resident_bytes <= static_cast<std::size_t>(device_attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin));
  if (may_stay && blocks <= blocks_at_once(threads, walk.resident_bytes, walk.kernel))
    return launch_asking(context, walk.blocks, threads, walk.resident_bytes, true, walk.kernel, a, Step{}, Index{0},
                         walk.count, true);
  Status status = Status::ok;
  for (Index s = 0; s < walk.count && status == Status::ok; ++s)
    status = launch_asking(context, walk.blocks, threads, walk.bytes, false, walk.kernel, a,
                           step_of(a.steps, walk.from_last, s), s, s + 1, false);
  return status;
}

template <int gates, int units, class T>
Status forward_units(const Context& context, const RnnForward<T>& a) {
  using Layout = Room<T, gates * units, kLanes / units>;
  return run(context, a,
             {.kernel = walk_forward<T, gates, units>,
              .blocks = grid<units>(a.hidden, a.steps.batch),
              .bytes = Layout(a.hidden, false).bytes(),
              .resident_bytes = Layout(a.hidden, true).bytes(),
              .from_last = a.reverse,
              .count = a.steps.count});
}
template <int units, class T>
Status backward_units(const Context& context, const RnnBackward<T>& a) {
  using Layout = Room<T, units, kLanes * kEach / units>;
  const Index depth = summed_gates(a.mode) * a.hidden;
  return run(context, a,
             {.kernel = walk_backward<T, units>,
              .blocks = grid<units>(a.hidden, a.steps.batch),
              .bytes = Layout(depth, false).bytes(),
              .resident_bytes = Layout(depth, true).bytes(),
              .from_last = !a.reverse,
              .count = a.steps.count + (a.weight ? 1 : 0)});
}

template <int gates, class T>
Status forward_gates(const Context& context, const RnnForward<T>& a) {
  return has_many(a.hidden, a.steps.batch) ? forward_units<gates, kLanes>(context, a)
                                           : forward_units<gates, 4>(context, a);
}
template <class T>
Status forward(const Context& context, const RnnForward<T>& a) {
  if (a.projection) return Status::unsupported;
  if (a.steps.batch == 0 || a.hidden == 0) return Status::ok;
  switch (a.mode) {
    case RnnMode::lstm: return forward_gates<4>(context, a);
    case RnnMode::gru: return forward_gates<3>(context, a);
    default: return forward_gates<1>(context, a);
  }
}
template <class T>
Status backward(const Context& context, const RnnBackward<T>& a) {
  if (a.projection) return Status::unsupported;
  if (a.steps.batch == 0 || a.hidden == 0) return Status::ok;
  return has_many(a.hidden, a.steps.batch) ? backward_units<kLanes>(context, a) : backward_units<4>(context, a);
}

template <class Arguments>
std::size_t no_workspace(const Arguments&) {
  return 0;
}

template <class T>
constexpr RnnKernels<T> kRnn{.forward = forward<T>,
                             .backward = backward<T>,
                             .forward_workspace = no_workspace<RnnForward<T>>,
                             .backward_workspace = no_workspace<RnnBackward<T>>};

}  // namespace

void offer_rnn(DeviceTables& tables) {
  offer(tables, kRnn<float>);
  offer(tables, kRnn<double>);
}

}  // namespace dd2424::cuda
