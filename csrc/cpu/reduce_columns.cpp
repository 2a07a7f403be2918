#include "cpu/reduce.h"

// Neighbouring outputs side by side, their terms row upon row: blocks of rows, chunks of blocks, a binary tree of
// chunks.
namespace dd2424::cpu::DD2424_ISA {
namespace {

constexpr Index kNarrow = 4096;   // outputs; below it the chunks of a column are shared among threads
constexpr Index kNarrowest = 64;  // columns of a tile
constexpr int kTreeLevels = 7;    // of kMaxChunks chunks

Index innermost_kept(const ReduceShape& at) { return at.kept ? at.shape[at.kept - 1] : 1; }

// Columns [first, first + width) of the innermost kept dimension.
struct Tile {
  Index output, width;  // the number of its first output
};
struct Tiles {
  Index width, per_row, count;
  Tile tile(const ReduceShape& at, Index i) const {
    const Index columns = innermost_kept(at), first = i % per_row * width;
    return {i / per_row * columns + first, columns - first < width ? columns - first : width};
  }
};
// Wide, for rows are read faster in long pieces, but `least` of them at least; bits do not depend on it.
template <class C>
Tiles tiles_of(const ReduceShape& at, Index least) {
  const Index columns = innermost_kept(at);
  Index width = (at.outputs / least + kNarrowest - 1) / kNarrowest * kNarrowest;
  width = width < kNarrowest ? kNarrowest : width > kColumnWidth<C> ? kColumnWidth<C> : width;
  const Index per_row = (columns + width - 1) / width;
  return {width, per_row, at.outputs / columns * per_row};
}

// Rows that do not adjoin: no processor foresees the next ones. To the second level, for four wide rows fill the first.
template <class C>
inline void prefetch_row(const C* row, Index width) {
  for (Index i = 0; i < width; i += 64 / Index(sizeof(C))) __builtin_prefetch(row + i, 0, 2);
}

// The totals of terms [begin, end) in the columns of a tile.
template <class T>
void reduce_tile(const Reduction<T>& r, Tile tile, Index begin, Index end, Total<Compute<T>>* totals) {
  using C = Compute<T>;
  const ReduceShape& at = *r.at;
  const Index stride = at.kept ? at.strides[at.kept - 1] : 1;
  const bool direct = std::is_same_v<T, C> && (stride == 1 || tile.width == 1);
  const T* x = r.x + offset_in(at, 0, at.kept, tile.output);
  const C *p = r.p ? r.p + tile.output : nullptr, *q = r.q ? r.q + tile.output : nullptr;
  const bool adjoin = at.reduced == 1 && at.strides[at.kept] == tile.width;
  alignas(64) C sums[kColumnWidth<C>], buffer[4][kColumnWidth<C>];
  for (Index i = 0; i < tile.width; ++i) totals[i] = r.combination->identity;
  for (Index block = begin; block < end; block += kColumnBlock) {
    const Index stop = block + kColumnBlock < end ? block + kColumnBlock : end;
    r.combination->start(sums, tile.width);
    for (Index t = block; t < stop; t += 4) {
      const int count = static_cast<int>(stop - t < 4 ? stop - t : 4);
      const C* rows[4];
      for (int i = 0; i < count; ++i) {
        const T* row = x + offset_in(at, at.kept, at.reduced, t + i);
        if (direct) {
          rows[i] = reinterpret_cast<const C*>(row);
          if (!adjoin && t + i + 4 < end) prefetch_row(x + offset_in(at, at.kept, at.reduced, t + i + 4), tile.width);
        } else {
          gather_run(buffer[i], row, stride, tile.width);
          rows[i] = buffer[i];
        }
      }
      r.combination->columns(sums, rows, count, tile.width, p, q);
    }
    r.combination->join(totals, sums, tile.width);
  }
}

// All chunks of a tile, combined as they come: after chunk i as many levels of the tree are closed as i + 1 has zeros
// at its end, which gives the tree of neighbours that a pass over all totals would.
template <class T>
void reduce_whole_tile(const Reduction<T>& r, Tile tile, Chunks chunks) {
  using Sum = Total<Compute<T>>;
  alignas(64) Sum levels[kTreeLevels + 1][kColumnWidth<Compute<T>>];
  int open = 0;
  for (Index chunk = 0; chunk < chunks.count; ++chunk) {
    const Index begin = chunk * chunks.size, end = begin + chunks.size;
    reduce_tile(r, tile, begin, end < r.at->terms ? end : r.at->terms, levels[open++]);
    for (Index i = chunk + 1; i % 2 == 0; i /= 2, --open)
      r.combination->join_totals(levels[open - 2], levels[open - 1], tile.width);
  }
  for (; open > 1; --open) r.combination->join_totals(levels[open - 2], levels[open - 1], tile.width);
  if (open == 0)
    for (Index i = 0; i < tile.width; ++i) levels[0][i] = r.combination->identity;
  r.finish.function(r.finish.data, tile.output, levels[0], tile.width);
}

template <class T>
void reduce_narrow(const Reduction<T>& r, Chunks chunks) {
  using Sum = Total<Compute<T>>;
  const ReduceShape& at = *r.at;
  const Tiles tiles = tiles_of<Compute<T>>(at, (num_threads() + chunks.count - 1) / chunks.count);
  Sum* totals = static_cast<Sum*>(r.workspace);  // (chunks, outputs)
  const Index work = chunks.size * (at.outputs / tiles.count + 1);
  parallel_for(chunks.count * tiles.count, kReduceGrain / work + 1, [&](Index begin, Index end) {
    for (Index i = begin; i < end; ++i) {
      const Index chunk = i / tiles.count, first = chunk * chunks.size, stop = first + chunks.size;
      const Tile tile = tiles.tile(at, i % tiles.count);
      reduce_tile(r, tile, first, stop < at.terms ? stop : at.terms, totals + chunk * at.outputs + tile.output);
    }
  });
  for (Index width = 1; width < chunks.count; width *= 2)
    for (Index i = 0; i + width < chunks.count; i += 2 * width)
      r.combination->join_totals(totals + i * at.outputs, totals + (i + width) * at.outputs, at.outputs);
  r.finish.function(r.finish.data, 0, totals, at.outputs);
}

bool is_narrow(const ReduceShape& at, Chunks chunks) { return at.outputs < kNarrow && chunks.count > 1; }

}  // namespace

bool by_columns(const ReduceShape& at) {
  if (at.kept == 0 || at.reduced == 0) return false;
  const Index kept = at.strides[at.kept - 1], reduced = at.strides[at.kept + at.reduced - 1];
  return (kept < 0 ? -kept : kept) < (reduced < 0 ? -reduced : reduced);
}

std::size_t column_workspace(const ReduceShape& at) {
  const Chunks chunks = reduction_chunks(at.terms, kColumnChunk);
  if (!by_columns(at) || !is_narrow(at, chunks)) return 0;
  return static_cast<std::size_t>(chunks.count * at.outputs) * sizeof(double);
}

template <class T>
void reduce_columns(const Reduction<T>& r) {
  const Chunks chunks = reduction_chunks(r.at->terms, kColumnChunk);
  if (is_narrow(*r.at, chunks)) return reduce_narrow(r, chunks);
  const Tiles tiles = tiles_of<Compute<T>>(*r.at, num_threads());
  parallel_for(tiles.count, kReduceGrain / (r.at->terms * tiles.width + 1) + 1, [&](Index begin, Index end) {
    for (Index i = begin; i < end; ++i) reduce_whole_tile(r, tiles.tile(*r.at, i), chunks);
  });
}

template void reduce_columns(const Reduction<float>&);
template void reduce_columns(const Reduction<double>&);
template void reduce_columns(const Reduction<bfloat16>&);
template void reduce_columns(const Reduction<std::int64_t>&);
template void reduce_columns(const Reduction<std::int32_t>&);
template void reduce_columns(const Reduction<std::int16_t>&);
template void reduce_columns(const Reduction<std::int8_t>&);
template void reduce_columns(const Reduction<std::uint8_t>&);
template void reduce_columns(const Reduction<bool>&);
template void reduce_columns(const Reduction<Byte>&);

}  // namespace dd2424::cpu::DD2424_ISA
