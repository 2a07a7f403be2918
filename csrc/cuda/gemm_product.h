#pragma once
#include "cuda/gemm_store.h"
#include "cuda/gemm_tensor.h"
#include "cuda/gemm_warpgroup.h"

// Runs a problem: some products of matrices, of one type, whose operands and results may lie anywhere. It says
//   static constexpr Limits limits
//   Index rows, columns, steps, count                 of each of its products; and how many there are
//   __device__ auto part(Index item)                  a product: its operands a and b, and where its results go, by
//   line(row), store(line, column, sum)               row and column; is_dense() where four neighbours of a line lie
//   result(line, column, sum)                         side by side and can be stored at once: these are what to store
// Where there are too few tiles to keep a GPU busy, steps are cut into chunks, whose sums stand in the workspace until
// a second pass adds them in their order. All is read off the sizes, so that results have the same bits on every GPU of
// a compute capability.
namespace dd2424::cuda {

struct Cut {
  Index chunks, size;  // of steps
};
constexpr Index kBusyTiles = 128;  // about one for each multiprocessor of the largest GPUs
constexpr Index kLeastChunk = 256, kLeastSimtChunk = 128, kMostChunks = 64;
constexpr Index kWholeSlices = 32;  // steps

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
  const Index size = ceil_div(ceil_div(steps, chunks), kWholeSlices) * kWholeSlices;
  return {ceil_div(steps, size), size};
}

// A main loop, by the rows and columns of its tile.
enum class Loop : std::uint8_t {
  simt_64,
  simt_128_64,
  simt_128,
  tensor_64,
  tensor_128,
  group_128_64,
  group_128,
  group_128_256,
  group_256_128
};
struct Plan {
  Loop loop;
  Cut cut;
  Index row_tiles, column_tiles;
};
inline bool is_of_warpgroups(const Plan& plan) { return plan.loop >= Loop::group_128_64; }
template <class T>
int unit_of() {  // of operands of products
  return uses_tensor_cores<T>() ? kChunk<T> : kUnit;
}
// What tiles cost on a GPU of 132 multiprocessors, in any unit of time: a slice of a tile where each multiprocessor has
// one at most, and where some have more.
struct Tile {
  Loop loop;
  Index rows, columns;
  double alone, shared;
};
struct Costs {
  Index slice;                     // steps
  Index whole, least;              // chunks have multiples of so many steps, and at least so many
  double once, tile, second_pass;  // whatever the sizes; for each turn of tiles; where there are chunks
  double bytes;                    // that a second pass reads and writes in a unit of time
  Index enough;                    // tiles and chunks: more cuts are not tried
};
constexpr Index kMultiprocessors = 132;

// The cheapest tile and cut.
template <int tiles>
Plan cheapest(const Tile (&all)[tiles], const Costs& costs, Index rows, Index columns, Index steps, Index count,
              Index longest) {
  const Index most = steps / costs.least < kMostChunks ? steps / costs.least : kMostChunks;
  Plan best{};
  double lowest = 1e300;
  for (const Tile& tile : all) {
    Plan plan{
        .loop = tile.loop, .row_tiles = ceil_div(rows, tile.rows), .column_tiles = ceil_div(columns, tile.columns)};
    for (Index chunks = 1; chunks == 1 || chunks <= most; ++chunks) {
      if (chunks < ceil_div(steps, longest) && chunks < most) continue;
      const Index size = ceil_div(ceil_div(steps, chunks), costs.whole) * costs.whole;
      plan.cut = chunks > 1 ? Cut{ceil_div(steps, size), size} : Cut{1, steps};
      const Index pieces = plan.row_tiles * plan.column_tiles * count * plan.cut.chunks;
      const double turns = static_cast<double>(ceil_div(pieces, kMultiprocessors));
      const double slices = static_cast<double>(ceil_div(plan.cut.size, costs.slice));
      double time = costs.once + turns * (costs.tile + (turns == 1 ? tile.alone : tile.shared) * slices);
      if (plan.cut.chunks > 1)
        time += costs.second_pass + static_cast<double>(plan.cut.chunks * rows * columns * count * 8) / costs.bytes;
      if (time < lowest) lowest = time, best = plan;
      if (pieces >= costs.enough && longest >= plan.cut.size) break;
    }
  }
  return best;
}
// Of float32, in microseconds by what was measured on an H100.
inline Plan simt_plan(Index rows, Index columns, Index steps, Index count, const Limits& limits) {
  constexpr Tile tiles[] = {{Loop::simt_128, 128, 128, 0.115, 0.095},
                            {Loop::simt_128_64, 128, 64, 0.07, 0.056},
                            {Loop::simt_64, 64, 64, 0.04, 0.035}};
  constexpr Costs costs{.slice = 1,
                        .whole = kWholeSlices,
                        .least = kLeastSimtChunk,
                        .once = 3,
                        .tile = 0,
                        .second_pass = 2,
                        .bytes = 2.5e6,
                        .enough = kMultiprocessors + 1};
  return cheapest(tiles, costs, rows, columns, steps, count, limits.longest);
}
template <class T>
bool uses_warpgroups() {
  return kHasWarpgroups && kIsForTensorCores<T> && compute_capability() == 90;
}
// In times of a slice of 128 by 256 sums: a block of warpgroups has its multiprocessor for itself.
template <class T>
Plan warpgroup_plan(Index rows, Index columns, Index steps, Index count, const Limits& limits) {
  constexpr Tile tiles[] = {{Loop::group_128_256, 128, 256, 1, 1},
                            {Loop::group_256_128, 256, 128, 1, 1},
                            {Loop::group_128, 128, 128, 0.6, 0.6},
                            {Loop::group_128_64, 128, 64, 0.42, 0.42}};
  constexpr Costs costs{.slice = kGroupSlice<T>,
                        .whole = kGroupSlice<T>,
                        .least = kLeastChunk,
                        .once = 0,
                        .tile = 4,
                        .second_pass = 4,
                        .bytes = 2e6,
                        .enough = 2 * kMultiprocessors};
  return cheapest(tiles, costs, rows, columns, steps, count, limits.longest);
}
template <class T>
Plan plan_of(Index rows, Index columns, Index steps, Index count, const Limits& limits) {
  const auto has = [&](Index r, Index c) {  // tiles enough, and not half empty
    return rows > r / 2 && columns > c / 2 && ceil_div(rows, r) * ceil_div(columns, c) * count >= kBusyTiles;
  };
  if (kIsShort<T> && uses_warpgroups<T>()) return warpgroup_plan<T>(rows, columns, steps, count, limits);
  if (std::is_same_v<T, float> && limits.widest == 128) return simt_plan(rows, columns, steps, count, limits);
  Plan plan{.loop = Loop::simt_64};
  if (uses_tensor_cores<T>()) {
    plan.loop = has(128, 128) ? Loop::tensor_128 : Loop::tensor_64;
  } else if (std::is_same_v<T, float>) {
    if (has(128, 64)) plan.loop = Loop::simt_128_64;
  }
  const bool wide = plan.loop == Loop::tensor_128;
  const bool tall = wide || plan.loop == Loop::simt_128_64;
  plan.row_tiles = ceil_div(rows, tall ? 128 : 64), plan.column_tiles = ceil_div(columns, wide ? 128 : 64);
  plan.cut = cut_of(plan.row_tiles * plan.column_tiles * count, steps, limits.longest);
  return plan;
}

constexpr Index kMostAlong = 65535;  // blocks along y and z

// Tiles in their order: down a band of some rows of tiles, column by column, so that those that are made at a time
// share what they read of a and of b.
struct Tiles {
  unsigned down, across, band = 8;
};
struct TilePlace {
  Index row, column;
};
__device__ inline TilePlace tile_place(const Tiles& tiles, unsigned number) {
  const unsigned all = tiles.band * tiles.across, first = number / all * tiles.band, inside = number % all;
  const unsigned left = tiles.down - first, height = left < tiles.band ? left : tiles.band;
  return {first + inside % height, inside / height};
}

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
  const TilePlace place = tile_place(tiles, blockIdx.x);
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

// A tile of one of the products, over a chunk of its steps.
struct GroupWork {
  Index z, item, row, column, begin;
  int slices;
};
// Blocks stay: each makes tile after tile, and its producers are ahead of what its consumers store.
template <class Main, class Problem, class F>
__device__ void for_each_work(const Problem& problem, const Tiles& tiles, const Cut& cut, const F& f) {
  const Index all = Index{tiles.down} * tiles.across;
#pragma unroll 1
  for (Index w = blockIdx.x; w < all * problem.count * cut.chunks; w += gridDim.x) {
    const Index z = quotient(w, all), item = quotient(z, cut.chunks), begin = (z - item * cut.chunks) * cut.size;
    const TilePlace place = tile_place(tiles, static_cast<unsigned>(w - z * all));
    const Index end = begin + cut.size < problem.steps ? begin + cut.size : problem.steps;
    f(GroupWork{z, item, place.row * Main::rows, place.column * Main::columns, begin,
                static_cast<int>((end - begin + Main::slice - 1) / Main::slice)});
  }
}

template <class Main, class Problem>
__global__ void __launch_bounds__(Main::threads, 1)
    warpgroup_kernel(const __grid_constant__ Problem problem, Tiles tiles, Cut cut, float* partial) {
  constexpr bool is_boxed = kIsBoxed<Problem>;
  std::byte* const memory = first_block(asked_shared());
  auto* const full = reinterpret_cast<Barrier*>(memory + Main::ring_bytes);
  auto *const empty = full + Main::stages, *const meeting = empty + Main::stages;
  typename Main::Ring ring{.slices = memory, .full = full, .empty = empty, .meeting = meeting};
  if (threadIdx.x == 0) {
    for (int i = 0; i < Main::stages; ++i) {
      start_barrier(full[i], is_boxed ? 1 : kWarpgroup / kWarp);
      start_barrier(empty[i], Main::consumers * kWarpgroup / kWarp);
    }
    start_barrier(*meeting, kWarpgroup);
    show_barriers();
  }
  __syncthreads();
  if (threadIdx.x < kWarpgroup) {
    if constexpr (Main::rows * Main::columns == 1 << 15) give_registers<is_boxed ? 40 : 88>();
    const auto carry = [&](const GroupWork& work) {
      if constexpr (is_boxed) {
        Main::carry_boxes(problem, work.item, work.row, work.column, work.begin, work.slices, ring);
      } else {
        const auto part = problem.part(work.item);
        Main::carry(part.a, part.b, work.row, work.column, work.begin, work.slices, ring);
      }
    };
    if (!is_boxed || threadIdx.x == 0) for_each_work<Main>(problem, tiles, cut, carry);  // one starts all boxes
  } else {
    if constexpr (Main::rows * Main::columns == 1 << 15) take_registers<is_boxed ? 232 : 208>();
    for_each_work<Main>(problem, tiles, cut, [&](const GroupWork& work) {
      typename Main::Sums sums = {};
      Main::multiply(problem.a.k_first, problem.b.k_first, work.slices, ring, sums);
      const auto part = problem.part(work.item);
#pragma unroll
      for (int block = 0; block < Main::high; ++block) {
        const Index r = work.row + Main::row_of(block);
        if (partial)
          store_partial(partial + work.z * problem.rows * problem.columns, problem.rows, problem.columns, r,
                        work.column, sums[block]);
        else if constexpr (std::is_same_v<typename std::decay_t<decltype(part)>::Element, float>)
          store_partial(part.line(0), problem.rows, problem.columns, r, work.column, sums[block]);
        else if constexpr (kIsShort<typename std::decay_t<decltype(part)>::Element>)
          store_block(part, problem.rows, r, work.column, sums[block]);
        else store_pairs(part, problem.rows, r, work.column, sums[block]);
      }
    });
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

template <class T, class Main, class Problem>
Status launch_warpgroups(const Context& context, const Problem& problem, const Plan& plan) {
  constexpr Index most = (Index{1} << 31) - 1;
  if (plan.row_tiles > most / plan.column_tiles) return Status::unsupported;
  const Tiles tiles{static_cast<unsigned>(plan.row_tiles), static_cast<unsigned>(plan.column_tiles),
                    Main::columns > Main::rows ? 16u : 8u};
  auto* partial = plan.cut.chunks > 1 ? static_cast<float*>(context.workspace) : nullptr;
  const Index all = plan.row_tiles * plan.column_tiles * problem.count * plan.cut.chunks;
  const Index at_once = device_attribute(cudaDevAttrMultiProcessorCount);
  const dim3 blocks(static_cast<unsigned>(all < at_once ? all : at_once));
  const Status status = launch_asking(context, blocks, dim3(Main::threads), Main::shared_bytes, false,
                                      warpgroup_kernel<Main, Problem>, problem, tiles, plan.cut, partial);
  if (status != Status::ok || !partial) return status;
  return launch_items(context, problem.count * problem.rows * problem.columns, add_chunks<T, Problem>, problem,
                      plan.cut.chunks, static_cast<const float*>(partial));
}

template <class T, class Problem>
Status run_warpgroups(const Context& context, const Problem& problem, const Plan& plan) {
  switch (plan.loop) {
    case Loop::group_128_256: return launch_warpgroups<T, WarpgroupLoop<T, 128, 256>>(context, problem, plan);
    case Loop::group_256_128: return launch_warpgroups<T, WarpgroupLoop<T, 256, 128>>(context, problem, plan);
    case Loop::group_128: return launch_warpgroups<T, WarpgroupLoop<T, 128, 128>>(context, problem, plan);
    default: return launch_warpgroups<T, WarpgroupLoop<T, 128, 64>>(context, problem, plan);
  }
}

template <class T>
std::size_t plan_workspace(const Plan& plan, Index rows, Index columns, Index count) {
  if (plan.cut.chunks <= 1) return 0;
  return static_cast<std::size_t>(plan.cut.chunks * count * rows * columns) * sizeof(Computed<T>);
}
template <class T>
std::size_t product_workspace(Index rows, Index columns, Index steps, Index count, const Limits& limits) {
  return plan_workspace<T>(plan_of<T>(rows, columns, steps, count, limits), rows, columns, count);
}

template <class T, class Problem>
Status run_product(const Context& context, const Problem& problem) {
  if (problem.rows == 0 || problem.columns == 0 || problem.count == 0) return Status::ok;
  const Plan plan = plan_of<T>(problem.rows, problem.columns, problem.steps, problem.count, Problem::limits);
  if constexpr (kIsForTensorCores<T>) {
    if constexpr (kIsShort<T>)
      if (is_of_warpgroups(plan)) return run_warpgroups<T>(context, problem, plan);
    if (plan.loop == Loop::tensor_128) return run_plan<T, TensorLoop<T, 128, 128>>(context, problem, plan);
    if (plan.loop == Loop::tensor_64) return run_plan<T, TensorLoop<T, 64, 64>>(context, problem, plan);
  }
  if constexpr (std::is_same_v<T, float>) {
    if constexpr (Problem::limits.widest == 128)
      if (plan.loop == Loop::simt_128) return run_plan<T, SimtLoop<T, 128, 128, 16>>(context, problem, plan);
    if (plan.loop == Loop::simt_128_64) return run_plan<T, SimtLoop<T, 128, 64, 16>>(context, problem, plan);
  }
  if constexpr (std::is_same_v<T, tfloat32>) return Status::unsupported;  // nobody asks where there are no tensor cores
  else return run_plan<T, SimtLoop<T, 64, 64, 16>>(context, problem, plan);
}

}  // namespace dd2424::cuda
