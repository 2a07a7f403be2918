#pragma once
#include "cuda/walk.h"

// A copy between layouts of which one is dense along one dimension and the other along another: square tiles go through
// shared memory, so that both sides of it are read and written along their own.
namespace dd2424::cuda {
namespace {

constexpr int kTile = 64;

struct Tiled {
  Divider across, down, sizes[kMaxDims];  // tiles along the dimension that x is dense in, and y; the other dimensions
  std::int32_t x_step, y_step;            // of x along y's dense dimension, of y along x's
  std::int32_t columns, rows;             // sizes of those dimensions: x's, and y's
  int ndim;
  std::int32_t x_strides[kMaxDims], y_strides[kMaxDims];
};

// Lines of shared memory begin one bank further each.
template <class Word>
constexpr int kTilePitch = kTile + (sizeof(Word) < 4 ? 4 / sizeof(Word) : 1);

template <class Word, int WX, int WY>
__global__ void __launch_bounds__(kThreads) tile_kernel(const Word* x, Word* y, Tiled t) {
  __shared__ Word tile[kTile * kTilePitch<Word>];
  constexpr int kXPacks = kTile * kTile / (WX * kThreads), kYPacks = kTile * kTile / (WY * kThreads);
  std::uint32_t rest = t.across.quotient(blockIdx.x);
  const int column = static_cast<int>(blockIdx.x - rest * t.across.divisor) * kTile;
  std::uint32_t left = t.down.quotient(rest);
  const int row = static_cast<int>(rest - left * t.down.divisor) * kTile;
  for (int d = 0; d < t.ndim; ++d) {
    rest = t.sizes[d].quotient(left);
    const auto place = static_cast<std::int32_t>(left - rest * t.sizes[d].divisor);
    x += place * t.x_strides[d];
    y += place * t.y_strides[d];
    left = rest;
  }
  Pack<Word, WX> in[kXPacks];
#pragma unroll
  for (int k = 0; k < kXPacks; ++k) {
    const int i = k * kThreads + static_cast<int>(threadIdx.x), r = i / (kTile / WX), c = i % (kTile / WX) * WX;
    const bool is_inside = row + r < t.rows && column + c < t.columns;
    in[k] = is_inside ? load_pack<WX>(x + (row + r) * t.x_step + column + c, true) : Pack<Word, WX>{};
  }
#pragma unroll
  for (int k = 0; k < kXPacks; ++k) {
    const int i = k * kThreads + static_cast<int>(threadIdx.x), r = i / (kTile / WX), c = i % (kTile / WX) * WX;
#pragma unroll
    for (int w = 0; w < WX; ++w) tile[r * kTilePitch<Word> + c + w] = in[k].of[w];
  }
  __syncthreads();
#pragma unroll
  for (int k = 0; k < kYPacks; ++k) {
    const int i = k * kThreads + static_cast<int>(threadIdx.x), c = i / (kTile / WY), r = i % (kTile / WY) * WY;
    if (row + r >= t.rows || column + c >= t.columns) continue;
    Pack<Word, WY> out;
#pragma unroll
    for (int w = 0; w < WY; ++w) out.of[w] = tile[(r + w) * kTilePitch<Word> + c];
    store_pack<WY>(y + (column + c) * t.y_step + row + r, out, true);
  }
}

// The dimension that an operand is dense in, or -1.
inline int dense_dimension(const Strided<2>& space, int operand) {
  for (int d = space.ndim - 1; d >= 0; --d)
    if (space.strides[operand][d] == 1) return d;
  return -1;
}
inline bool are_tiles(const Strided<2>& space) {
  constexpr Index least = 16;  // of a tile's side that is worth it
  const int row = dense_dimension(space, 0), column = dense_dimension(space, 1);
  return row >= 0 && column >= 0 && row != column && space.shape[row] >= least && space.shape[column] >= least;
}

template <class Word>
Status copy_tiles(const Context& context, const Word* x, Word* y, const Strided<2>& space) {
  const int row = dense_dimension(space, 0), column = dense_dimension(space, 1);
  Tiled t{};
  t.rows = static_cast<std::int32_t>(space.shape[row]), t.columns = static_cast<std::int32_t>(space.shape[column]);
  t.x_step = static_cast<std::int32_t>(space.strides[1][row]);
  t.y_step = static_cast<std::int32_t>(space.strides[0][column]);
  const Index down = (t.rows + kTile - 1) / kTile, across = (t.columns + kTile - 1) / kTile;
  t.down = Divider(down), t.across = Divider(across);
  constexpr int W = 16 / sizeof(Word);
  bool wide_x = t.columns % W == 0 && t.x_step % W == 0 && are_aligned({x});
  bool wide_y = t.rows % W == 0 && t.y_step % W == 0 && are_aligned({y});
  Index blocks = down * across;
  for (int d = space.ndim - 1; d >= 0; --d) {
    if (d == row || d == column) continue;
    t.sizes[t.ndim] = Divider(space.shape[d]);
    t.x_strides[t.ndim] = static_cast<std::int32_t>(space.strides[1][d]);
    t.y_strides[t.ndim++] = static_cast<std::int32_t>(space.strides[0][d]);
    wide_x = wide_x && space.strides[1][d] % W == 0, wide_y = wide_y && space.strides[0][d] % W == 0;
    blocks *= space.shape[d];
  }
  const dim3 grid(static_cast<unsigned>(blocks)), threads(kThreads);
  if (wide_x && wide_y) return launch(context, grid, threads, tile_kernel<Word, W, W>, x, y, t);
  if (wide_x) return launch(context, grid, threads, tile_kernel<Word, W, 1>, x, y, t);
  if (wide_y) return launch(context, grid, threads, tile_kernel<Word, 1, W>, x, y, t);
  return launch(context, grid, threads, tile_kernel<Word, 1, 1>, x, y, t);
}

}  // namespace
}  // namespace dd2424::cuda
