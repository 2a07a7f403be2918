#pragma once
// The product that every step makes with the same weights: packed once, read from the caches step after step.
#include "core/parallel.h"
#include "cpu/gemm_pack.h"
#include "cpu/sizes.h"

namespace dd2424::cpu::DD2424_ISA {
namespace {

constexpr Index kStepGrain = 1 << 18;  // multiplications that are worth a thread
constexpr Index kRowsPerPart = 8;      // sequences for which a thread of their own beats sharing out the weights
constexpr Index kRowGap = 64;          // bytes between rows of a state, lest they share cache sets

// (depth, columns) as the micro-kernel reads it: panels of so many vectors' columns.
template <class T>
struct Weights {
  Index depth, columns;
  int vectors;
  T* packed = nullptr;
  Index width() const { return vectors * kLanes<T>; }
  Index panels() const { return ceil_div(columns, width()); }
  Index panel_size() const { return packed_size<T>(width(), depth); }
  Index bytes() const { return aligned(panels() * panel_size() * Index(sizeof(T))); }
};

// Few rows leave registers for wide tiles, which hide the latency of their sums. The widths follow from the batch
// alone, for the workspace must not depend on the threads.
inline int panel_vectors(Index rows) {
  return rows <= tile_rows(kWidestTile) ? kWidestTile : rows <= tile_rows(4) ? 4 : kTileVectors;
}

// Places the packed copy of `source` at `memory` and returns what lies behind it.
template <class T>
char* pack_weights(Weights<T>& w, const Source<T>& source, char* memory) {
  w.packed = reinterpret_cast<T*>(memory);
  const Index width = w.width(), panel = w.panel_size();
  parallel_for(w.panels(), 1 + kStepGrain / (8 * width * w.depth), [&](Index begin, Index end) {
    for (Index p = begin; p < end; ++p)
      pack<T>({.out = w.packed + p * panel,
               .width = width,
               .panel = panel,
               .in = {source.data + p * width * source.across, source.across, source.along},
               .count = smaller(w.columns - p * width, width),
               .k = w.depth});
  });
  return memory + w.bytes();
}

// The rows that meet the weights at a step. In tiles of many rows they are packed: an instruction then reaches all of a
// tile's from one address (1.1 times as fast); few are read where they lie.
template <class T>
struct Rows {
  const T* a;  // row i at a + i * row
  Index row, count;
  T* packed;  // room for row_room elements a row

  static bool are_packed(const Weights<T>& w) { return w.vectors == kTileVectors; }
  // Tiles are half full at least: a part has that many rows, and so has a batch whose rows are packed.
  static Index row_room(const Weights<T>& w) { return are_packed(w) ? 2 * w.depth + kRowSlack : 0; }
  static constexpr Index kRowSlack = 64;

  Index tiles(const Weights<T>& w) const { return ceil_div(count, tile_rows(w.vectors)); }
  Index tile_size(const Weights<T>& w) const { return packed_size<T>(kTileRows, w.depth); }
  Index tile_begin(const Weights<T>& w, Index tile) const { return tile * count / tiles(w); }

  void pack(const Weights<T>& w) const {
    for (Index tile = 0; are_packed(w) && tile < tiles(w); ++tile) {
      const Index begin = tile_begin(w, tile);
      dd2424::cpu::DD2424_ISA::pack<T>({.out = packed + tile * tile_size(w),
                                        .width = kTileRows,
                                        .panel = tile_size(w),
                                        .in = {a + begin * row, row, 1},
                                        .count = tile_begin(w, tile + 1) - begin,
                                        .k = w.depth});
    }
  }
};

// to.out (rows, columns) = rows (count, depth) times w, and to.before and to.bias. Every element is one chain of
// multiply-adds over the depth, however the work is cut.
template <class T>
void multiply(const Weights<T>& w, const Rows<T>& rows, const TileOutput<T>& to) {
  const Index width = w.width(), tiles = rows.tiles(w), ahead_step = w.depth * kLanes<T> / 2;
  const bool is_packed = Rows<T>::are_packed(w);
  parallel_for(w.panels(), 1 + kStepGrain / (rows.count * w.depth * width), [&](Index begin, Index end) {
    for (Index panel = begin; panel < end; ++panel) {
      const Index column = panel * width, columns = smaller(w.columns - column, width);
      const Index needed = ceil_div(columns, kLanes<T>);
      const int vectors = needed <= 2 ? int(needed) : needed <= 4 ? 4 : kWidestTile;
      const TileKernel<T>* kernels = tile_kernels<T>(vectors, is_packed, false);
      const T* b = w.packed + panel * w.panel_size();
      for (Index tile = 0; tile < tiles; ++tile) {
        const Index row = rows.tile_begin(w, tile), count = rows.tile_begin(w, tile + 1) - row;
        const TileInput<T> in{.a = is_packed ? rows.packed + tile * rows.tile_size(w) : rows.a + row * rows.row,
                              .b = b,
                              .a_row = rows.row,
                              .a_column = 1,
                              .b_row = width,
                              .depth = w.depth,
                              .ahead = is_packed ? b + w.panel_size() + tile * ahead_step : rows.a};
        TileOutput<T> part = to;
        part.out += row * to.out_row + column;
        if (to.before) part.before += row * to.before_row + column;
        if (to.bias) part.bias += column;
        kernels[count](in, part, columns);
      }
    }
  });
}

// How the sequences are shared out. They need nothing of each other, so that a part may run through all steps without
// waiting; but each part reads all weights at every step, and few sequences are better off with one part whose products
// are cut by columns. No bit depends on it.
inline Index parts_of(Index batch, Index macs) {
  const Index threads = num_threads(), parts = smaller(threads, batch / kRowsPerPart);
  return parts < threads && macs >= threads * kStepGrain ? 1 : larger(parts, 1);
}

}  // namespace
}  // namespace dd2424::cpu::DD2424_ISA
