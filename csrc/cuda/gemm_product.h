#pragma once
#include "cuda/gemm_tensor.h"

// Runs a problem: some products of matrices, of one type, whose operands and results may lie anywhere. It says
//   static constexpr Limits limits
//   Index rows, columns, steps, count                 of each of its products; and how many there are
//   __device__ auto part(Index item)                  a product: its operands a and b, and where its results go, by
//   line(row), store(line, column, sum)               row and column; is_dense() where four neighbours of a line lie
//   result(line, column, sum)                         side by side and can be stored at once: these are what to store
// Where there are too few tiles to keep a GPU busy, steps are cut into chunks, whose sums stand in the workspace until
// a second pass adds them in their order. All is read off the sizes, so that results have the same bits on every GPU.
namespace dd2424::cuda {

struct Cut {
  Index chunks, size;  // of steps
};
constexpr Index kBusyTiles = 128;  // about one for each multiprocessor of the largest GPUs
constexpr Index kLeastChunk = 256, kMostChunks = 64;

struct Limits {
  Index longest = Index{1} << 62;  // steps whose sum may be one chain
  Index widest = 128;              // columns of a tile without tensor cores
};
inline Cut cut_of(Index tiles, Index steps, Index longest = Limits{}.longest) {
  Index chunks = tiles >= kBusyTiles ? 1 : ceil_div(2 * kBusyTiles, tiles > 0 ? tiles : 1);
  if (chunks < ceil_div(steps, longest)) chunks = ceil_div(steps, longest);
  if (chunks > steps / kLeastChunk) chunks = steps / kLeastChunk;
  if (chunks > kMostChunks) chunks = kMostChunks;
  if (chunks <= 1) return {1, steps};
  const Index size = ceil_div(ceil_div(steps, chunks), kTensorSlice) * kTensorSlice;  // whole slices
  return {ceil_div(steps, size), size};
}

// A main loop, by the rows and columns of its tile.
enum class Loop : std::uint8_t { simt_64, simt_128_64, simt_128, tensor_64, tensor_128 };
struct Plan {
  Loop loop;
  Cut cut;
  Index row_tiles, column_tiles;
};
template <class T>
int unit_of() {  // of operands of products
  return uses_tensor_cores<T>() ? kChunk : kUnit;
}
template <class T>
Plan plan_of(Index rows, Index columns, Index steps, Index count, const Limits& limits) {
  const auto has = [&](Index r, Index c) {  // tiles enough, and not half empty
    return rows > r / 2 && columns > c / 2 && ceil_div(rows, r) * ceil_div(columns, c) * count >= kBusyTiles;
  };
  Plan plan{.loop = Loop::simt_64};
  if (uses_tensor_cores<T>()) {
    plan.loop = has(128, 128) ? Loop::tensor_128 : Loop::tensor_64;
  } else if (std::is_same_v<T, float>) {
    if (has(128, 128) && limits.widest == 128) plan.loop = Loop::simt_128;
    else if (has(128, 64)) plan.loop = Loop::simt_128_64;
  }
  const bool wide = plan.loop == Loop::simt_128 || plan.loop == Loop::tensor_128;
  const bool tall = wide || plan.loop == Loop::simt_128_64;
  plan.row_tiles = ceil_div(rows, tall ? 128 : 64), plan.column_tiles = ceil_div(columns, wide ? 128 : 64);
  plan.cut = cut_of(plan.row_tiles * plan.column_tiles * count, steps, limits.longest);
  return plan;
}

constexpr Index kMostAlong = 65535;  // blocks along y and z

// Tiles in the order of blocks: down a band of eight rows of tiles, column by column, so that those that are made at a
// time share what they read of a and of b.
struct Tiles {
  unsigned down, across;
};
struct TilePlace {
  Index row, column;
};
__device__ inline TilePlace tile_place(const Tiles& tiles) {
  constexpr unsigned kBand = 8;
  const unsigned band = kBand * tiles.across, first = blockIdx.x / band * kBand, inside = blockIdx.x % band;
  const unsigned left = tiles.down - first, height = left < kBand ? left : kBand;
  return {first + inside % height, inside / height};
}

template <class T, int count>
struct alignas(sizeof(T) * count < 16 ? sizeof(T) * count : 16) Run {
  T at[count];
};

template <class Main, class Part, class C>
__device__ void store_row(const Part& part, C* partial, Index r, Index column, const C (&sums)[Main::across]) {
  using T = typename Part::Element;
  const auto line = part.line(r);
#pragma unroll
  for (int j = 0; j < Main::across; j += Main::run) {
    const Index c = column + Main::column_of(j);
    if (part.is_dense() && c + Main::run <= part.columns) {
      if (partial) {
        Run<C, Main::run> y;
#pragma unroll
        for (int i = 0; i < Main::run; ++i) y.at[i] = sums[j + i];
        *reinterpret_cast<Run<C, Main::run>*>(partial + c) = y;
      } else {
        Run<T, Main::run> y;
#pragma unroll
        for (int i = 0; i < Main::run; ++i) y.at[i] = part.result(line, c + i, sums[j + i]);
        *reinterpret_cast<Run<T, Main::run>*>(line + c) = y;
      }
      continue;
    }
#pragma unroll
    for (int i = 0; i < Main::run; ++i) {
      if (c + i >= part.columns) continue;
      if (partial) partial[c + i] = sums[j + i];
      else part.store(line, c + i, sums[j + i]);
    }
  }
}

template <class Main, class Problem>
__global__ void __launch_bounds__(Main::threads, Main::blocks)
    product_kernel(Problem problem, Tiles tiles, Cut cut, typename Main::Sum* partial) {
  const TilePlace place = tile_place(tiles);
  const Index row = place.row * Main::rows, column = place.column * Main::columns;
  for (Index z = blockIdx.y; z < problem.count * cut.chunks; z += gridDim.y) {
    const Index item = quotient(z, cut.chunks), begin = (z - item * cut.chunks) * cut.size;
    const auto part = problem.part(item);
    const Index end = begin + cut.size < problem.steps ? begin + cut.size : problem.steps;
    typename Main::Sum sums[Main::down][Main::across] = {};
    Main::multiply(part.a, part.b, row, column, begin, end, sums);
    typename Main::Sum* lines = partial ? partial + z * problem.rows * problem.columns : nullptr;
#pragma unroll 1
    for (int i = 0; i < Main::down; ++i) {  // what is written once serves every row: each moves up to be the first
      const Index r = row + Main::row_of(i);
      if (r < problem.rows) store_row<Main>(part, lines ? lines + r * problem.columns : nullptr, r, column, sums[0]);
#pragma unroll
      for (int next = 1; next < Main::down; ++next)
#pragma unroll
        for (int j = 0; j < Main::across; ++j) sums[next - 1][j] = sums[next][j];
    }
  }
}

template <class T, class Problem>
__global__ void add_chunks(Problem problem, Index chunks, const Computed<T>* partial) {
  const Index size = problem.rows * problem.columns;
  for_each_item(problem.count * size, [&](Index i) {
    const Index item = quotient(i, size), place = i - item * size;
    const Index r = quotient(place, problem.columns), c = place - r * problem.columns;
    const auto part = problem.part(item);
    Computed<T> sum = 0;
    for (Index chunk = 0; chunk < chunks; ++chunk) sum += partial[(item * chunks + chunk) * size + place];
    part.store(part.line(r), c, sum);
  });
}

template <class T, class Main, class Problem>
Status run_plan(const Context& context, const Problem& problem, const Plan& plan) {
  const Index z = problem.count * plan.cut.chunks;
  constexpr Index most = (Index{1} << 31) - 1;  // blocks along x
  if (plan.row_tiles > most / plan.column_tiles) return Status::unsupported;
  const Tiles tiles{static_cast<unsigned>(plan.row_tiles), static_cast<unsigned>(plan.column_tiles)};
  auto* partial = plan.cut.chunks > 1 ? static_cast<Computed<T>*>(context.workspace) : nullptr;
  const dim3 blocks(tiles.down * tiles.across, static_cast<unsigned>(z < kMostAlong ? z : kMostAlong));
  const Status status = launch_asking(context, blocks, dim3(Main::threads), Main::shared_bytes, false,
                                      product_kernel<Main, Problem>, problem, tiles, plan.cut, partial);
  if (status != Status::ok || !partial) return status;
  return launch_items(context, problem.count * problem.rows * problem.columns, add_chunks<T, Problem>, problem,
                      plan.cut.chunks, static_cast<const Computed<T>*>(partial));
}

template <class T>
std::size_t product_workspace(Index rows, Index columns, Index steps, Index count, const Limits& limits) {
  const Plan plan = plan_of<T>(rows, columns, steps, count, limits);
  if (plan.cut.chunks <= 1) return 0;
  return static_cast<std::size_t>(plan.cut.chunks * count * rows * columns) * sizeof(Computed<T>);
}

template <class T, class Problem>
Status run_product(const Context& context, const Problem& problem) {
  if (problem.rows == 0 || problem.columns == 0 || problem.count == 0) return Status::ok;
  const Plan plan = plan_of<T>(problem.rows, problem.columns, problem.steps, problem.count, Problem::limits);
  if constexpr (std::is_same_v<T, bfloat16>) {
    if (plan.loop == Loop::tensor_128) return run_plan<T, TensorLoop<128, 128>>(context, problem, plan);
    if (plan.loop == Loop::tensor_64) return run_plan<T, TensorLoop<64, 64>>(context, problem, plan);
  }
  if constexpr (std::is_same_v<T, float>) {
    if constexpr (Problem::limits.widest == 128)
      if (plan.loop == Loop::simt_128) return run_plan<T, SimtLoop<T, 128, 128, 8>>(context, problem, plan);
    if (plan.loop == Loop::simt_128_64) return run_plan<T, SimtLoop<T, 128, 64, 16>>(context, problem, plan);
  }
  return run_plan<T, SimtLoop<T, 64, 64, 16>>(context, problem, plan);
}

}  // namespace dd2424::cuda
