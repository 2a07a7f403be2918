#include "core/gemm.h"

#include "core/float_mode.h"
#include "core/parallel.h"
#include "core/table.h"
#include "cpu/gemm_batch.h"
#include "cpu/gemm_dot.h"
#include "cpu/gemm_plan.h"
#include "cpu/gemm_vector.h"

namespace dd2424::cpu::DD2424_ISA {
namespace {

struct Workspace {
  char *a, *b, *sums;
  Workspace(char* start, const Plan& plan) : a(start), b(a + plan.a_bytes), sums(b + plan.b_bytes) {}
};

// One block of k and of columns on its way through the tiles.
template <class T>
struct Block {
  using E = Packed<T>;
  const Product<T>& p;
  const Plan& plan;
  Index k, depth;    // where it begins in k, and how far it goes
  Index j, columns;  // likewise in n
  E *packed_a, *packed_b;
  Index rows = tile_rows(plan.vectors), tiles = ceil_div(p.m, rows);
  Index width = plan.vectors * kLanes<E>, panels = ceil_div(columns, width);
  Index a_size = packed_size<T>(kTileRows, plan.block), b_size = packed_size<T>(width, plan.block);
  bool first = k == 0, last = k + depth == p.k, stores = stores_directly(p.to, last);

  static constexpr Index kParts = sizeof(E) / sizeof(T);
  static const T* unpacked(const E* x) { return reinterpret_cast<const T*>(x); }  // tiles count in elements of T
  Index tile_begin(Index tile) const { return tile * p.m / tiles; }               // tiles differ by a row at most
  Index panel_columns(Index panel) const { return smaller(columns - panel * width, width); }
  Source<T> a_from(Index i) const { return {p.a.data + i * p.a.across + k * p.a.along, p.a.across, p.a.along}; }
  Source<T> b_from(Index panel) const {
    return {p.b.data + (j + panel * width) * p.b.across + k * p.b.along, p.b.across, p.b.along};
  }
  void pack_a(Index tile, Index tiles_end, Index packed_from) const {  // packed_a begins with packed_from
    constexpr Index vectors = ceil_div(kTileRows, kLanes<E>);
    Strip<T> strips[kPackedTogether * vectors];
    Index n = 0;
    for (; tile < tiles_end; ++tile) {
      const Index i = tile_begin(tile), count = tile_begin(tile + 1) - i;
      E* to = packed_a + (tile - packed_from) * a_size;
      if (p.a.across != 1) {
        pack<T>({.out = to, .width = kTileRows, .panel = a_size, .in = a_from(i), .count = count, .k = depth});
        continue;
      }
      for (Index v = 0; v < vectors && v * kLanes<E> < count; ++v, ++n)
        strips[n] = {a_from(i).data + v * kLanes<E>, to + v * kLanes<E>, smaller(count - v * kLanes<E>, kLanes<E>)};
    }
    if (n > 0) pack_across(strips, n, kTileRows, p.a.along, depth);
  }
  void pack_b(Index panel, Index panels_end, E* to) const {
    const Index count = smaller(columns, panels_end * width) - panel * width;
    pack<T>({.out = to, .width = width, .panel = b_size, .in = b_from(panel), .count = count, .k = depth});
  }

  // A panel of b times some tiles of a. A panel that is not packed is read where it lies, and left packed at `b_copy`.
  void multiply(Index tile, Index tiles_end, Index packed_from, Index panel, const E* packed,
                E* b_copy = nullptr) const {
    const Index count = panel_columns(panel);
    constexpr Index step = Multiply<T>::kDepth;
    TileInput<T> in{.b = unpacked(packed),
                    .a_row = p.a.across,
                    .a_column = step * p.a.along,
                    .b_row = width * kParts,
                    .depth = ceil_div(depth, step),
                    .b_copy = b_copy};
    if (!packed) in.b = b_from(panel).data, in.b_row = step * p.b.along;
    const int needed = int(ceil_div(count, kLanes<E>)),
              vectors = needed <= 2 && plan.vectors <= 4 ? needed : plan.vectors;
    const TileKernel<T>* kernels = tile_kernels<T>(vectors, plan.packs_a, b_copy != nullptr);
    const Index ahead_step = in.depth * kParts * kLanes<E> / 2;
    in.ahead = packed ? unpacked(packed + b_size) : in.b;
    for (; tile < tiles_end; ++tile, in.ahead += ahead_step) {
      const Index i = tile_begin(tile), tile_rows = tile_begin(tile + 1) - i;
      if (plan.packs_a) in.a = unpacked(packed_a + (tile - packed_from) * a_size);
      else in.a = a_from(i).data, in.ahead = a_from(i + tile_rows).data;
      const Part part{i, j + panel * width, tile_rows, count, first, last};
      if (stores) {
        kernels[tile_rows](in, tile_output(p.to, part), count);
      } else {
        Accumulator<T> sums[kTileRows * kTileVectors * kLanes<E>];
        static_assert(sizeof sums >= sizeof(E) * tile_rows_of_widest() * kWidestTile * kLanes<E>);
        kernels[tile_rows](in, {.out = sums, .out_row = width}, vectors * kLanes<E>);
        finish(p.to, part, sums, width);
      }
    }
  }
  static constexpr Index tile_rows_of_widest() { return tile_rows(kWidestTile); }
};

// Packing an element costs about as much as multiplying a dozen.
inline Index packing_grain(Index width, Index depth) { return 1 + kGrainMacs / (12 * width * depth); }

template <class T>
void pack_tiles(const Block<T>& block, Index tile, Index tiles_end) {
  parallel_for(ceil_div(tiles_end - tile, kPackedTogether), packing_grain(kTileRows * kPackedTogether, block.depth),
               [&](Index begin, Index end) {
                 for (; begin < end; ++begin) {
                   const Index first = tile + begin * kPackedTogether;
                   block.pack_a(first, smaller(first + kPackedTogether, tiles_end), tile);
                 }
               });
}

// A thread packs a panel of b for itself when it meets it: as it multiplies its first rows, where the panel is whole.
template <class T>
void multiply_panels(const Block<T>& block) {
  const Index threads = smaller(num_threads(), kPanelBuffers);
  const Index row_parts = smaller(ceil_div(2 * threads, block.panels), ceil_div(block.tiles, 8));
  const Index items = block.panels * row_parts, teams = smaller(items, threads);
  const Index macs = block.p.m * block.depth * block.columns / teams;
  Index next = 0;  // the next item that nobody has taken
  parallel_for(teams, 1 + kGrainMacs / macs, [&](Index begin, Index end) {
    for (Index team = begin; team < end; ++team) {
      auto* packed = block.packed_b + team * block.b_size;
      Index packed_panel = -1;
      for (Index item; (item = __atomic_fetch_add(&next, 1, __ATOMIC_RELAXED)) < items;) {
        const Index panel = item / row_parts, part = item % row_parts;
        const Index last = (part + 1) * block.tiles / row_parts;
        Index tile = part * block.tiles / row_parts;
        if (panel != packed_panel && block.panel_columns(panel) == block.width) {
          block.multiply(tile, tile + 1, 0, panel, nullptr, packed);
          ++tile;
        } else if (panel != packed_panel) {
          block.pack_b(panel, panel + 1, packed);
        }
        packed_panel = panel;
        block.multiply(tile, last, 0, panel, packed);
      }
    }
  });
}

// Panels of b are packed when they are needed: each is used by the one block of rows there is.
template <class T>
void multiply_streaming(const Block<T>& block) {
  if (block.plan.packs_a) pack_tiles(block, 0, block.tiles);
  const Index teams = smaller(block.panels, kTeams);
  const Index macs = block.p.m * block.depth * block.columns / teams;
  parallel_for(teams, 1 + kGrainMacs / macs, [&](Index begin, Index end) {
    for (Index team = begin; team < end; ++team) {
      auto* packed = block.packed_b + team * kPackedTogether * block.b_size;
      const Index last = (team + 1) * block.panels / teams;
      for (Index panel = team * block.panels / teams; panel < last; panel += kPackedTogether) {
        const Index panels_end = smaller(panel + kPackedTogether, last);
        block.pack_b(panel, panels_end, packed);
        for (Index i = panel; i < panels_end; ++i)
          block.multiply(0, block.tiles, 0, i, packed + (i - panel) * block.b_size);
      }
    }
  });
}

// Work on one row block at a time where a is packed: what was just packed is still in the cache.
template <class T>
void multiply_rows(const Block<T>& block, Index tile, Index tiles_end, Index first_panel) {
  const Plan& plan = block.plan;
  if (plan.packs_a) pack_tiles(block, tile, tiles_end);
  const Index rows = tiles_end - tile, per_panel = ceil_div(2 * num_threads(), block.panels);
  const Index row_blocks = larger(ceil_div(rows, kBlockTiles), smaller(rows, per_panel));
  const Index macs = rows * block.rows / row_blocks * block.depth * block.width;
  parallel_for(row_blocks * block.panels, 1 + kGrainMacs / macs, [&](Index begin, Index end) {
    for (Index item = begin; item < end; ++item) {
      const Index r = item / block.panels, panel = item % block.panels;
      const auto* packed = panel >= first_panel ? block.packed_b + (panel - first_panel) * block.b_size : nullptr;
      block.multiply(tile + r * rows / row_blocks, tile + (r + 1) * rows / row_blocks, tile, panel, packed);
    }
  });
}

template <class T>
void multiply_block(const Block<T>& block) {
  const Plan& plan = block.plan;
  if (plan.by_panels) return multiply_panels(block);
  if (plan.streams_b) return multiply_streaming(block);
  const Index first_panel = plan.packs_b ? 0 : block.panels - (block.columns % block.width != 0);
  parallel_for(ceil_div(block.panels - first_panel, kPackedTogether),
               packing_grain(block.width * kPackedTogether, block.depth), [&](Index begin, Index end) {
                 for (Index panel = first_panel + begin * kPackedTogether;
                      panel < smaller(block.panels, first_panel + end * kPackedTogether); panel += kPackedTogether)
                   block.pack_b(panel, smaller(panel + kPackedTogether, block.panels),
                                block.packed_b + (panel - first_panel) * block.b_size);
               });
  for (Index tile = 0; tile < block.tiles; tile += plan.tiles_together)
    multiply_rows(block, tile, smaller(tile + plan.tiles_together, block.tiles), first_panel);
}

template <class T>
void multiply_tiles(const Plan& plan, Product<T> p, const Workspace& workspace) {
  using Acc = Accumulator<T>;
  if (!p.to.ends_in_sums) {
    if constexpr (std::is_same_v<T, Acc>) p.to.sums = p.to.c, p.to.sums_row = p.to.c_row;
    if (plan.sums_bytes > 0) p.to.sums = reinterpret_cast<Acc*>(workspace.sums), p.to.sums_row = p.n;
  }
  for (Index j = 0; j < p.n; j += plan.columns) {
    for (Index k = 0; k < p.k; k += plan.block) {
      multiply_block(Block<T>{.p = p,
                              .plan = plan,
                              .k = k,
                              .depth = smaller(p.k - k, plan.block),
                              .j = j,
                              .columns = smaller(p.n - j, plan.columns),
                              .packed_a = reinterpret_cast<Packed<T>*>(workspace.a),
                              .packed_b = reinterpret_cast<Packed<T>*>(workspace.b)});
    }
  }
}

// Copies x so that it lies along k.
template <class T>
void lay_along_k(T* out, Index row, const Source<T>& x, Index count, Index k) {
  constexpr Index rows_at_once = 16;
  parallel_for(ceil_div(count, rows_at_once), packing_grain(rows_at_once, k), [&](Index begin, Index end) {
    for (Index i = begin * rows_at_once; i < smaller(count, end * rows_at_once); i += rows_at_once) {
      const Index rows = smaller(count - i, rows_at_once);
      const T* from = x.data + i * x.across;
      if constexpr (std::is_same_v<T, Accumulator<T>>) {
        pack<T>(
            {.out = out + i * row, .width = row, .panel = 0, .in = {from, x.along, x.across}, .count = k, .k = rows});
      } else {
        for (Index r = 0; r < rows; ++r)
          for (Index p = 0; p < k; ++p) out[(i + r) * row + p] = from[r * x.across + p * x.along];
      }
    }
  });
}

template <class T>
void multiply_dots(const Plan& plan, const Product<T>& p, const Workspace& workspace) {
  Dot<T> dot{.a = p.a.data,
             .b = p.b.data,
             .m = p.m,
             .n = p.n,
             .k = p.k,
             .a_row = p.a.across,
             .b_row = p.b.across,
             .copies_a = plan.copies_a};
  const Index row = dot_row_bytes<T>(plan.part) / Index(sizeof(T));
  if (plan.packs_a) {
    T* a = reinterpret_cast<T*>(workspace.a);
    lay_along_k(a, row, p.a, p.m, p.k);
    dot.a = a, dot.a_row = row;
  }
  if (plan.packs_b) {
    T* b = reinterpret_cast<T*>(workspace.b);
    lay_along_k(b, row, p.b, p.n, p.k);
    dot.b = b, dot.b_row = row;
  }
  const bool is_vector = p.n == 1 && p.m >= kLanes<Accumulator<T>> / 2;
  is_vector ? multiply_vector(dot, p.to, kGrainMacs) : multiply_dot(dot, p.to, kGrainMacs);
}

template <class T>
void multiply_part(const Plan& plan, const Product<T>& p, char* workspace) {
  const Workspace parts(workspace, plan);
  plan.is_dot ? multiply_dots(plan, p, parts) : multiply_tiles(plan, p, parts);
}

template <class T>
Index partial_bytes(const Product<T>& p) {
  return aligned(p.m * p.n * Index(sizeof(Accumulator<T>)));
}

// Parts of k are summed apart, and their sums added in the order of a balanced binary tree.
template <class T>
void multiply_split(const Plan& plan, const Product<T>& p, char* workspace) {
  using Acc = Accumulator<T>;
  const Index bytes = partial_bytes(p) + plan.bytes();
  const auto sums_of = [&](Index part) { return reinterpret_cast<Acc*>(workspace + part * bytes); };
  parallel_for(plan.splits, 1, [&](Index begin, Index end) {
    for (Index part = begin; part < end; ++part) {
      Product<T> q = p;
      q.a.data += part * plan.part * q.a.along;
      q.b.data += part * plan.part * q.b.along;
      q.k = smaller(plan.part, p.k - part * plan.part);
      q.to.alpha = 1, q.to.beta = 0, q.to.sums = sums_of(part), q.to.sums_row = p.n, q.to.ends_in_sums = true;
      multiply_part(plan, q, workspace + part * bytes + partial_bytes(p));
    }
  });
  parallel_for(p.m, 1 + kGrainMacs / (p.n * plan.splits * 16), [&](Index begin, Index end) {
    for (Index step = 1; step < plan.splits; step *= 2) {
      for (Index part = 0; part + step < plan.splits; part += 2 * step) {
        Acc* sums = sums_of(part) + begin * p.n;
        map(sums, (end - begin) * p.n, [](auto x, auto y) { return x + y; }, sums, sums_of(part + step) + begin * p.n);
      }
    }
    constexpr Index width = kWidestTile * kLanes<Acc>;
    for (Index j = 0; j < p.n; j += width)
      finish(p.to, {begin, j, end - begin, smaller(width, p.n - j), true, true}, sums_of(0) + begin * p.n + j, p.n);
  });
}

// Nothing to add up: c = epilogue(beta * c + bias).
template <class T>
void multiply_nothing(const Product<T>& p) {
  constexpr Index width = kWidestTile * kLanes<Accumulator<T>>;
  const Accumulator<T> zeros[width] = {};
  parallel_for(p.m, 1 + kGrainMacs / (p.n * 16), [&](Index begin, Index end) {
    for (Index j = 0; j < p.n; j += width)
      finish(p.to, {begin, j, end - begin, smaller(width, p.n - j), true, true}, zeros, 0);
  });
}

template <class T>
std::size_t product_bytes(const Plan& plan, const Product<T>& p) {
  return std::size_t(plan.splits > 1 ? plan.splits * (partial_bytes(p) + plan.bytes()) : plan.bytes());
}

template <class T>
Product<T> product_of(const Gemm<T>& g) {
  using Acc = Accumulator<T>;
  return {.a = {g.a, g.a_row, g.a_column},
          .b = {g.b, g.b_column, g.b_row},
          .to = {.c = g.c,
                 .c_row = g.c_row,
                 .c_column = g.c_column,
                 .bias = g.bias,
                 .bias_row = 0,
                 .bias_column = 1,
                 .alpha = Acc(g.alpha),
                 .beta = Acc(g.beta),
                 .epilogue = g.epilogue},
          .m = g.m,
          .n = g.n,
          .k = g.alpha == 0 ? 0 : g.k};
}

// Small products of a batch run side by side, each on one thread.
template <class T>
Index teams(const Gemm<T>& g) {
  return g.m * g.n * g.k >= kAlonePerProduct ? 1 : smaller(items(g), kTeams);
}

template <class T>
std::size_t gemm_workspace(const Gemm<T>& g) {
  Product<T> p = product_of(g);
  if (p.m == 0 || p.n == 0 || p.k == 0) return 0;
  const Plan plan = plan_product(p);
  return std::size_t(teams(g)) * product_bytes(plan, p);
}

template <class T>
Status gemm(const Context& context, const Gemm<T>& g) {
  const FloatMode mode;
  const Index count = items(g);
  Product<T> first = product_of(g);
  if (count == 0 || first.m == 0 || first.n == 0) return Status::ok;
  const Plan plan = first.k == 0 ? Plan{} : plan_product(first);
  const std::size_t bytes = first.k == 0 ? 0 : product_bytes(plan, first);
  const auto multiply = [&](Index item, char* workspace) {
    Product<T> p = first;
    const BatchItem at(g.batch, item);
    p.a.data += plan.is_swapped ? at.b : at.a;
    p.b.data += plan.is_swapped ? at.a : at.b;
    p.to.c += at.c;
    if (p.k == 0) multiply_nothing(p);
    else if (plan.splits > 1) multiply_split(plan, p, workspace);
    else multiply_part(plan, p, workspace);
  };
  char* workspace = static_cast<char*>(context.workspace);
  const Index side_by_side = teams(g);
  if (side_by_side == 1) {
    for (Index item = 0; item < count; ++item) multiply(item, workspace);
    return Status::ok;
  }
  const Index macs = g.m * g.n * (g.k + 16) * (count / side_by_side);
  parallel_for(side_by_side, 1 + kGrainMacs / macs, [&](Index begin, Index end) {
    for (Index team = begin; team < end; ++team)
      for (Index item = team * count / side_by_side; item < (team + 1) * count / side_by_side; ++item)
        multiply(item, workspace + std::size_t(team) * bytes);
  });
  return Status::ok;
}

template <class T>
constexpr GemmKernels<T> kGemm{.gemm = gemm<T>, .gemm_workspace = gemm_workspace<T>};

}  // namespace

#if !defined(DD2424_ISA_IS_avx512_bf16)
// Attention multiplies with these too.
template const TileKernel<float>* tile_kernels<float, Reads::a_in_place>(int);
template const TileKernel<double>* tile_kernels<double, Reads::a_in_place>(int);
#endif

}  // namespace dd2424::cpu::DD2424_ISA

namespace dd2424 {
#if !defined(DD2424_ISA_IS_avx512_bf16)
DD2424_TABLE(GemmKernels<float>, cpu::DD2424_ISA::kGemm<float>)
DD2424_TABLE(GemmKernels<double>, cpu::DD2424_ISA::kGemm<double>)
#endif
DD2424_TABLE(GemmKernels<bfloat16>, cpu::DD2424_ISA::kGemm<bfloat16>)
}  // namespace dd2424
