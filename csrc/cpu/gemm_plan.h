#pragma once
// How a product is computed: which way round, packed or in place, in which blocks.
#include "cpu/gemm_dot.h"
#include "cpu/gemm_output.h"
#include "cpu/gemm_pack.h"
#include "cpu/sizes.h"

namespace dd2424::cpu::DD2424_ISA {
namespace {

// Measured on an Intel Xeon (48 KB and 2 MB of cache a core) and an AMD EPYC of the Zen 4 kind (32 KB and 1 MB).
constexpr Index kBlockBytes = 4096;          // of k in one block: a row of a as packed
constexpr Index kBlockTiles = 16;            // tiles of rows whose packed a stays in the second-level cache
constexpr Index kBlockColumns = 4096;        // of b, packed at once: the third-level cache
constexpr Index kTilesInPlace = 8;           // of rows: packing b costs more than reading its far rows so often
constexpr Index kGrainMacs = 1 << 18;        // multiplications that are worth a thread
constexpr Index kAlonePerProduct = 1 << 22;  // products of a batch as large as this are threaded one by one
constexpr Index kLeastPanelRows = 96, kLeastPanelColumns = 256;  // of c, for threads to pack panels of b as they go
constexpr Index kPanelBuffers = 32;                              // threads that may do so at once
constexpr Index kTeams = 16;         // parts of a batch, or of k, that may run at once, each with its own workspace
constexpr Index kSplitDepth = 2048;  // of k: a part of a split product
constexpr Index kSplitOutputs = 1 << 13;  // elements of c up to which k is split, and dot products are considered
constexpr Index kPageBytes = 4096;        // rows this far apart share cache sets
constexpr Index kRowGapBytes = 5 * 64;    // no page's divisor: packed rows take turns through the sets

// One product, c = a b: the contract's item of a batch with its roles settled.
template <class T>
struct Product {
  Source<T> a, b;  // (m, k), (n, k)
  Output<T> to;
  Index m, n, k;
};

// c^T = b^T a^T is the same product.
template <class T>
Product<T> swapped(const Product<T>& p) {
  Product<T> q{.a = p.b, .b = p.a, .to = p.to, .m = p.n, .n = p.m, .k = p.k};
  q.to.c_row = p.to.c_column, q.to.c_column = p.to.c_row;
  q.to.bias_row = p.to.bias_column, q.to.bias_column = p.to.bias_row;
  return q;
}

// How a product is computed. What decides the order of summation (is_dot, splits, block) follows from sizes and formats
// alone; the rest may look at strides, for it moves no bit.
struct Plan {
  bool is_dot, is_swapped, packs_a, packs_b, copies_a, streams_b;
  bool by_panels;        // a is read in place; each panel of b is packed by the first rows it meets
  int vectors;           // columns of a tile
  Index splits, part;    // parts of k, summed apart, and their depth
  Index block;           // of k within a part
  Index columns;         // of b in one block
  Index tiles_together;  // of rows, packed and multiplied before the next
  Index a_bytes, b_bytes, sums_bytes;
  Index bytes() const { return a_bytes + b_bytes + sums_bytes; }
};

// Whether the matrix lies along k, by which of its strides is the shorter; an expanded one counts as row-major.
template <class T>
bool lies_along_k(const Source<T>& x, Index count, Index k, bool row_major_is_along) {
  if (count <= 1) return true;
  if (k <= 1 || x.across == 0 || x.along == 0) return row_major_is_along;
  return (x.along < 0 ? -x.along : x.along) <= (x.across < 0 ? -x.across : x.across);
}

// Costs in processor cycles, as counted and measured at AVX-512; only their order matters.
template <class T>
struct Costs {
  static constexpr Index lanes = kLanes<Accumulator<T>>;
  static Index packing(Index count, Index k, bool along) { return count * k * (along ? 5 : 2) / lanes; }
  static Index tiles(Index m, Index n, Index k, bool b_along, bool stores_rows) {
    return m * ceil_div(n, lanes) * k / 2 + packing(n, k, b_along) + (stores_rows ? 0 : m * n);
  }
  static Index dots(Index m, Index n, Index k, bool a_along, bool b_along) {
    return m * n * ceil_div(k, lanes) * 9 / 16 + 5 * m * n + (a_along ? 0 : packing(m, k, true)) +
           (b_along ? 0 : packing(n, k, true));
  }
};

template <class T>
bool prefers_dot(const Product<T>& p) {
  const bool a_along = lies_along_k(p.a, p.m, p.k, true), b_along = lies_along_k(p.b, p.n, p.k, false);
  if (p.m == 1 || p.n == 1) return a_along && b_along;  // multiply_vector reads the matrix where it lies
  if (p.m * p.n > kSplitOutputs) return false;
  const Index dots = Costs<T>::dots(p.m, p.n, p.k, a_along, b_along);
  return dots < Costs<T>::tiles(p.m, p.n, p.k, b_along, true) && dots < Costs<T>::tiles(p.n, p.m, p.k, a_along, false);
}
template <class T>
bool prefers_swapped(const Product<T>& p) {
  return Costs<T>::tiles(p.n, p.m, p.k, p.a.across != 1, p.to.c_row == 1) <
         Costs<T>::tiles(p.m, p.n, p.k, p.b.across != 1, p.to.c_column == 1);
}

// Rows that begin a whole number of pages apart lie in the same few sets of the first-level cache.
template <class T>
bool same_sets(const Source<T>& x) {
  return x.across * Index(sizeof(T)) % kPageBytes == 0;
}
// Packed rows are kept from that.
template <class T>
Index dot_row_bytes(Index k) {
  const Index bytes = aligned(k * Index(sizeof(T)));
  return bytes % kPageBytes == 0 ? bytes + kRowGapBytes : bytes;
}

template <class T>
void plan_dot(const Product<T>& p, Plan& plan) {
  const bool collides = same_sets(p.a) && same_sets(p.b);
  plan.packs_a = p.a.along != 1, plan.packs_b = p.b.along != 1;
  plan.copies_a = !std::is_same_v<T, Accumulator<T>> || collides;
  const Index row_bytes = dot_row_bytes<T>(plan.part);
  plan.a_bytes = plan.packs_a ? p.m * row_bytes : 0;
  plan.b_bytes = plan.packs_b ? p.n * row_bytes : 0;
}

template <class T>
void plan_tiles(const Product<T>& p, Plan& plan) {
  using E = Packed<T>;
  constexpr Index lanes = kLanes<E>;
  const Index block = kBlockBytes / Index(sizeof(E)) * Multiply<T>::kDepth, blocks = ceil_div(plan.part, block);
  plan.block = ceil_div(ceil_div(plan.part, blocks), 2) * 2;
  constexpr bool reads_in_place = std::is_same_v<T, E>;  // whatever the shape
  plan.columns = kBlockColumns;
  plan.vectors = p.n <= lanes ? 1 : kTileVectors;
  if (p.m <= tile_rows(4) && p.n > 2 * lanes) plan.vectors = 4;
  if (p.m <= tile_rows(kWidestTile) && p.n > 4 * lanes) plan.vectors = kWidestTile;
  plan.by_panels = kReadsInPlace<T> && tile_rows(kPanelVectors) >= 4 && p.a.along == 1 && p.b.across == 1 &&
                   p.k % Multiply<T>::kDepth == 0 && p.m >= kLeastPanelRows && p.n >= kLeastPanelColumns;
  if (plan.by_panels) plan.vectors = kPanelVectors;
  const Index width = plan.vectors * lanes, tiles = ceil_div(p.m, tile_rows(plan.vectors));
  const Index panels = ceil_div(smaller(p.n, plan.columns), width);
  const Index stride_bytes = (p.a.along == 1 ? p.a.across : p.a.along) * Index(sizeof(T));
  const bool a_collides = stride_bytes % kPageBytes == 0 || (p.a.along != 1 && stride_bytes >= kPageBytes / 2);
  plan.packs_a = !plan.by_panels && (!reads_in_place || panels > 8 || (a_collides && panels > 1));
  plan.packs_b =
      !reads_in_place || p.b.across != 1 || (tiles > kTilesInPlace && p.b.along * Index(sizeof(T)) >= kPageBytes / 4);
  plan.streams_b = plan.packs_b && tiles <= kBlockTiles;
  plan.tiles_together = plan.packs_a ? smaller(tiles, ceil_div(kTeams, panels) * kBlockTiles) : tiles;
  if (plan.packs_a)
    plan.a_bytes = aligned(plan.tiles_together * packed_size<T>(kTileRows, plan.block) * Index(sizeof(E)));
  const Index b_panels = plan.by_panels   ? kPanelBuffers
                         : plan.streams_b ? smaller(panels, kTeams) * kPackedTogether
                         : plan.packs_b   ? panels
                                          : p.n % width != 0;
  plan.b_bytes = aligned(b_panels * packed_size<T>(width, plan.block) * Index(sizeof(E)));
  const bool sums_in_c = std::is_same_v<T, Accumulator<T>> && p.to.c_column == 1;
  if (plan.block < plan.part && plan.splits == 1 && !sums_in_c)
    plan.sums_bytes = aligned(p.m * p.n * Index(sizeof(Accumulator<T>)));
}

// Settles the roles of p's operands and everything else.
template <class T>
Plan plan_product(Product<T>& p) {
  Plan plan{.is_dot = prefers_dot(p), .splits = 1, .part = p.k};
  plan.is_swapped = plan.is_dot ? p.m < p.n : prefers_swapped(p);
  if (plan.is_swapped) p = swapped(p);
  if (p.m * p.n <= kSplitOutputs && p.k >= 2 * kSplitDepth) {
    plan.part = ceil_div(ceil_div(p.k, smaller(p.k / kSplitDepth, kTeams)), kSplitDepth) * kSplitDepth;
    plan.splits = ceil_div(p.k, plan.part);
  }
  plan.is_dot ? plan_dot(p, plan) : plan_tiles(p, plan);
  return plan;
}

}  // namespace
}  // namespace dd2424::cpu::DD2424_ISA
