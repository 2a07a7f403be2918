#include "core/optim.h"

#include <math.h>

#include "cuda/launch.h"
#include "cuda/offer.h"
#include "cuda/optim_rules.h"
#include "cuda/pack.h"
#include "cuda/value.h"

// One launch for all parameters, as far as their pointers fit into a kernel's arguments: so nothing is copied to the
// GPU for a step, and nothing is waited for. Each block has a piece of one parameter.
namespace dd2424::cuda {
namespace {

constexpr Index kPiece = 4096;            // elements of a block
constexpr Index kMostPieces = 1 << 30;    // of a launch
constexpr std::size_t kListBytes = 3800;  // of the 4096 that every GPU and driver takes

template <class Parameter>
struct List {
  static constexpr int kMost = static_cast<int>(kListBytes / (sizeof(Parameter) + sizeof(int)));
  Parameter parameters[kMost];
  int ends[kMost];  // the number of blocks up to the end of each
  int count;

  __device__ int find(int block) const {  // whose piece it is
    int low = 0, high = count - 1;
    while (low < high) {
      const int middle = (low + high) / 2;
      if (block < ends[middle]) high = middle;
      else low = middle + 1;
    }
    return low;
  }
};
struct Piece {
  Index begin, end;
  template <class L>
  __device__ Piece(const L& list, int k) {
    begin = (static_cast<int>(blockIdx.x) - (k > 0 ? list.ends[k - 1] : 0)) * kPiece;
    const Index n = list.parameters[k].n;
    end = begin + kPiece < n ? begin + kPiece : n;
  }
};

// Calls run(list, blocks) until all parameters were in one of the lists.
template <class Parameter, class Run>
Status for_lists(const Parameter* parameters, Index count, const Run& run) {
  List<Parameter> list{};
  Index blocks = 0;
  const auto flush = [&] {
    const Status status = run(list, static_cast<unsigned>(blocks));
    list.count = 0;
    blocks = 0;
    return status;
  };
  for (Index k = 0; k < count; ++k) {
    const Index pieces = (parameters[k].n + kPiece - 1) / kPiece;
    if (list.count == List<Parameter>::kMost || blocks + pieces > kMostPieces)
      if (const Status status = flush(); status != Status::ok) return status;
    list.parameters[list.count] = parameters[k];
    list.ends[list.count++] = static_cast<int>(blocks += pieces);
  }
  return list.count > 0 ? flush() : Status::ok;
}

__device__ inline double value_of(const StepNumber& number) { return number.at ? *number.at : number.value; }
__device__ inline std::uintptr_t address(const void* p) { return reinterpret_cast<std::uintptr_t>(p); }

// Calls f(i, count) for the packs of W elements that are this thread's; the last may have fewer.
template <int W, class F>
__device__ inline void for_packs(const Piece& piece, const F& f) {
  for (Index i = piece.begin + static_cast<Index>(threadIdx.x) * W; i < piece.end; i += kThreads * W)
    f(i, static_cast<int>(piece.end - i < W ? piece.end - i : W));
}
template <int W, class T>
__device__ inline void read(Computed<T> (&to)[W], const T* from, int count, bool aligned) {
  if (count == W) {
    const Pack<T, W> pack = load_pack<W>(from, aligned);
#pragma unroll
    for (int w = 0; w < W; ++w) to[w] = value(pack.of[w]);
    return;
  }
#pragma unroll
  for (int w = 0; w < W; ++w) to[w] = w < count ? value(from[w]) : Computed<T>(0);
}
template <int W, class T>
__device__ inline void write(T* to, const Computed<T> (&from)[W], int count, bool aligned) {
  Pack<T, W> pack;
#pragma unroll
  for (int w = 0; w < W; ++w) pack.of[w] = element<T>(from[w]);
  if (count == W) return store_pack<W>(to, pack, aligned);
#pragma unroll
  for (int w = 0; w < W; ++w)
    if (w < count) to[w] = pack.of[w];
}

struct Rates {
  double momentum, dampening, weight_decay;
  bool nesterov, maximize;
  StepNumber lr;
};
template <class T>
__global__ void sgd_kernel(List<SgdParameter<T>> list, Rates rates) {
  using C = Computed<T>;
  constexpr int W = kPack<T>;
  const int k = list.find(static_cast<int>(blockIdx.x));
  const SgdParameter<T> a = list.parameters[k];
  const C step = static_cast<C>(-value_of(rates.lr)), momentum = static_cast<C>(rates.momentum);
  const C keep = static_cast<C>(1 - rates.dampening), decay = static_cast<C>(rates.weight_decay);
  const bool aligned = (address(a.parameter) | address(a.gradient) | address(a.momentum)) % 16 == 0;
  for_packs<W>(Piece(list, k), [&](Index i, int count) {
    C p[W], g[W], b[W];
    read<W>(p, a.parameter + i, count, aligned);
    read<W>(g, a.gradient + i, count, aligned);
    if (a.momentum && !a.first) read<W>(b, a.momentum + i, count, aligned);
#pragma unroll
    for (int w = 0; w < W; ++w) {
      if (rates.maximize) g[w] = -g[w];
      if (decay != C(0)) g[w] = fma(decay, p[w], g[w]);
      if (a.momentum) {
        b[w] = a.first ? g[w] : fma(momentum, b[w], keep * g[w]);
        g[w] = rates.nesterov ? fma(momentum, b[w], g[w]) : b[w];
      }
      p[w] = fma(step, g[w], p[w]);
    }
    write<W>(a.parameter + i, p, count, aligned);
    if (a.momentum) write<W>(a.momentum + i, b, count, aligned);
  });
}

template <class T>
Status sgd(const Context& context, const Sgd<T>& a) {
  const Rates rates{a.momentum, a.dampening, a.weight_decay, a.nesterov, a.maximize, a.lr};
  return for_lists(a.parameters, a.count, [&](const List<SgdParameter<T>>& list, unsigned blocks) {
    return blocks == 0 ? Status::ok : launch(context, dim3(blocks), dim3(kThreads), sgd_kernel<T>, list, rates);
  });
}

template <class T>
__device__ inline void count_step(const AdaptiveParameter<T>& a, const AdaptiveOptions& options) {
  const float t = *a.steps + 1;
  *a.steps = t;
  if (a.product) *a.product *= nadam_momentum(options, static_cast<double>(t));
}
// A warp of the last block to come here counts, behind all that read what is counted on.
template <class T>
__device__ inline void count_when_last(const List<AdaptiveParameter<T>>& list, const AdaptiveOptions& options,
                                       std::uint32_t* blocks_done) {
  if (threadIdx.x >= kWarp) return;
  std::uint32_t before = 0;
  if (threadIdx.x == 0) {
    __threadfence();
    before = atomicAdd(blocks_done, std::uint32_t{1});
    __threadfence();
  }
  before = __shfl_sync(0xffffffff, before, 0);
  if (before != gridDim.x - 1) return;
  for (int k = static_cast<int>(threadIdx.x); k < list.count; k += kWarp) count_step(list.parameters[k], options);
  if (threadIdx.x == 0) *blocks_done = 0;
}

// Counting is not to cost the walk a block that runs beside it.
template <class T>
constexpr int kBlocksAtOnce = sizeof(Computed<T>) == 4 ? 4 : 2;
template <class T, template <class> class Rule>
__global__ void __launch_bounds__(kThreads, kBlocksAtOnce<T>)
    adaptive_kernel(List<AdaptiveParameter<T>> list, AdaptiveOptions options, StepNumber rate,
                    std::uint32_t* blocks_done) {
  using C = Computed<T>;
  constexpr int W = kPack<T>, kStates = Rule<C>::kStates;
  __shared__ Rule<C> of_step;
  const int k = list.find(static_cast<int>(blockIdx.x));
  const AdaptiveParameter<T> a = list.parameters[k];
  const double lr = value_of(rate);
  if (threadIdx.x == 0)
    of_step = Rule<C>::of(options, {lr, static_cast<double>(*a.steps) + 1, a.product ? *a.product : 1.0});
  __syncthreads();
  const Rule<C> rule = of_step;
  const C decay = static_cast<C>(options.weight_decay), kept = static_cast<C>(1 - lr * options.weight_decay);
  std::uintptr_t addresses = address(a.parameter) | address(a.gradient);
#pragma unroll
  for (int s = 0; s < kStates; ++s) addresses |= address(a.state[s]);
  const bool aligned = addresses % 16 == 0;
  for_packs<W>(Piece(list, k), [&](Index i, int count) {
    C p[W], g[W], state[kStates][W]{};
    read<W>(p, a.parameter + i, count, aligned);
    read<W>(g, a.gradient + i, count, aligned);
#pragma unroll
    for (int s = 0; s < kStates; ++s)
      if (a.state[s]) read<W>(state[s], a.state[s] + i, count, aligned);
#pragma unroll
    for (int w = 0; w < W; ++w) {
      C of_element[kStates];
#pragma unroll
      for (int s = 0; s < kStates; ++s) of_element[s] = state[s][w];
      if (options.maximize) g[w] = -g[w];
      if (decay != C(0) && options.decoupled) p[w] *= kept;
      else if (decay != C(0)) g[w] = fma(decay, p[w], g[w]);
      p[w] = rule(p[w], g[w], of_element);
#pragma unroll
      for (int s = 0; s < kStates; ++s) state[s][w] = of_element[s];
    }
    write<W>(a.parameter + i, p, count, aligned);
#pragma unroll
    for (int s = 0; s < kStates; ++s)
      if (a.state[s]) write<W>(a.state[s] + i, state[s], count, aligned);
  });
  if (blocks_done) count_when_last(list, options, blocks_done);
}

// Behind a step that did not count.
template <class T>
__global__ void count_kernel(List<AdaptiveParameter<T>> list, AdaptiveOptions options) {
  for_each_item(list.count, [&](Index k) { count_step(list.parameters[k], options); });
}

template <class T>
using AdaptiveKernel = void (*)(List<AdaptiveParameter<T>>, AdaptiveOptions, StepNumber, std::uint32_t*);
template <class T>
AdaptiveKernel<T> kernel_of(AdaptiveRule rule) {
  switch (rule) {
    case AdaptiveRule::adam: return adaptive_kernel<T, Adam>;
    case AdaptiveRule::nadam: return adaptive_kernel<T, NAdam>;
    case AdaptiveRule::radam: return adaptive_kernel<T, RAdam>;
    case AdaptiveRule::adamax: return adaptive_kernel<T, Adamax>;
    case AdaptiveRule::rmsprop: return adaptive_kernel<T, RmsProp>;
    case AdaptiveRule::adagrad: return adaptive_kernel<T, Adagrad>;
    case AdaptiveRule::adadelta: break;
  }
  return adaptive_kernel<T, Adadelta>;
}

template <class T>
Status adaptive(const Context& context, const Adaptive<T>& a) {
  const AdaptiveKernel<T> kernel = kernel_of<T>(a.rule);
  return for_lists(a.parameters, a.count, [&](const List<AdaptiveParameter<T>>& list, unsigned blocks) {
    if (blocks > 0) {
      const Status status = launch(context, dim3(blocks), dim3(kThreads), kernel, list, a.options, a.lr, a.blocks_done);
      if (status != Status::ok || a.blocks_done) return status;
    }
    return launch_items(context, list.count, count_kernel<T>, list, a.options);
  });
}

// The norm of all gradients: a sum of squares for each piece, in double, then one block's sum of these. How much the
// gradients shrink is known to the GPU alone.

template <class T>
struct Clipped {
  T* gradient;
  Index n;
};
struct ClipFactor {
  double factor;
};

__device__ inline double sum_over_block(double mine) {  // which the first thread gets
  __shared__ double sums[kThreads / kWarp];
  for (int step = kWarp / 2; step > 0; step /= 2) mine += __shfl_xor_sync(0xffffffff, mine, step);
  if (threadIdx.x % kWarp == 0) sums[threadIdx.x / kWarp] = mine;
  __syncthreads();
  double total = 0;
  for (int warp = 0; warp < kThreads / kWarp; ++warp) total += sums[warp];
  return total;
}

template <class T>
__global__ void squares_kernel(List<Clipped<T>> list, double* parts) {
  using C = Computed<T>;
  constexpr int W = kPack<T>;
  const int k = list.find(static_cast<int>(blockIdx.x));
  const T* gradient = list.parameters[k].gradient;
  const bool aligned = address(gradient) % 16 == 0;
  double sum = 0;
  for_packs<W>(Piece(list, k), [&](Index i, int count) {
    C g[W];
    read<W>(g, gradient + i, count, aligned);
#pragma unroll
    for (int w = 0; w < W; ++w) sum = fma(static_cast<double>(g[w]), static_cast<double>(g[w]), sum);
  });
  sum = sum_over_block(sum);
  if (threadIdx.x == 0) parts[blockIdx.x] = sum;
}

__global__ void norm_kernel(const double* parts, Index count, double max_norm, double* norm, ClipFactor* clip) {
  double sum = 0;
  for (Index i = threadIdx.x; i < count; i += kThreads) sum += parts[i];
  sum = sum_over_block(sum);
  if (threadIdx.x != 0) return;
  *norm = sqrt(sum);
  clip->factor = max_norm / (*norm + 1e-6);
}

template <class T>
__global__ void scale_kernel(List<Clipped<T>> list, const ClipFactor* clip) {
  using C = Computed<T>;
  constexpr int W = kPack<T>;
  if (clip->factor >= 1) return;  // a NaN goes on, as in PyTorch
  const C factor = static_cast<C>(clip->factor);
  const int k = list.find(static_cast<int>(blockIdx.x));
  T* gradient = list.parameters[k].gradient;
  const bool aligned = address(gradient) % 16 == 0;
  for_packs<W>(Piece(list, k), [&](Index i, int count) {
    C g[W];
    read<W>(g, gradient + i, count, aligned);
#pragma unroll
    for (int w = 0; w < W; ++w) g[w] *= factor;
    write<W>(gradient + i, g, count, aligned);
  });
}

template <class T>
Index pieces_of(const ClipNorm<T>& a) {
  Index pieces = 0;
  for (Index k = 0; k < a.count; ++k) pieces += (a.sizes[k] + kPiece - 1) / kPiece;
  return pieces;
}
template <class T>
std::size_t clip_norm_workspace(const ClipNorm<T>& a) {
  return sizeof(ClipFactor) + static_cast<std::size_t>(pieces_of(a)) * sizeof(double);
}

// Calls run(list, blocks, number of the first block) for all gradients.
template <class T, class Run>
Status for_gradients(const ClipNorm<T>& a, const Run& run) {
  Index first = 0;
  const auto counted = [&](const List<Clipped<T>>& list, unsigned blocks) {
    const Status status = blocks == 0 ? Status::ok : run(list, blocks, first);
    first += blocks;
    return status;
  };
  constexpr Index most = List<Clipped<T>>::kMost;
  for (Index begin = 0; begin < a.count; begin += most) {
    Clipped<T> some[most];
    const Index count = a.count - begin < most ? a.count - begin : most;
    for (Index k = 0; k < count; ++k) some[k] = {a.gradients[begin + k], a.sizes[begin + k]};
    if (const Status status = for_lists(some, count, counted); status != Status::ok) return status;
  }
  return Status::ok;
}

template <class T>
Status clip_norm(const Context& context, const ClipNorm<T>& a) {
  auto* clip = static_cast<ClipFactor*>(context.workspace);
  auto* parts = reinterpret_cast<double*>(clip + 1);
  Status status = for_gradients(a, [&](const List<Clipped<T>>& list, unsigned blocks, Index first) {
    return launch(context, dim3(blocks), dim3(kThreads), squares_kernel<T>, list, parts + first);
  });
  if (status == Status::ok)
    status = launch(context, dim3(1), dim3(kThreads), norm_kernel, static_cast<const double*>(parts), pieces_of(a),
                    a.max_norm, a.norm, clip);
  if (status != Status::ok) return status;
  return for_gradients(a, [&](const List<Clipped<T>>& list, unsigned blocks, Index) {
    return launch(context, dim3(blocks), dim3(kThreads), scale_kernel<T>, list, static_cast<const ClipFactor*>(clip));
  });
}

template <class T>
constexpr OptimKernels<T> kOptim{
    .sgd = sgd<T>, .adaptive = adaptive<T>, .clip_norm = clip_norm<T>, .clip_norm_workspace = clip_norm_workspace<T>};
template <class T>
constexpr OptimKernels<T> kShortOptim{
    .sgd = sgd<T>, .adaptive = adaptive<T>, .clip_norm = nullptr, .clip_norm_workspace = nullptr};

}  // namespace

void offer_optim(DeviceTables& tables) {
  offer(tables, kOptim<float>);
  offer(tables, kOptim<double>);
  offer(tables, kShortOptim<bfloat16>);
  offer(tables, kShortOptim<float16>);
}

}  // namespace dd2424::cuda
