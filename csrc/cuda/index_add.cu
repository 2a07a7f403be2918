#include "cuda/index_walk.h"
#include "cuda/offer.h"
#include "cuda/pack.h"
#include "cuda/value.h"

// Sums and extremes where indices say, without atomics: items are put in the order of where they go, and one thread
// joins all that go to one place, in the order in which they come.
namespace dd2424::cuda {
namespace {

constexpr Index kRun = 64;  // of the order: a longer stretch of one place is summed in runs, which other threads sum

// Cells of W neighbouring elements, in which the walk counts.
template <class T>
constexpr int kCell = sizeof(T) == 8   ? 2
                      : sizeof(T) == 4 ? 4
                                       : 8;

template <class T>
struct Terms {  // item's term is rate * y[item]
  using C = Computed<T>;
  const T* y;
  const std::int64_t* source;  // row source[item] takes the place of row item
  const C* factor;             // takes the place of scale; where it is 0 nothing is read
  Index source_step;
  C scale;

  template <int W>
  __device__ void add(C (&sum)[W], const IndexWalk& walk, Index item, Index further) const {
    const C rate = factor ? factor[item] : scale;
    if (factor && rate == C(0)) return;
    const Index from = source ? source[item] * source_step : offsets(walk.over, item).y;
    const Pack<T, W> terms = reinterpret_cast<const Pack<T, W>*>(y)[from + further];
#pragma unroll
    for (int w = 0; w < W; ++w) sum[w] = static_cast<C>(sum[w] + static_cast<C>(rate * value(terms.of[w])));
  }
};

__device__ inline Index end_of_run(const IndexWalk& walk, const Sorted& sorted, Index begin) {
  const Index next = (begin / kRun + 1) * kRun, limit = next < sorted.count ? next : sorted.count;
  Index end = begin + 1;
  while (end < limit && are_one(walk, sorted, begin, end)) ++end;
  return end;
}
template <class T, int W>
__device__ inline void add_run(Computed<T> (&sum)[W], const Terms<T>& terms, const IndexWalk& walk,
                               const Sorted& sorted, Index begin, Index further) {
  const Index end = end_of_run(walk, sorted, begin);
#pragma unroll 2
  for (Index q = begin; q < end; ++q) terms.template add<W>(sum, walk, place_of_word(sorted.words[q]), further);
}

// partial[r - 1]: what run r has of a stretch that has begun before it.
template <class T, int W>
__global__ void sum_runs_kernel(Terms<T> terms, IndexWalk walk, Sorted sorted, Index along, Index count,
                                Computed<T>* partial) {
  for_each_item(count * along, [&](Index i) {
    const Index run = quotient(i, along), begin = (run + 1) * kRun;
    if (!are_one(walk, sorted, begin - 1, begin)) return;
    Computed<T> sum[W] = {};
    add_run<T, W>(sum, terms, walk, sorted, begin, offsets(walk.along, i - run * along).y);
#pragma unroll
    for (int w = 0; w < W; ++w) partial[i * W + w] = sum[w];
  });
}
template <class T, int W>
__global__ void add_kernel(T* x, Terms<T> terms, IndexWalk walk, Sorted sorted, Index along,
                           const Computed<T>* partial) {
  using C = Computed<T>;
  for_each_item(sorted.count * along, [&](Index i) {
    const Index p = quotient(i, along), rest = i - p * along;
    if (p > 0 && are_one(walk, sorted, p - 1, p)) return;
    const Offsets further = offsets(walk.along, rest);
    Pack<T, W>& there =
        reinterpret_cast<Pack<T, W>*>(x)[over_offsets(walk, place_of_word(sorted.words[p])).x + further.x];
    Pack<T, W> cell = there;
    C sum[W];
#pragma unroll
    for (int w = 0; w < W; ++w) sum[w] = value(cell.of[w]);
    add_run<T, W>(sum, terms, walk, sorted, p, further.y);
    for (Index run = p / kRun; (run + 1) * kRun < sorted.count; ++run) {
      if (!are_one(walk, sorted, p, (run + 1) * kRun)) break;
#pragma unroll
      for (int w = 0; w < W; ++w) sum[w] = static_cast<C>(sum[w] + partial[(run * along + rest) * W + w]);
    }
#pragma unroll
    for (int w = 0; w < W; ++w) cell.of[w] = element<T>(sum[w]);
    there = cell;
  });
}

Index runs_of(Index items) { return (items - 1) / kRun; }  // beside the first
template <class T>
std::size_t bytes_of(const IndexWalk& walk) {
  const Index partial = runs_of(walk.over.items()) * walk.along.items();
  return order_walk_bytes(walk) + static_cast<std::size_t>(partial) * sizeof(Computed<T>);
}

template <class T, int W>
Status add_cells(const Context& context, T* x, const Terms<T>& terms, const IndexWalk& walk, const Sorted& sorted,
                 Computed<T>* partial) {
  const Index along = walk.along.items(), runs = runs_of(sorted.count);
  if (runs > 0) {
    const Status status =
        launch_items(context, runs * along, sum_runs_kernel<T, W>, terms, walk, sorted, along, runs, partial);
    if (status != Status::ok) return status;
  }
  return launch_items(context, sorted.count * along, add_kernel<T, W>, x, terms, walk, sorted, along,
                      static_cast<const Computed<T>*>(partial));
}
template <class T>
Status add_terms(const Context& context, T* x, Terms<T> terms, IndexWalk walk) {
  Sorted sorted{nullptr, walk.over.items(), walk.bits > kKeyBits};
  auto* const partial =
      reinterpret_cast<Computed<T>*>(static_cast<std::byte*>(context.workspace) + order_walk_bytes(walk));
  const Status status = order_walk(context, walk, &sorted.words);
  if (status != Status::ok) return status;
  if constexpr (kCell<T> > 1) {
    constexpr Index bytes = kCell<T> * sizeof(T);
    IndexWalk in_cells = walk;
    if (terms.source_step % kCell<T> == 0 && widened(in_cells, sizeof(T), bytes, x, terms.y) == bytes) {
      terms.source_step /= kCell<T>;
      return add_cells<T, kCell<T>>(context, x, terms, in_cells, sorted, partial);
    }
  }
  return add_cells<T, 1>(context, x, terms, walk, sorted, partial);
}

// Rows that go to y[o, index[j]], for each o.
IndexWalk walk_of_rows(Index outer, Index rows, Index n, Index inner, const std::int64_t* index) {
  Strided<2> at{.ndim = 3, .shape = {outer, n, inner}, .strides = {{n * inner, inner, 1}, {rows * inner, 0, 1}}};
  IndexedAt indexed{};
  indexed.indices = 1;
  indexed.index[0] = index;
  indexed.index_strides[0][1] = 1;
  indexed.sizes[0] = rows;
  indexed.steps[0] = inner;
  return walk_of(at, indexed, nullptr);
}
template <class T>
IndexWalk walk_of_rows(const IndexAdd<T>& a) {
  return walk_of_rows(a.outer, a.size, a.n, a.inner, a.index);
}
template <class T>
Status add(const Context& context, const IndexAdd<T>& a) {
  if (a.outer * a.n * a.inner == 0) return Status::ok;
  const Terms<T> terms{a.x, a.source, a.factor, a.inner, static_cast<Computed<T>>(a.scale)};
  return add_terms(context, a.y, terms, walk_of_rows(a));
}
template <class T>
std::size_t add_workspace(const IndexAdd<T>& a) {
  return a.outer * a.n * a.inner == 0 ? 0 : bytes_of<T>(walk_of_rows(a));
}

template <class T>
Status add_at(const Context& context, const IndexedAdd<T>& a) {
  return add_terms(context, a.x, Terms<T>{a.y, nullptr, nullptr, 0, Computed<T>(1)},
                   walk_of(a.at, a.indexed, a.outside));
}
template <class T>
std::size_t add_at_workspace(const IndexedAdd<T>& a) {
  return bytes_of<T>(walk_of(a.at, a.indexed, a.outside));
}

template <class C>
__device__ inline C joined(ScatterOp op, C x, C y) {
  if (op == ScatterOp::prod) return static_cast<C>(x * y);
  const bool stays = op == ScatterOp::max ? x >= y : x <= y;
  return stays || x != x ? x : y;  // a NaN on either side wins
}
template <class T>
__global__ void join_kernel(T* x, const T* y, ScatterOp op, IndexWalk walk, Sorted sorted, Index along) {
  for_each_item(sorted.count * along, [&](Index i) {
    const Index p = quotient(i, along);
    if (p > 0 && are_one(walk, sorted, p - 1, p)) return;
    const Offsets further = offsets(walk.along, i - p * along);
    T& there = x[over_offsets(walk, place_of_word(sorted.words[p])).x + further.x];
    Computed<T> best = value(there);
    for (Index q = p; q < sorted.count && are_one(walk, sorted, p, q); ++q)
      best = joined(op, best, value(y[offsets(walk.over, place_of_word(sorted.words[q])).y + further.y]));
    there = element<T>(best);
  });
}
template <class T>
Status scatter(const Context& context, ScatterOp op, const IndexedAdd<T>& a) {
  if (op == ScatterOp::sum) return add_at(context, a);
  const IndexWalk walk = walk_of(a.at, a.indexed, a.outside);
  Sorted sorted{nullptr, walk.over.items(), walk.bits > kKeyBits};
  const Status status = order_walk(context, walk, &sorted.words);
  if (status != Status::ok) return status;
  const Index along = walk.along.items();
  return launch_items(context, sorted.count * along, join_kernel<T>, a.x, a.y, op, walk, sorted, along);
}

// The first of equal elements; a NaN wins.
template <class T>
__global__ void largest_rows_kernel(RowExtreme<T> a, IndexWalk walk, Sorted sorted) {
  for_each_item(sorted.count * a.inner, [&](Index i) {
    const Index p = quotient(i, a.inner), column = i - p * a.inner;
    if (p > 0 && are_one(walk, sorted, p - 1, p)) return;
    const Index to = a.index[place_of_word(sorted.words[p])] * a.inner + column;
    auto best = value(a.y[to]);
    std::int64_t from = a.from[to];
    for (Index q = p; q < sorted.count && are_one(walk, sorted, p, q); ++q) {
      const std::int64_t row = a.source[place_of_word(sorted.words[q])];
      const auto v = value(a.x[row * a.inner + column]);
      const bool is_new = from < 0 || (best == best && !(v <= best));
      best = is_new ? v : best;
      from = is_new ? row : from;
    }
    a.y[to] = element<T>(best);
    a.from[to] = from;
  });
}
template <class T>
Status largest_rows(const Context& context, const RowExtreme<T>& a) {
  const IndexWalk walk = walk_of_rows(1, a.rows, a.n, a.inner, a.index);
  Sorted sorted{nullptr, a.n, walk.bits > kKeyBits};
  const Status status = order_walk(context, walk, &sorted.words);
  if (status != Status::ok) return status;
  return launch_items(context, a.n * a.inner, largest_rows_kernel<T>, a, walk, sorted);
}
template <class T>
std::size_t largest_rows_workspace(const RowExtreme<T>& a) {
  return order_walk_bytes(walk_of_rows(1, a.rows, a.n, a.inner, a.index));
}

template <class T>
constexpr IndexAddKernels<T> table() {
  IndexAddKernels<T> kernels{.add = add<T>,
                             .add_at = add_at<T>,
                             .scatter = scatter<T>,
                             .largest_rows = nullptr,
                             .add_workspace = add_workspace<T>,
                             .add_at_workspace = add_at_workspace<T>};
  if constexpr (std::is_floating_point_v<Computed<T>>) {
    kernels.largest_rows = largest_rows<T>;
    kernels.largest_rows_workspace = largest_rows_workspace<T>;
  }
  return kernels;
}
template <class T>
constexpr IndexAddKernels<T> kIndexAdd = table<T>();

}  // namespace

void offer_index_add(DeviceTables& tables) {
  offer(tables, kIndexAdd<float>);
  offer(tables, kIndexAdd<double>);
  offer(tables, kIndexAdd<bfloat16>);
  offer(tables, kIndexAdd<float16>);
  offer(tables, kIndexAdd<std::int64_t>);
  offer(tables, kIndexAdd<std::int32_t>);
  offer(tables, kIndexAdd<std::int16_t>);
  offer(tables, kIndexAdd<std::int8_t>);
  offer(tables, kIndexAdd<std::uint8_t>);
}

}  // namespace dd2424::cuda
