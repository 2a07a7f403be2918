#include "core/optim.h"

#include "core/float_mode.h"
#include "core/table.h"
#include "cpu/optim_adaptive.h"

namespace dd2424::cpu::DD2424_ISA {
namespace {

struct Rates {
  double lr, momentum, keep, weight_decay, sign;  // keep: 1 - dampening
};
enum class Buffer { none, first, filled };

inline double value_of(const StepNumber& number) { return number.at ? *number.at : number.value; }

template <class T, Buffer buffer, bool nesterov, bool decays>
void sgd_range(const SgdParameter<T>& a, Index begin, Index end, const Rates& rates) {
  using L = Lane<T>;
  using V = Vec<L>;
  const V step = broadcast(static_cast<L>(-rates.lr)), momentum = broadcast(static_cast<L>(rates.momentum));
  const V keep = broadcast(static_cast<L>(rates.keep)), decay = broadcast(static_cast<L>(rates.weight_decay));
  const V sign = broadcast(static_cast<L>(rates.sign));
  const auto update = [&](V p, V g, V& b) {
    g *= sign;
    if constexpr (decays) g = fma(decay, p, g);
    if constexpr (buffer != Buffer::none) {
      b = buffer == Buffer::first ? g : fma(momentum, b, keep * g);
      g = nesterov ? fma(momentum, b, g) : b;
    }
    return fma(step, g, p);
  };
  T *p = a.parameter, *b = a.momentum;
  const T* g = a.gradient;
  Index i = begin;
  for (; i + kLanes<L> <= end; i += kLanes<L>) {
    V moved{};
    if constexpr (buffer == Buffer::filled) moved = load(b + i);
    store(p + i, update(load(p + i), load(g + i), moved));
    if constexpr (buffer != Buffer::none) store(b + i, moved);
  }
  if (const Index rest = end - i; rest > 0) {
    V moved{};
    if constexpr (buffer == Buffer::filled) moved = load(b + i, rest);
    store(p + i, update(load(p + i, rest), load(g + i, rest), moved), rest);
    if constexpr (buffer != Buffer::none) store(b + i, moved, rest);
  }
}

template <class T>
using RangeStep = void (*)(const SgdParameter<T>&, Index, Index, const Rates&);

template <class T, Buffer buffer>
RangeStep<T> choose(bool nesterov, bool decays) {
  if (nesterov) return decays ? sgd_range<T, buffer, true, true> : sgd_range<T, buffer, true, false>;
  return decays ? sgd_range<T, buffer, false, true> : sgd_range<T, buffer, false, false>;
}

template <class T>
Status sgd(const Context&, const Sgd<T>& a) {
  const FloatMode mode;
  const Rates rates{value_of(a.lr), a.momentum, 1 - a.dampening, a.weight_decay, a.maximize ? -1.0 : 1.0};
  const bool decays = a.weight_decay != 0;
  const RangeStep<T> plain = choose<T, Buffer::none>(false, decays);
  const RangeStep<T> first = choose<T, Buffer::first>(a.nesterov, decays);
  const RangeStep<T> filled = choose<T, Buffer::filled>(a.nesterov, decays);
  for_blocks(a.parameters, a.count, [&](Index k, Index begin, Index end) {
    const SgdParameter<T>& p = a.parameters[k];
    (p.momentum == nullptr ? plain : p.first ? first : filled)(p, begin, end, rates);
  });
  return Status::ok;
}

template <class T>
Status adaptive(const Context&, const Adaptive<T>& a) {
  const FloatMode mode;
  const double lr = value_of(a.lr);
  const AdaptiveRange<T> range = kAdaptiveRanges<T>[static_cast<int>(a.rule)];
  for_blocks(a.parameters, a.count, [&](Index k, Index begin, Index end) {
    const AdaptiveParameter<T>& p = a.parameters[k];
    range(p, a.options, {lr, static_cast<double>(*p.steps) + 1, p.product ? *p.product : 1.0}, begin, end);
  });
  for (Index k = 0; k < a.count; ++k) {
    const AdaptiveParameter<T>& p = a.parameters[k];
    *p.steps += 1;
    if (p.product) *p.product *= NAdam<double>::momentum(a.options, static_cast<double>(*p.steps));
  }
  return Status::ok;
}

// Squares are added in double: they neither overflow nor lose what is small.
inline double sum_squares(const double* x, Index n) {
  Vec<double> sums[4]{};
  Index i = 0;
  for (; i + 4 * kLanes<double> <= n; i += 4 * kLanes<double>)
    for (int k = 0; k < 4; ++k) {
      const Vec<double> v = load(x + i + k * kLanes<double>);
      sums[k] = fma(v, v, sums[k]);
    }
  for (int k = 0; i < n; i += kLanes<double>, ++k) {
    const Vec<double> v = n - i < kLanes<double> ? load(x + i, n - i) : load(x + i);
    sums[k] = fma(v, v, sums[k]);
  }
  return lanes_sum<double>((sums[0] + sums[1]) + (sums[2] + sums[3]));
}
inline double sum_squares(const float* x, Index n) {
  typedef float Half __attribute__((vector_size(kVectorBytes / 2)));
  constexpr int lanes = kLanes<double>;
  Vec<double> sums[4]{};
  const auto add = [&](Vec<double>& sum, const float* from) {
    Half half;
    __builtin_memcpy(&half, from, sizeof half);
    const Vec<double> v = __builtin_convertvector(half, Vec<double>);
    sum = fma(v, v, sum);
  };
  Index i = 0;
  for (; i + 4 * lanes <= n; i += 4 * lanes)
    for (int k = 0; k < 4; ++k) add(sums[k], x + i + k * lanes);
  int k = 0;
  for (; i + lanes <= n; i += lanes, ++k) add(sums[k], x + i);
  if (i < n) {
    float padded[lanes]{};
    memcpy(padded, x + i, static_cast<std::size_t>(n - i) * sizeof(float));
    add(sums[k], padded);
  }
  return lanes_sum<double>((sums[0] + sums[1]) + (sums[2] + sums[3]));
}

inline double tree_sum(double* parts, Index count) {
  for (Index width = 1; width < count; width *= 2)
    for (Index i = 0; i + width < count; i += 2 * width) parts[i] += parts[i + width];
  return count > 0 ? parts[0] : 0;
}

template <class T>
double gradient_squares(const T* x, Index n) {
  const Chunks chunks = reduction_chunks(n, kBlock);
  double parts[kMaxChunks];
  parallel_for(chunks.count, kGrain, [&](Index begin, Index end) {
    for (Index c = begin; c < end; ++c) {
      const Index from = c * chunks.size, left = n - from;
      parts[c] = sum_squares(x + from, left < chunks.size ? left : chunks.size);
    }
  });
  return tree_sum(parts, chunks.count);
}

template <class T>
Status clip_norm(const Context&, const ClipNorm<T>& a) {
  const FloatMode mode;
  double squares = 0;
  for (Index k = 0; k < a.count; ++k) squares += gradient_squares(a.gradients[k], a.sizes[k]);
  *a.norm = sqrt(squares);
  const double factor = a.max_norm / (*a.norm + 1e-6);
  if (factor >= 1) return Status::ok;  // a NaN goes on, as in PyTorch
  const Vec<T> scale = broadcast(static_cast<T>(factor));
  for (Index k = 0; k < a.count; ++k) {
    T* g = a.gradients[k];
    parallel_for(a.sizes[k], kBlock * kGrain, [&](Index begin, Index end) {
      map(g + begin, end - begin, [=](Vec<T> v) { return v * scale; }, g + begin);
    });
  }
  return Status::ok;
}

template <class T>
std::size_t clip_norm_workspace(const ClipNorm<T>&) {
  return 0;
}

template <class T>
constexpr OptimKernels<T> kOptim{
    .sgd = sgd<T>, .adaptive = adaptive<T>, .clip_norm = clip_norm<T>, .clip_norm_workspace = clip_norm_workspace<T>};
template <>
constexpr OptimKernels<bfloat16> kOptim<bfloat16>{
    .sgd = sgd<bfloat16>, .adaptive = adaptive<bfloat16>, .clip_norm = nullptr, .clip_norm_workspace = nullptr};

}  // namespace
}  // namespace dd2424::cpu::DD2424_ISA

namespace dd2424 {

DD2424_TABLE(OptimKernels<float>, cpu::DD2424_ISA::kOptim<float>)
DD2424_TABLE(OptimKernels<double>, cpu::DD2424_ISA::kOptim<double>)
DD2424_TABLE(OptimKernels<bfloat16>, cpu::DD2424_ISA::kOptim<bfloat16>)

}  // namespace dd2424
