#pragma once
// The product that every step makes with the same weights: packed once, read from the caches step after step.
#include "core/parallel.h"
#include "cpu/gemm_pack.h"
#include "cpu/sizes.h"

namespace dd2424::cpu::DD2424_ISA {
namespace {

constexpr Index kStepGrain = 1 << 18;  // multiplications that are worth a thread
constexpr Index kRowGrain = 1 << 14;   // likewise of a single row, whose weights come from the second-level cache
constexpr Index kRowsPerPart = 8;      // sequences for which a thread of their own beats sharing out the weights
constexpr Index kRowGap = 64;          // bytes between rows of a state, lest they share cache sets

// (depth, columns) as the micro-kernel reads it: panels of so many vectors' columns, packed or where they lie.
template <class T>
struct Weights {
  Index depth, columns;
  int vectors;
  bool packs_rows = false;   // of what meets them: see Rows
  bool is_in_place = false;  // for a single row alone
  const T* data = nullptr;
  Index width() const { return vectors * kLanes<T>; }
  Index panels() const { return ceil_div(columns, width()); }
  Index row() const { return is_in_place ? columns : width(); }
  Index panel_size() const { return is_in_place ? width() : packed_size<T>(width(), depth); }
  Index bytes() const { return is_in_place ? 0 : aligned(panels() * panel_size() * Index(sizeof(T))); }
};

// Few rows leave registers for wide tiles, which hide the latency of their sums. A single row's panels are alike, and
// two at least where threads may share them; where its weights' own rows are as short as a panel's they are not packed.
// The widths follow from sizes alone, for the workspace must not depend on the threads.
template <class T>
Weights<T> weights_for(Index rows, Index depth, Index columns, bool rows_lie_together) {
  Weights<T> w{.depth = depth, .columns = columns, .vectors = kTileVectors};
  if (rows == 1) {
    const Index vectors = larger(ceil_div(columns, kLanes<T>), 1), least = depth * columns < 2 * kRowGrain ? 1 : 2;
    w.vectors = int(ceil_div(vectors, larger(ceil_div(vectors, kWidestTile), smaller(vectors, least))));
    w.is_in_place = rows_lie_together && vectors <= kWidestTile && columns >= kLanes<T>;
  } else if (rows <= tile_rows(4)) {
    w.vectors = rows <= tile_rows(kWidestTile) ? kWidestTile : 4;
  } else {
    w.packs_rows = true;
  }
  return w;
}

// Places the packed copy of `source` at `memory` and returns what lies behind it.
template <class T>
char* pack_weights(Weights<T>& w, const Source<T>& source, char* memory) {
  if (w.is_in_place) return w.data = source.data, memory;
  T* packed = reinterpret_cast<T*>(memory);
  w.data = packed;
  const Index width = w.width(), panel = w.panel_size();
  parallel_for(w.panels(), 1 + kStepGrain / (8 * width * w.depth), [&](Index begin, Index end) {
    for (Index p = begin; p < end; ++p)
      pack<T>({.out = packed + p * panel,
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

  // Tiles are half full at least: a part has that many rows, and so has a batch whose rows are packed.
  static Index row_room(const Weights<T>& w) { return w.packs_rows ? 2 * w.depth + kRowSlack : 0; }
  static constexpr Index kRowSlack = 64;

  Index tiles(const Weights<T>& w) const { return ceil_div(count, tile_rows(w.vectors)); }
  Index tile_size(const Weights<T>& w) const { return packed_size<T>(kTileRows, w.depth); }
  Index tile_begin(const Weights<T>& w, Index tile) const { return tile * count / tiles(w); }

  void pack(const Weights<T>& w) const {
    if (!w.packs_rows || count == 1) return;
    for (Index tile = 0; tile < tiles(w); ++tile) {
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

// A row times a panel, of which `columns` exist; `sums` are its vectors. Every weight is used but once: how fast the
// caches give them decides. In place, a last vector reaches into the next row, which is as long at least; in the last
// row it ends with it.
template <class T, int Vectors>
void row_times_panel(const T* a, const T* b, Index b_row, Index depth, Index columns, Vec<T>* sums) {
  constexpr Index lanes = kLanes<T>;
  Vec<T> chains[Vectors]{};
  for (Index p = 0; p < depth - 1; ++p, b += b_row) {
    const Vec<T> element = broadcast(a[p]);
#pragma GCC unroll 8
    for (int v = 0; v < Vectors; ++v) chains[v] = fma(element, load(b + v * lanes), chains[v]);
  }
#pragma GCC unroll 8
  for (int v = 0; v < Vectors; ++v) {
    const bool is_cut = v == Vectors - 1 && columns < Vectors * lanes;
    const Vec<T> last = is_cut ? load(b + v * lanes, columns - v * lanes) : load(b + v * lanes);
    sums[v] = fma(broadcast(a[depth - 1]), last, chains[v]);
  }
}

template <class T>
void multiply_row(const Weights<T>& w, const T* row, const TileOutput<T>& to) {
  static constexpr void (*kByVectors[])(const T*, const T*, Index, Index, Index, Vec<T>*) = {
      row_times_panel<T, 1>, row_times_panel<T, 2>, row_times_panel<T, 3>, row_times_panel<T, 4>,
      row_times_panel<T, 5>, row_times_panel<T, 6>, row_times_panel<T, 7>, row_times_panel<T, 8>};
  const Index width = w.width();
  parallel_for(w.panels(), 1 + kRowGrain / (w.depth * width), [&](Index begin, Index end) {
    for (Index panel = begin; panel < end; ++panel) {
      const Index column = panel * width, columns = smaller(w.columns - column, width);
      const Index vectors = ceil_div(columns, kLanes<T>);
      Vec<T> sums[kWidestTile];
      kByVectors[vectors - 1](row, w.data + panel * w.panel_size(), w.row(), w.depth, columns, sums);
      TileOutput<T> part = to;
      part.out += column;
      if (to.before) part.before += column;
      if (to.bias) part.bias += column;
      store_tile(part, 1, vectors, columns, sums);
    }
  });
}

// to.out (rows, columns) = rows (count, depth) times w, and to.before and to.bias. Every element is one chain of
// multiply-adds over the depth, however the work is cut.
template <class T>
void multiply(const Weights<T>& w, const Rows<T>& rows, const TileOutput<T>& to) {
  if (rows.count == 1) return multiply_row(w, rows.a, to);
  const Index width = w.width(), tiles = rows.tiles(w), ahead_step = w.depth * kLanes<T> / 2;
  const bool is_packed = w.packs_rows;
  parallel_for(w.panels(), 1 + kStepGrain / (rows.count * w.depth * width), [&](Index begin, Index end) {
    for (Index panel = begin; panel < end; ++panel) {
      const Index column = panel * width, columns = smaller(w.columns - column, width);
      const Index needed = ceil_div(columns, kLanes<T>);
      const int vectors = needed <= 2 ? int(needed) : needed <= 4 ? 4 : kWidestTile;
      const TileKernel<T>* kernels = tile_kernels<T>(vectors, is_packed, false);
      const T* b = w.data + panel * w.panel_size();
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
