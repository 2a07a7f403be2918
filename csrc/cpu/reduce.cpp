#include "cpu/reduce.h"

#include "core/float_mode.h"
#include "core/table.h"
#include "cpu/reduce_arg.h"
#include "cpu/reduce_scan.h"

namespace dd2424::cpu::DD2424_ISA {
namespace {

template <class T>
constexpr bool is_floating = std::is_floating_point_v<T> || std::is_same_v<T, bfloat16>;

template <class T>
inline T rounded(Total<Compute<T>> total) {
  if constexpr (std::is_same_v<T, bfloat16>) return to_bfloat16(static_cast<float>(total));
  else return static_cast<T>(total);
}

template <class T>
void run(const Reduction<T>& r) {
  by_columns(*r.at) ? reduce_columns(r) : reduce_rows(r);
}

template <class T>
Status reduce(const Context& context, ReduceOp op, const Reduce<T>& a) {
  if (op == ReduceOp::sum_abs && !is_floating<T>) return Status::unsupported;
  constexpr Combine combine[] = {Combine::sum, Combine::prod,        Combine::max,
                                 Combine::min, Combine::sum_squares, Combine::sum_abs};
  const FloatMode mode;
  using Sum = Total<Compute<T>>;
  const auto finish = [](const void* data, Index first, const Sum* totals, Index n) {
    const Reduce<T>& a = *static_cast<const Reduce<T>*>(data);
    for (Index i = 0; i < n; ++i) {
      if constexpr (is_floating<T>) a.y[first + i] = rounded<T>(totals[i] * Sum(a.scale));
      else a.y[first + i] = rounded<T>(totals[i]);
    }
  };
  run<T>({.x = a.x,
          .at = &a.at,
          .combination = &combination<Compute<T>>(combine[static_cast<int>(op)]),
          .finish = {finish, &a},
          .workspace = context.workspace});
  return Status::ok;
}

template <class T>
void logic_of(const T* x, void* workspace, LogicOp op, const ReduceShape& at, bool* y) {
  using Sum = Total<Compute<T>>;
  const auto finish = [](const void* y, Index first, const Sum* totals, Index n) {
    bool* const to = *static_cast<bool* const*>(y);
    for (Index i = 0; i < n; ++i) to[first + i] = totals[i] != 0;
  };
  run<T>({.x = x,
          .at = &at,
          .combination = &combination<Compute<T>>(op == LogicOp::any ? Combine::any : Combine::all),
          .finish = {finish, &y},
          .workspace = workspace});
}

template <class T>
Status logic(const Context& context, LogicOp op, const Logic<T>& a) {
  if constexpr (sizeof(T) == 1) logic_of(reinterpret_cast<const Byte*>(a.x), context.workspace, op, a.at, a.y);
  else logic_of(a.x, context.workspace, op, a.at, a.y);
  return Status::ok;
}

// mean = origin + shift, where shift is the mean distance from the first term; variance is taken about that mean.
template <class T>
struct Moments {
  const Variance<T>* arguments;
  Compute<T>*origin, *shift;  // (outputs), in the workspace
};
template <class T>
Status variance(const Context& context, const Variance<T>& a) {
  using C = Compute<T>;
  using Sum = Total<C>;
  const FloatMode mode;
  char* workspace = static_cast<char*>(context.workspace);
  const Moments<T> moments{&a, reinterpret_cast<C*>(workspace), reinterpret_cast<C*>(workspace) + a.at.outputs};
  for (Index o = 0; o < a.at.outputs; ++o) {
    const C first = a.at.terms ? computed(a.x[offset_in(a.at, 0, a.at.kept, o)]) : C(0);
    moments.origin[o] = first - first == C(0) ? first : C(0);  // inf would make every distance NaN
  }
  void* rest = workspace + 2 * sizeof(double) * static_cast<std::size_t>(a.at.outputs);
  const auto finish_mean = [](const void* data, Index first, const Sum* totals, Index n) {
    const Moments<T>& m = *static_cast<const Moments<T>*>(data);
    for (Index i = first; i < first + n; ++i) {
      const Sum shift = totals[i - first] / Sum(m.arguments->at.terms);
      m.shift[i] = static_cast<C>(shift);
      m.arguments->mean[i] = static_cast<C>(Sum(m.origin[i]) + shift);
    }
  };
  const auto finish_variance = [](const void* data, Index first, const Sum* totals, Index n) {
    const Moments<T>& m = *static_cast<const Moments<T>*>(data);
    const double freedom = double(m.arguments->at.terms) - m.arguments->correction;
    for (Index i = first; i < first + n; ++i)
      m.arguments->variance[i] = static_cast<C>(totals[i - first] / Sum(freedom > 0 ? freedom : 0));
  };
  run<T>({.x = a.x,
          .at = &a.at,
          .combination = &combination<C>(Combine::about),
          .p = moments.origin,
          .finish = {finish_mean, &moments},
          .workspace = rest});
  run<T>({.x = a.x,
          .at = &a.at,
          .combination = &combination<C>(Combine::squares_about),
          .p = moments.origin,
          .q = moments.shift,
          .finish = {finish_variance, &moments},
          .workspace = rest});
  return Status::ok;
}

// The best of terms [begin, end) of the output that begins at x.
template <class T>
Best<Compute<T>> best_of(const ArgReduce<T>& a, const Contest<Compute<T>>& contest, const T* x, Index begin,
                         Index end) {
  using C = Compute<T>;
  alignas(64) C buffer[kRowBlock<C>];
  const Combination<C>& extreme = combination<C>(contest.better(C(1), C(0)) ? Combine::max : Combine::min);
  const auto count = [end](Index t) { return end - t < kRowBlock<C> ? end - t : kRowBlock<C>; };
  Best<C> best{C(0), -1};  // its index is that of a block first
  for (Index t = begin; t < end; t += kRowBlock<C>) {
    const C value = static_cast<C>(extreme.row(terms_of(x, a.at, t, count(t), buffer), count(t), C(0), C(0)));
    if (best.index < 0 || contest.better(value, best.value)) best = {value, t};
  }
  const Index n = count(best.index);
  best.index += contest.find(terms_of(x, a.at, best.index, n, buffer), n, best.value);
  return best;
}

// Rows are cut where they are few: the earliest part that no other beats has the answer.
template <class T>
void arg_rows(const ArgReduce<T>& a, const Contest<Compute<T>>& contest) {
  using C = Compute<T>;
  constexpr Index few = 8;
  const Chunks parts = reduction_chunks(a.at.terms, a.at.outputs <= few ? kReduceGrain : a.at.terms);
  const auto store = [&](Index o, const T* x, const Best<C>& best) {
    a.index[o] = best.index;
    if (a.value) a.value[o] = x[offset_in(a.at, a.at.kept, a.at.reduced, best.index)];
  };
  const auto start = [&](Index o) { return a.x + offset_in(a.at, 0, a.at.kept, o); };
  if (parts.count == 1) {
    return parallel_for(a.at.outputs, kReduceGrain / a.at.terms + 1, [&](Index begin, Index end) {
      for (Index o = begin; o < end; ++o) store(o, start(o), best_of(a, contest, start(o), 0, a.at.terms));
    });
  }
  for (Index o = 0; o < a.at.outputs; ++o) {
    Best<C> best[kMaxChunks];
    parallel_for(parts.count, 1, [&](Index begin, Index end) {
      for (Index i = begin; i < end; ++i) {
        const Index from = i * parts.size, stop = from + parts.size;
        best[i] = best_of(a, contest, start(o), from, stop < a.at.terms ? stop : a.at.terms);
      }
    });
    for (Index i = 1; i < parts.count; ++i)
      if (contest.better(best[i].value, best[0].value)) best[0] = best[i];
    store(o, start(o), best[0]);
  }
}

template <class T>
void arg_columns(const ArgReduce<T>& a, const Contest<Compute<T>>& contest) {
  using C = Compute<T>;
  constexpr Index most = 128;  // columns side by side
  const int innermost = a.at.kept - 1;
  const Index width = a.at.shape[innermost], tiles = (width + most - 1) / most;
  parallel_for(a.at.outputs / width * tiles, kReduceGrain / (a.at.terms * most) + 1, [&](Index begin, Index end) {
    C values[most], row[most];
    Index indices[most];
    for (Index i = begin; i < end; ++i) {
      const Index first = i % tiles * most, count = width - first < most ? width - first : most;
      const Index output = i / tiles * width + first;
      const T* x = a.x + offset_in(a.at, 0, a.at.kept, output);
      for (Index t = 0; t < a.at.terms; ++t) {
        const T* from = x + offset_in(a.at, a.at.kept, a.at.reduced, t);
        gather_run(t == 0 ? values : row, from, a.at.strides[innermost], count);
        if (t == 0) memset(indices, 0, sizeof indices);
        else contest.columns(values, indices, row, count, t);
      }
      for (Index j = 0; j < count; ++j) {
        a.index[output + j] = indices[j];
        if (a.value)
          a.value[output + j] = x[j * a.at.strides[innermost] + offset_in(a.at, a.at.kept, a.at.reduced, indices[j])];
      }
    }
  });
}

template <class T>
Status arg_reduce(const Context&, ArgOp op, const ArgReduce<T>& a) {
  if (a.at.terms == 0) return Status::unsupported;
  const Contest<Compute<T>>& of = contest<Compute<T>>(op == ArgOp::argmax);
  by_columns(a.at) ? arg_columns(a, of) : arg_rows(a, of);
  return Status::ok;
}

std::size_t workspace(const ReduceShape& at) {
  return column_workspace(at) + 2 * sizeof(double) * static_cast<std::size_t>(at.outputs);
}

template <class T>
constexpr ReduceKernels<T> kReduce{.reduce = reduce<T>,
                                   .arg_reduce = arg_reduce<T>,
                                   .variance = nullptr,
                                   .logic = logic<T>,
                                   .cumsum = scan<T, false>,
                                   .cumprod = scan<T, true>,
                                   .workspace = workspace};
template <class T>
constexpr ReduceKernels<T> with_variance() {
  ReduceKernels<T> kernels = kReduce<T>;
  kernels.variance = variance<T>;
  return kernels;
}

}  // namespace
}  // namespace dd2424::cpu::DD2424_ISA

namespace dd2424 {

DD2424_TABLE(ReduceKernels<float>, cpu::DD2424_ISA::with_variance<float>())
DD2424_TABLE(ReduceKernels<double>, cpu::DD2424_ISA::with_variance<double>())
DD2424_TABLE(ReduceKernels<bfloat16>, cpu::DD2424_ISA::with_variance<bfloat16>())
DD2424_TABLE(ReduceKernels<std::int64_t>, cpu::DD2424_ISA::kReduce<std::int64_t>)
DD2424_TABLE(ReduceKernels<std::int32_t>, cpu::DD2424_ISA::kReduce<std::int32_t>)
DD2424_TABLE(ReduceKernels<std::int16_t>, cpu::DD2424_ISA::kReduce<std::int16_t>)
DD2424_TABLE(ReduceKernels<std::int8_t>, cpu::DD2424_ISA::kReduce<std::int8_t>)
DD2424_TABLE(ReduceKernels<std::uint8_t>, cpu::DD2424_ISA::kReduce<std::uint8_t>)
DD2424_TABLE(ReduceKernels<bool>, cpu::DD2424_ISA::kReduce<bool>)

}  // namespace dd2424
