#include "cuda/reduce_scan.h"

#include "cuda/reduce_walk.h"
#include "cuda/value.h"

// A line is scanned tile by tile: threads scan what they have, warps and the block what their threads have, and the
// block carries its total on. Where there are few lines they are cut into chunks, of which each starts from the last
// element of the one before: those are written first, and then left alone. All order is read off the sizes.
namespace dd2424::cuda {
namespace {

enum class Part { all, totals, rest };  // of what is written: the chunks' last elements, or all the others
template <class T>
struct Lines {  // element i of line (o, c) stands at o * outer_step + i * step + c
  const T* x;
  T* y;
  Index outer, outer_step, n, step, inner;
  Index size, chunks;
  Part part;
};
struct Range {
  Index begin, end, written;
};
template <class T>
__device__ inline Range range_of(const Lines<T>& a, Index chunk) {
  const Index begin = chunk * a.size, left = a.n - begin, end = begin + (left < a.size ? left : a.size);
  if (a.part == Part::totals) return {begin, end, begin};
  return {begin, end, end - (a.part == Part::rest && chunk + 1 < a.chunks)};
}

template <class State>
__device__ inline State from_lane(const State& mine, int lane) {
  std::uint32_t words[(sizeof(State) + 3) / 4] = {};
  memcpy(words, &mine, sizeof mine);
#pragma unroll
  for (std::uint32_t& word : words) word = __shfl_sync(0xffffffff, word, lane);
  State other;
  memcpy(&other, words, sizeof other);
  return other;
}

template <class T, bool is_product>
struct Joined {
  using C = Computed<T>;
  static constexpr int W = kFoldWidth<T>;
  __device__ static C start() { return C(is_product); }
  __device__ static C join(C x, C y) { return static_cast<C>(is_product ? x * y : x + y); }

  // W neighbours, of which those from `count` on are beyond the end.
  __device__ static void load(C (&values)[W], const T* x, Index step, Index count, bool wide) {
    if (wide && count >= W) {
      const Pack<T, W> pack = *reinterpret_cast<const Pack<T, W>*>(x);
#pragma unroll
      for (int w = 0; w < W; ++w) values[w] = value(pack.of[w]);
    } else {
#pragma unroll
      for (int w = 0; w < W; ++w) values[w] = w < count ? value(x[w * step]) : start();
    }
  }
  __device__ static void store(T* y, const C (&values)[W], Index step, Index count, bool wide) {
    if (wide && count >= W) {
      Pack<T, W> pack;
#pragma unroll
      for (int w = 0; w < W; ++w) pack.of[w] = element<T>(values[w]);
      *reinterpret_cast<Pack<T, W>*>(y) = pack;
    } else {
#pragma unroll
      for (int w = 0; w < W; ++w)
        if (w < count) y[w * step] = element<T>(values[w]);
    }
  }

  // What `lanes` of a warp have, strip after strip, each of W neighbours a lane: scans the neighbours, says what the
  // warp has before them, and returns what it has in all.
  template <int strips>
  __device__ static C scan_strips(C (&values)[strips][W], C (&before)[strips], int lanes) {
    const int thread = static_cast<int>(threadIdx.x), lane = thread & (lanes - 1);
    C of_warp = start();
#pragma unroll
    for (int k = 0; k < strips; ++k) {
#pragma unroll
      for (int w = 1; w < W; ++w) values[k][w] = join(values[k][w - 1], values[k][w]);
      C sum = values[k][W - 1];
      for (int step = 1; step < lanes; step *= 2) {
        const C below = from_lane(sum, (thread - step) & (kWarp - 1));
        if (lane >= step) sum = join(below, sum);
      }
      const C below = from_lane(sum, (thread - 1) & (kWarp - 1));
      before[k] = lane > 0 ? join(of_warp, below) : of_warp;
      of_warp = join(of_warp, from_lane(sum, (thread & (kWarp - 1)) | (lanes - 1)));
    }
    return of_warp;
  }
  // The same of W lines side by side, of which a lane has `rows` neighbours and the lane `side` further up the next.
  template <int rows>
  __device__ static void scan_side(C (&values)[rows][W], C (&before)[W], int side, C* of_warp) {
    const int lane = static_cast<int>(threadIdx.x) % kWarp;
#pragma unroll
    for (int w = 0; w < W; ++w) {
#pragma unroll
      for (int r = 1; r < rows; ++r) values[r][w] = join(values[r - 1][w], values[r][w]);
      C sum = values[rows - 1][w];
      for (int step = side; step < kWarp; step *= 2) {
        const C below = from_lane(sum, (lane - step) & (kWarp - 1));
        if (lane >= step) sum = join(below, sum);
      }
      const C below = from_lane(sum, (lane - side) & (kWarp - 1));
      before[w] = lane >= side ? below : start();
      if (lane >= kWarp - side) of_warp[w] = sum;
    }
  }
};

// Lines whose elements are `step` apart and have no neighbours. `lanes` of a warp have kPacks strips of a line, or all
// warps of the block have.
constexpr int kPacks = 4, kWarps = kThreads / kWarp;
template <class T, bool is_product>
__global__ void __launch_bounds__(kThreads) scan_rows(Lines<T> a, int lanes, int warps, bool wide) {
  using J = Joined<T, is_product>;
  using C = typename J::C;
  constexpr int W = J::W;
  __shared__ C totals[2][kWarps];
  const int thread = static_cast<int>(threadIdx.x), warp = warps == 1 ? 0 : thread / kWarp;
  const int lane = thread & (lanes - 1);
  const Index line = quotient(static_cast<Index>(blockIdx.x) * kThreads + thread, lanes * warps);
  const Index chunk = quotient(line, a.outer), offset = (line - chunk * a.outer) * a.outer_step;
  const Range range = chunk < a.chunks ? range_of(a, chunk) : Range{0, 0, 0};
  const Index strip = lanes * W;
  C carry = a.part == Part::rest && chunk > 0 ? value(a.y[offset + (range.begin - 1) * a.step]) : J::start();
  int buffer = 0;
  for (Index tile = range.begin; tile == range.begin || tile < range.end; tile += strip * kPacks * warps, buffer ^= 1) {
    const Index first = tile + warp * strip * kPacks + lane * W;
    C values[kPacks][W], before[kPacks];
#pragma unroll
    for (int k = 0; k < kPacks; ++k) {
      const Index i = first + k * strip;
      J::load(values[k], a.x + offset + i * a.step, a.step, range.end - i, wide);
    }
    const C of_warp = J::scan_strips(values, before, lanes);
    C mine = carry;
    if (warps > 1) {
      if (lane == 0) totals[buffer][warp] = of_warp;
      __syncthreads();
#pragma unroll
      for (int other = 0; other < kWarps; ++other) {
        if (other == warp) mine = carry;
        carry = J::join(carry, totals[buffer][other]);
      }
    }
#pragma unroll
    for (int k = 0; k < kPacks; ++k) {
      const Index i = first + k * strip;
      before[k] = J::join(mine, before[k]);
#pragma unroll
      for (int w = 0; w < W; ++w) values[k][w] = J::join(before[k], values[k][w]);
      J::store(a.y + offset + i * a.step, values[k], a.step, range.written - i, wide);
    }
  }
  if (a.part == Part::totals && thread == 0) a.y[offset + (range.end - 1) * a.step] = element<T>(carry);
}

// Lines side by side: a thread has kRows neighbouring elements of W lines, `side` threads stand side by side.
constexpr int kMostSide = 8;
template <class T, bool is_product>
__global__ void __launch_bounds__(kFoldMost) scan_columns(Lines<T> a, int side, Index across, bool wide) {
  using J = Joined<T, is_product>;
  using C = typename J::C;
  constexpr int W = J::W, kRows = W == 8 ? 2 : 4;
  __shared__ C totals[2][kFoldMost / kWarp][kMostSide * W];
  const int thread = static_cast<int>(threadIdx.x), warp = thread / kWarp;
  const int warps = static_cast<int>(blockDim.x) / kWarp, column = thread & (side - 1);
  const Index line = quotient(blockIdx.x, across), chunk = quotient(line, a.outer);
  const Index block_column = (blockIdx.x - line * across) * side * W, left = a.inner - block_column - column * W;
  const Index offset = (line - chunk * a.outer) * a.outer_step + block_column;
  const Range range = range_of(a, chunk);
  const bool carries = thread < side * W && block_column + thread < a.inner;
  C carry = J::start();
  if (carries && a.part == Part::rest && chunk > 0) carry = value(a.y[offset + (range.begin - 1) * a.step + thread]);
  int buffer = 0;
  const int rows = static_cast<int>(blockDim.x) / side * kRows;
  const Index within = offset + column * W;
  C ahead[kRows][W];  // of the next tile, so that reading goes on meanwhile
  const auto read = [&](Index first) {
#pragma unroll
    for (int r = 0; r < kRows; ++r)
      J::load(ahead[r], a.x + within + (first + r) * a.step, 1, first + r < range.end ? left : 0, wide);
  };
  read(range.begin + thread / side * kRows);
  for (Index tile = range.begin; tile < range.end; tile += rows, buffer ^= 1) {
    const Index first = tile + thread / side * kRows;
    C values[kRows][W], before[W];
#pragma unroll
    for (int r = 0; r < kRows; ++r)
#pragma unroll
      for (int w = 0; w < W; ++w) values[r][w] = ahead[r][w];
    read(first + rows);
    J::scan_side(values, before, side, &totals[buffer][warp][column * W]);
    __syncthreads();
    if (thread < side * W)
#pragma unroll 8
      for (int other = 0; other < warps; ++other) {
        const C total = totals[buffer][other][thread];
        totals[buffer][other][thread] = carry;
        carry = J::join(carry, total);
      }
    __syncthreads();
#pragma unroll
    for (int w = 0; w < W; ++w) before[w] = J::join(totals[buffer][warp][column * W + w], before[w]);
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
#pragma unroll
      for (int w = 0; w < W; ++w) values[r][w] = J::join(before[w], values[r][w]);
      J::store(a.y + within + (first + r) * a.step, values[r], 1, first + r < range.written ? left : 0, wide);
    }
  }
  if (carries && a.part == Part::totals) a.y[offset + (range.end - 1) * a.step + thread] = element<T>(carry);
}

struct Shape {  // of the blocks
  int threads, lanes, warps, side;
  Index across, tile, lines;  // elements of a tile; blocks for one chunk
};
template <class T>
Shape shape_of(const Lines<T>& a) {
  constexpr int W = kFoldWidth<T>;
  Shape shape{.threads = kThreads, .lanes = kWarp, .warps = kWarps, .side = 1, .across = 1};
  if (a.inner == 1) {
    if (a.n <= kWarp * W * kPacks) shape.warps = 1, shape.lanes = power_of_two(pieces(a.n, W), kWarp);
    shape.tile = shape.lanes * shape.warps * W * kPacks;
    shape.lines = pieces(a.outer * shape.lanes * shape.warps, kThreads);
    return shape;
  }
  const Index packs = pieces(a.inner, W);
  shape.side = power_of_two(packs, kMostSide);
  shape.across = pieces(packs, shape.side);
  shape.lines = a.outer * shape.across;
  if (shape.lines < 2 * kFoldBusy && a.n > 128) shape.threads = kFoldMost;
  shape.tile = shape.threads / shape.side * (W == 8 ? 2 : 4);
  return shape;
}

template <class T, bool is_product>
Status scan_lines(const Context& context, const Lines<T>& a, const Shape& shape) {
  constexpr int W = kFoldWidth<T>;
  const bool is_row = a.inner == 1, aligned = are_aligned({a.x, a.y}) && a.outer_step % W == 0;
  const dim3 blocks(static_cast<unsigned>(shape.lines * a.chunks)), threads(static_cast<unsigned>(shape.threads));
  if (is_row)
    return launch(context, blocks, threads, scan_rows<T, is_product>, a, shape.lanes, shape.warps,
                  aligned && a.step == 1);
  return launch(context, blocks, threads, scan_columns<T, is_product>, a, shape.side, shape.across,
                aligned && a.step % W == 0);
}

template <class T, bool is_product>
Status scan(const Context& context, const Scan<T>& a) {
  Lines<T> lines{.x = a.x,
                 .y = a.y,
                 .outer = a.outer,
                 .outer_step = a.n * a.inner,
                 .n = a.n,
                 .step = a.inner,
                 .inner = a.inner,
                 .size = a.n,
                 .chunks = 1,
                 .part = Part::all};
  const Shape shape = shape_of(lines);
  const Index most = a.n / (2 * shape.tile), wanted = kFoldBusy / shape.lines;
  const bool is_exact = std::is_same_v<T, Computed<T>>;  // a chunk's last element is what the next one starts from
  if (!is_exact || shape.lines > kFoldBusy / 8 || most < 2) return scan_lines<T, is_product>(context, lines, shape);
  lines.size = pieces(pieces(a.n, wanted < most ? wanted : most), shape.tile) * shape.tile;
  lines.chunks = pieces(a.n, lines.size);
  lines.part = Part::totals;
  Status status = scan_lines<T, is_product>(context, lines, shape);
  Lines<T> lasts = lines;
  lasts.x = lasts.y = a.y + (lines.size - 1) * a.inner;
  lasts.n = lasts.size = lines.chunks - 1, lasts.step = lines.size * a.inner, lasts.chunks = 1, lasts.part = Part::all;
  if (status == Status::ok && lasts.n > 1) status = scan_lines<T, is_product>(context, lasts, shape_of(lasts));
  lines.part = Part::rest;
  return status == Status::ok ? scan_lines<T, is_product>(context, lines, shape) : status;
}

}  // namespace

template <class T>
Status cumsum(const Context& context, const Scan<T>& a) {
  return scan<T, false>(context, a);
}
template <class T>
Status cumprod(const Context& context, const Scan<T>& a) {
  return scan<T, true>(context, a);
}
template Status cumsum(const Context&, const Scan<float>&);
template Status cumsum(const Context&, const Scan<double>&);
template Status cumsum(const Context&, const Scan<bfloat16>&);
template Status cumsum(const Context&, const Scan<float16>&);
template Status cumsum(const Context&, const Scan<std::int64_t>&);
template Status cumsum(const Context&, const Scan<std::int32_t>&);
template Status cumsum(const Context&, const Scan<std::int16_t>&);
template Status cumsum(const Context&, const Scan<std::int8_t>&);
template Status cumsum(const Context&, const Scan<std::uint8_t>&);
template Status cumprod(const Context&, const Scan<float>&);
template Status cumprod(const Context&, const Scan<double>&);
template Status cumprod(const Context&, const Scan<bfloat16>&);
template Status cumprod(const Context&, const Scan<float16>&);
template Status cumprod(const Context&, const Scan<std::int64_t>&);
template Status cumprod(const Context&, const Scan<std::int32_t>&);
template Status cumprod(const Context&, const Scan<std::int16_t>&);
template Status cumprod(const Context&, const Scan<std::int8_t>&);
template Status cumprod(const Context&, const Scan<std::uint8_t>&);

}  // namespace dd2424::cuda
