#include "core/rnn.h"

#include "cuda/offer.h"
#include "cuda/rnn_cell.h"
#include "cuda/rnn_product.h"
#include "cuda/rnn_walk.h"

// Recurrent layers: at each step a block multiplies the states of some sequences with the weights of some units and
// finishes those units. Where the GPU can run all blocks at once, one launch makes all steps (rnn_walk.h); else, and
// where the steps differ in size, there is a launch for each.
namespace dd2424::cuda {
namespace {

constexpr int kEach = 2;            // columns of a thread on the way back
constexpr Index kFewBlocks = 96;    // with blocks of many units; where there are no more, each has few, and more work
constexpr Index kManyBlocks = 128;  // of a walk
constexpr std::size_t kMostShared = 227 << 10;                // a block's, from compute capability 9.0 on
constexpr std::size_t kMostWorkspace = std::size_t{1} << 28;  // of a walk; where there are more letters, steps are long

template <class T>
__device__ inline bool in_packs(const T* x, Index stride, Index n) {
  return reinterpret_cast<std::uintptr_t>(x) % 16 == 0 && (stride | n) % kPack<T> == 0;
}

template <class T, int gates, int units>
__global__ void __launch_bounds__(kRnnThreads, sizeof(T) == 4 && gates > 1 ? 2 : 1)
    step_forward(RnnForward<T> a, Step step) {
  constexpr int parts = kLanes / units, columns = gates * units;
  const Index n = a.hidden, first_unit = Index{blockIdx.x} * units, first_row = Index{blockIdx.y} * kTileRows;
  const int group = static_cast<int>(threadIdx.x) / kLanes, column = static_cast<int>(threadIdx.x) % kLanes / parts;
  const int part = static_cast<int>(threadIdx.x) % parts;
  const bool vectors = in_packs(a.y, a.y_row, n) && in_packs(a.h0, n, n);
  const auto weight = [&](Index c, Index k) {
    const Index unit = first_unit + c % units;
    return unit < n && k < n ? a.weight[(c / units * n + unit) * n + k] : T(0);
  };
  const auto row = [&](int r) {
    const Index sequence = first_row + r;
    return sequence < step.at.count ? row_or_first<T>(step.before, sequence, a.y, a.y_row, a.h0, n) : nullptr;
  };
  T products[kRows][gates] = {};
  if (a.weight && first_row < step.at.count)
    multiply<false, columns, parts>(products, Room<T, columns>(), n, column, units, vectors, row, weight);
#pragma unroll
  for (int i = 0; i < kRows; ++i) {
    const Unit u{first_row + group * kRows + i, first_unit + column};
    if (i % parts != part || u.sequence >= step.at.count || u.unit >= n) continue;
    Met<T> met = meet(a, step, u);
    add_products(a, u, products[i], met);
    forward_cell(a, step, u, met, [](T) {});
  }
}

// There and back: sums of what the step walked before gave the weights, then the step itself. The last launch is one
// beyond the last step, where only the gradient of the first state is left to be summed.
template <class T, int units>
__global__ void __launch_bounds__(kRnnThreads, sizeof(T) == 4 ? 2 : 1) step_backward(RnnBackward<T> a, Step step) {
  constexpr int each = kEach, parts = kLanes * each / units;
  const Index n = a.hidden, depth = summed_gates(a.mode) * n;
  const Index first_unit = Index{blockIdx.x} * units, first_row = Index{blockIdx.y} * kTileRows;
  const int group = static_cast<int>(threadIdx.x) / kLanes, part = static_cast<int>(threadIdx.x) % parts;
  const int column = static_cast<int>(threadIdx.x) % kLanes / parts * each;
  const bool is_gru = a.mode == RnnMode::gru, vectors = in_packs(a.drecurrent, a.dgates_row, depth);
  const auto weight = [&](Index c, Index k) {
    return first_unit + c < n && k < depth ? a.weight[k * n + first_unit + c] : T(0);
  };
  const auto row = [&](int r) {
    const Index sequence = first_row + r;
    return sequence < step.before.count ? a.drecurrent + (step.before.row + sequence) * a.dgates_row : nullptr;
  };
  T products[kRows][each] = {};
  if (first_row < step.before.count)
    multiply<true, units, parts>(products, Room<T, units>(), depth, column, 1, vectors, row, weight);
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
        T of_products[4];
        const T kept = backward_cell(a, step, u, meet(a, step, u), arrived, of_products);
        if (is_gru) *state = kept;
      } else if (follows) {
        *state = products[i][j] + (is_gru ? *state : T(0));
      }
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

// A launch for each step.
template <class Arguments>
Status step_by_step(const Context& context, const Arguments& a, dim3 blocks, std::size_t bytes, bool from_last,
                    Index count, void (*kernel)(Arguments, Step)) {
  Status status = Status::ok;
  for (Index s = 0; s < count && status == Status::ok; ++s)
    status = launch_asking(context, blocks, dim3(kRnnThreads), bytes, false, kernel, a, step_of(a.steps, from_last, s));
  return status;
}

template <int gates, int units, class T>
Status forward_units(const Context& context, const RnnForward<T>& a) {
  return step_by_step(context, a, grid<units>(a.hidden, a.steps.batch), Room<T, gates * units>().bytes(), a.reverse,
                      a.steps.count, step_forward<T, gates, units>);
}
template <int units, class T>
Status backward_units(const Context& context, const RnnBackward<T>& a) {
  return step_by_step(context, a, grid<units>(a.hidden, a.steps.batch), Room<T, units>().bytes(), !a.reverse,
                      a.steps.count + (a.weight ? 1 : 0), step_backward<T, units>);
}

// How a layer is walked in one launch; none: it is not.
template <class Arguments>
struct Walk {
  void (*kernel)(Arguments, Letters);
  dim3 blocks;
  std::size_t bytes;
  Index letters;  // of a step
  bool is_none() const { return letters == 0; }
  std::size_t workspace() const { return static_cast<std::size_t>(2 * letters) * sizeof(Letter); }
};

template <int gates, int units, class T>
Walk<RnnForward<T>> walk_of_units(const RnnForward<T>& a, Index blocks, Index) {
  return {.kernel = walk_forward<T, gates, units>,
          .blocks = dim3(static_cast<unsigned>(blocks)),
          .bytes = WalkRoom<T, gates, units>(a.hidden).forward_bytes(),
          .letters = forward_letters<T>(a.hidden, a.steps.batch)};
}
template <int gates, int units, class T>
Walk<RnnBackward<T>> walk_of_units(const RnnBackward<T>& a, Index blocks, Index tiles) {
  return {.kernel = walk_backward<T, gates, units>,
          .blocks = dim3(static_cast<unsigned>(blocks)),
          .bytes = WalkRoom<T, gates, units>(a.hidden).backward_bytes(),
          .letters = backward_letters<T>(blocks, units, tiles)};
}

// Blocks of few units where all of these do not fill a GPU, else of many: by sizes alone. If these do not fit, the
// others.
template <int gates, class Arguments>
Walk<Arguments> walk_of_gates(const Arguments& a) {
  const Index tiles = (a.steps.batch + kWalkRows - 1) / kWalkRows;
  const auto of_units = [&]<int units>(std::integral_constant<int, units>) {
    Walk<Arguments> walk = walk_of_units<gates, units>(a, (a.hidden + units - 1) / units, tiles);
    const bool may_fit = walk.bytes <= kMostShared && walk.workspace() <= kMostWorkspace;
    const Index at_once = may_fit ? blocks_at_once(dim3(kWalkThreads), walk.bytes, walk.kernel) : 0;
    const Index rows = at_once / walk.blocks.x;
    walk.blocks.y = static_cast<unsigned>(rows < tiles ? rows : tiles);
    if (rows == 0) walk.letters = 0;
    return walk;
  };
  constexpr std::integral_constant<int, 8> few;
  constexpr std::integral_constant<int, 16> many;
  const bool fills = (a.hidden + few - 1) / few * tiles > kManyBlocks;
  const Walk<Arguments> walk = fills ? of_units(many) : of_units(few);
  return !walk.is_none() ? walk : fills ? of_units(few) : of_units(many);
}
template <class Arguments>
Walk<Arguments> walk_of(const Arguments& a) {
  if (!a.weight || a.steps.starts || a.steps.count == 1 || a.steps.batch == 0 || a.hidden == 0 || a.projection)
    return {};
  switch (a.mode) {
    case RnnMode::lstm: return walk_of_gates<4>(a);
    case RnnMode::gru: return walk_of_gates<3>(a);
    default: return walk_of_gates<1>(a);
  }
}
template <class Arguments>
Status run(const Context& context, const Arguments& a, const Walk<Arguments>& walk) {
  return launch_asking(context, walk.blocks, dim3(kWalkThreads), walk.bytes, true, walk.kernel, a,
                       Letters{static_cast<Letter*>(context.workspace), walk.letters});
}
template <class Arguments>
std::size_t workspace(const Arguments& a) {
  return walk_of(a).workspace();
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
  if (const auto walk = walk_of(a); !walk.is_none()) return run(context, a, walk);
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
  if (const auto walk = walk_of(a); !walk.is_none()) return run(context, a, walk);
  return has_many(a.hidden, a.steps.batch) ? backward_units<kLanes>(context, a) : backward_units<4>(context, a);
}

template <class T>
constexpr RnnKernels<T> kRnn{.forward = forward<T>,
                             .backward = backward<T>,
                             .forward_workspace = workspace<RnnForward<T>>,
                             .backward_workspace = workspace<RnnBackward<T>>};

}  // namespace

void offer_rnn(DeviceTables& tables) {
  offer(tables, kRnn<float>);
  offer(tables, kRnn<double>);
}

}  // namespace dd2424::cuda
