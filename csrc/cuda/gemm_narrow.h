#pragma once
#include <bit>

#include "cuda/gemm_product.h"

// Products of which one operand has few rows: all that counts is to read the other, once, as fast as memory allows. A
// block has 32 of its rows, and its threads share the steps, four at a time, in 32 groups: neighbouring threads are
// neighbours along whichever way memory runs. The groups' sums are added in one order for both.
namespace dd2424::cuda {

// Rows, the most. With more, multiplications would take the time of bfloat16, and float64 would leave the registers.
template <class T>
constexpr int kNarrow = std::is_same_v<T, float> ? 16 : 8;
constexpr int kNarrowWide = 32, kNarrowGroups = 32;  // rows of the other operand, groups of a block
constexpr int kNarrowThreads = kNarrowWide / kUnit * kNarrowGroups;
constexpr int kNarrowSlice = kUnit * kNarrowGroups;  // steps that a block takes at once

template <class T>
struct Square {  // four neighbours of each of four rows, or of four steps: as words, which stay together in registers
  struct alignas(sizeof(Unit<T>) < 16 ? sizeof(Unit<T>) : 16) Words {
    std::uint32_t at[sizeof(Unit<T>) / 4];
  };
  Words of[kUnit];
  __device__ Unit<T> unit(int i) const { return std::bit_cast<Unit<T>>(of[i]); }
};

// The rows of the wide operand that a thread reads, four by four steps at a time.
template <class T, bool k_first>
class WideReader {
 public:
  __device__ WideReader(const Matrix<T>& x, Index row, Index begin, Index end)
      : from_(x.data + row * x.row_stride + begin * x.k_stride),
        across_(k_first ? x.row_stride : x.k_stride),
        along_(k_first ? x.k_stride : x.row_stride),
        step_(x.k_stride * kNarrowSlice),
        steps_left_(in_32_bits(end - begin)),
        rows_left_(in_32_bits(x.rows - row)),
        is_vector_(x.vector) {}
  __device__ void load(Square<T>& y) {  // and goes on to the next slice
    if (is_vector_ && steps_left_ >= kUnit && rows_left_ >= kUnit) {
#pragma unroll
      for (int i = 0; i < kUnit; ++i)
        y.of[i] = *reinterpret_cast<const typename Square<T>::Words*>(from_ + i * across_);
    } else {
#pragma unroll 1
      for (int i = 0; i < kUnit; ++i) {  // all move up by one
#pragma unroll
        for (int other = 1; other < kUnit; ++other) y.of[other - 1] = y.of[other];
        Unit<T> last;
#pragma unroll
        for (int j = 0; j < kUnit; ++j) {
          const bool has = (k_first ? i : j) < rows_left_ && (k_first ? j : i) < steps_left_;
          last.at[j] = has ? from_[i * across_ + j * along_] : T{};
        }
        y.of[kUnit - 1] = std::bit_cast<typename Square<T>::Words>(last);
      }
    }
    from_ += step_, steps_left_ -= kNarrowSlice;
  }

 private:
  const T* from_;
  Index across_, along_, step_;
  int steps_left_, rows_left_;
  bool is_vector_;
};

// The few rows, a slice at a time by way of shared memory.
template <class T, int few>
class FewCarrier {
 public:
  using C = Computed<T>;
  using Slice = C[few][kNarrowSlice + kPad];

  __device__ FewCarrier(const Matrix<T>& x, Index begin, Index end)
      : from_(x.data + row_of(0) * x.row_stride + (begin + k()) * x.k_stride),
        apart_(x.row_stride * kNarrowThreads / kNarrowSlice),
        step_(x.k_stride * kNarrowSlice),
        steps_left_(in_32_bits(end - begin) - k()),
        rows_left_(in_32_bits(x.rows)) {}
  __device__ void load() {
    const T* from = from_;
#pragma unroll
    for (int u = 0; u < units; ++u) {
      held_[u] = row_of(u) < rows_left_ && steps_left_ > 0 ? *from : T{};
      from += apart_;
    }
    from_ += step_, steps_left_ -= kNarrowSlice;
  }
  __device__ void store(Slice& y) const {
#pragma unroll
    for (int u = 0; u < units; ++u)
      if (row_of(u) < few) y[row_of(u)][k()] = value(held_[u]);
  }

 private:
  static constexpr int units = (few * kNarrowSlice + kNarrowThreads - 1) / kNarrowThreads;
  static_assert(kNarrowThreads % kNarrowSlice == 0);
  __device__ static int row_of(int u) { return (static_cast<int>(threadIdx.x) + u * kNarrowThreads) / kNarrowSlice; }
  __device__ static int k() { return static_cast<int>(threadIdx.x) % kNarrowSlice; }

  const T* from_;
  Index apart_, step_;
  int steps_left_, rows_left_;
  T held_[units];
};

template <class T, int few, bool k_first>
__device__ void multiply_few(const typename FewCarrier<T, few>::Slice& x, const Square<T>& w, int k,
                             Computed<T> (&sums)[few * kUnit]) {
  using C = Computed<T>;
  C right[kUnit][kUnit];  // by step and row
#pragma unroll
  for (int i = 0; i < kUnit; ++i) {
    const Unit<T> unit = w.unit(i);
#pragma unroll
    for (int j = 0; j < kUnit; ++j) right[k_first ? j : i][k_first ? i : j] = value(unit.at[j]);
  }
#pragma unroll
  for (int r = 0; r < few; ++r) {
    const auto left = *reinterpret_cast<const Unit<C>*>(&x[r][k]);
#pragma unroll
    for (int step = 0; step < kUnit; ++step)
#pragma unroll
      for (int c = 0; c < kUnit; ++c) {
        C& sum = sums[r * kUnit + c];
        sum = fma(left.at[step], right[step][c], sum);
      }
  }
}

// Adds the numbers of lanes `from` apart, of those then half as far, until `to` apart. A lane keeps half of its numbers
// each time, as long as there are two: those from the one on that this returns.
template <int from, int to, int count, class C, int all>
__device__ int fold_lanes(C (&x)[all], int lane) {
  if constexpr (from < to) {
    return 0;
  } else {
    const bool is_upper = (lane & from) != 0;
    constexpr int left = count > 1 ? count / 2 : 1;
#pragma unroll
    for (int i = 0; i < left; ++i) {
      const C other = x[count > 1 ? i + left : i], give = is_upper ? x[i] : other, keep = is_upper ? other : x[i];
      x[i] = keep + __shfl_xor_sync(0xffffffff, give, from);
    }
    return (count > 1 && is_upper ? left : 0) + fold_lanes<from / 2, to, left>(x, lane);
  }
}

// Adds what the 32 groups have, pairs of groups 16 apart first, and writes it. Where k is first a warp has all groups
// of its four rows, else lane / 8 and the warp are the group's digits.
template <class C, int few, bool k_first, class Write>
__device__ void add_groups(C (&sums)[few * kUnit], C* shared, const Write& write) {
  constexpr int count = few * kUnit, lines = few * kNarrowWide, parts = k_first ? 1 : kNarrowThreads / kWarp;
  constexpr int apart = k_first ? 1 : 8, lanes = kWarp / apart;  // whose sums are added by exchange
  constexpr int left = count > lanes ? count / lanes : 1, same = count > lanes ? 1 : lanes / count;
  const int thread = static_cast<int>(threadIdx.x), lane = thread % kWarp, warp = thread / kWarp;
  const int first = fold_lanes<kWarp / 2, apart, count>(sums, lane);
  __syncthreads();  // everyone has done with what was in shared memory
  if (lane / apart % same == 0) {
    const int column = (k_first ? warp : lane % apart) * kUnit, part = k_first ? 0 : warp;
#pragma unroll
    for (int i = 0; i < left; ++i)
      shared[part * lines + (first + i) / kUnit * kNarrowWide + column + (first + i) % kUnit] = sums[i];
  }
  __syncthreads();
#pragma unroll 1
  for (int at = thread; at < lines; at += kNarrowThreads) {
    C all[parts];
#pragma unroll
    for (int part = 0; part < parts; ++part) all[part] = shared[part * lines + at];
#pragma unroll
    for (int by = parts / 2; by > 0; by /= 2)
#pragma unroll
      for (int part = 0; part < by; ++part) all[part] += all[part + by];
    write(at / kNarrowWide, at % kNarrowWide, all[0]);
  }
}

template <class T>
__device__ Matrix<T> chosen(bool first, const Matrix<T>& x, const Matrix<T>& y) {  // member by member: in registers
  return {first ? x.data : y.data,    first ? x.row_stride : y.row_stride, first ? x.k_stride : y.k_stride,
          first ? x.rows : y.rows,    first ? x.steps : y.steps,           first ? x.k_first : y.k_first,
          first ? x.vector : y.vector};
}

// `few_are_rows`: of c; else they are its columns.
template <class T, int few, bool k_first, int ahead, class Problem>
__global__ void __launch_bounds__(kNarrowThreads, 1)
    narrow_kernel(Problem problem, bool few_are_rows, Cut cut, Computed<T>* partial) {
  using C = Computed<T>;
  using Few = FewCarrier<T, few>;
  alignas(16) __shared__ typename Few::Slice slices[2];
  const int thread = static_cast<int>(threadIdx.x), lane = thread % kWarp, warp = thread / kWarp;
  const int group = k_first ? lane : lane / 8 * 8 + warp, four = k_first ? warp : lane % 8;
  const Index first = static_cast<Index>(blockIdx.x) * kNarrowWide;
  for (Index z = blockIdx.y; z < problem.count * cut.chunks; z += gridDim.y) {
    const Index item = quotient(z, cut.chunks), begin = (z - item * cut.chunks) * cut.size;
    const Index end = begin + cut.size < problem.steps ? begin + cut.size : problem.steps;
    const auto part = problem.part(item);
    WideReader<T, k_first> wide(chosen(few_are_rows, part.b, part.a), first + four * kUnit, begin + group * kUnit, end);
    Few narrow(chosen(few_are_rows, part.a, part.b), begin, end);
    C sums[few * kUnit] = {};
    Square<T> held[ahead] = {};  // on their way
#pragma unroll
    for (int i = 0; i < ahead; ++i) wide.load(held[i]);
    narrow.load();
    const int steps = static_cast<int>(ceil_div(end - begin, kNarrowSlice));
#pragma unroll 1
    for (int i = 0; i < steps; i += ahead) {
#pragma unroll
      for (int j = 0; j < ahead; ++j) {
        if (i + j >= steps) break;
        auto& slice = slices[(i + j) % 2];
        narrow.store(slice);
        __syncthreads();
        narrow.load();
        multiply_few<T, few, k_first>(slice, held[j], group * kUnit, sums);
        wide.load(held[j]);
      }
    }
    C* to = partial ? partial + z * problem.rows * problem.columns : nullptr;
    add_groups<C, few, k_first>(sums, &slices[0][0][0], [&](int r, int c, C sum) {
      const Index row = few_are_rows ? r : first + c, column = few_are_rows ? first + c : r;
      if (row >= problem.rows || column >= problem.columns) return;
      if (to) to[row * problem.columns + column] = sum;
      else part.store(part.line(row), column, sum);
    });
    __syncthreads();
  }
}

// Steps enough that it is reading that takes the time. Tensor cores of warpgroups are faster from three rows on.
template <class T>
bool is_narrow(Index rows, Index columns, Index steps) {
  const Index most = uses_warpgroups<T>() ? 2 : kNarrow<T>;
  return (rows < columns ? rows : columns) <= most && steps >= kNarrowSlice;
}
inline Cut narrow_cut(Index rows, Index columns, Index steps, Index count) {
  const Index blocks = ceil_div(rows < columns ? columns : rows, kNarrowWide) * count;
  Index chunks = blocks >= kBusyTiles || blocks == 0 ? 1 : kBusyTiles / blocks;
  if (chunks > steps / (4 * kNarrowSlice)) chunks = steps / (4 * kNarrowSlice);
  if (chunks > kMostChunks) chunks = kMostChunks;
  if (chunks <= 1) return {1, steps};
  const Index size = ceil_div(ceil_div(steps, chunks), kNarrowSlice) * kNarrowSlice;
  return {ceil_div(steps, size), size};
}

template <class T, int few, class Problem>
Status run_narrow(const Context& context, const Problem& problem, bool few_are_rows, const Cut& cut,
                  Computed<T>* partial) {
  constexpr int ahead = 16 / static_cast<int>(sizeof(T));  // of as many bytes
  const Index z = problem.count * cut.chunks, wide = few_are_rows ? problem.columns : problem.rows;
  const dim3 blocks(static_cast<unsigned>(ceil_div(wide, kNarrowWide)),
                    static_cast<unsigned>(z < kMostAlong ? z : kMostAlong));
  const bool k_first = few_are_rows ? problem.b.k_first : problem.a.k_first;
  return launch(context, blocks, dim3(kNarrowThreads),
                k_first ? narrow_kernel<T, few, true, ahead, Problem> : narrow_kernel<T, few, false, ahead, Problem>,
                problem, few_are_rows, cut, partial);
}
template <class T, class Problem>
Status run_narrow(const Context& context, const Problem& problem) {
  if (problem.count == 0 || problem.rows == 0 || problem.columns == 0) return Status::ok;
  const bool few_are_rows = problem.rows <= problem.columns;
  const Index few = few_are_rows ? problem.rows : problem.columns;
  const Cut cut = narrow_cut(problem.rows, problem.columns, problem.steps, problem.count);
  auto* partial = cut.chunks > 1 ? static_cast<Computed<T>*>(context.workspace) : nullptr;
  auto* run = few == 1 ? run_narrow<T, 1, Problem> : run_narrow<T, 8, Problem>;
  if constexpr (kNarrow<T> > 8)
    if (few > 8) run = run_narrow<T, kNarrow<T>, Problem>;
  const Status status = run(context, problem, few_are_rows, cut, partial);
  if (status != Status::ok || !partial) return status;
  return launch_items(context, problem.count * problem.rows * problem.columns, add_chunks<T, Problem>, problem,
                      cut.chunks, static_cast<const Computed<T>*>(partial));
}
template <class T>
std::size_t narrow_workspace(Index rows, Index columns, Index steps, Index count) {
  const Cut cut = narrow_cut(rows, columns, steps, count);
  return cut.chunks <= 1 ? 0 : static_cast<std::size_t>(cut.chunks * count * rows * columns) * sizeof(Computed<T>);
}

}  // namespace dd2424::cuda
