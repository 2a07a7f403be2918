#pragma once
// The micro-kernel: a tile of c stays in registers while k runs. It is compiled for every number of rows, so that
// cutting m into tiles wastes nothing, and for one and two vectors of columns; few rows take wider tiles.
#include "core/types.h"
#include "cpu/vec.h"

namespace dd2424::cpu::DD2424_ISA {

// How packed elements are multiplied: in the accumulator's type.
template <class T>
struct Multiply {
  using Element = Accumulator<T>;
  static constexpr Index kDepth = 1;  // steps of k in one packed element
  static Vec<Element> add(Vec<Element> a, Vec<Element> b, Vec<Element> c) { return fma(a, b, c); }
};
#if defined(DD2424_ISA_IS_avx512_bf16)
template <>
struct Multiply<bfloat16> {
  using Element = std::uint32_t;  // two bfloat16, the earlier in the lower half
  static constexpr Index kDepth = 2;
  static Vec<float> add(Vec<Element> a, Vec<Element> b, Vec<float> c) {
    asm("vdpbf16ps %2, %1, %0" : "+v"(c) : "v"(a), "v"(b));  // Clang 16 crashes on a broadcast given to the intrinsic
    return c;
  }
};
#endif
template <class T>
using Packed = typename Multiply<T>::Element;
// Whether operands can be read where they lie: packed elements are there as they are, or a row's pairs make them.
template <class T>
constexpr bool kReadsInPlace = std::is_same_v<T, Packed<T>> || Multiply<T>::kDepth == 2;

template <class T>
inline Packed<T> load_element(const T* p) {  // which begins there, aligned for T alone
  Packed<T> x;
  __builtin_memcpy(&x, p, sizeof x);
  return x;
}
template <class T>
inline Vec<Packed<T>> load_elements(const T* p) {
  return __builtin_bit_cast(Vec<Packed<T>>, load(reinterpret_cast<const Packed<T>*>(p)));
}

// Accumulators, one row of b and one element of a fill the registers (without fused multiply-add, products need some).
constexpr int kRegisters = kVectorBytes == 64 ? 32 : kVectorBytes == 32 ? 16 : 12;
constexpr int kTileVectors = 2;
constexpr int kTileRows = (kRegisters - kTileVectors - 1) / kTileVectors;
constexpr int kWidestTile = 8;          // vectors
constexpr int tile_rows(int vectors) {  // 1, 2, 4 or 8 vectors
  const int rows = (kRegisters - vectors - 1) / vectors;
  return rows < 1 ? 1 : rows > kTileRows ? kTileRows : rows;
}

constexpr int kPanelVectors = 4;  // columns of a tile whose a is read in place: few rows, for they may share cache sets

// Pointers and strides count elements of T, wherever they lead. A step of depth is a packed element.
template <class T>
struct TileInput {
  const T* a;             // (rows, depth)
  const T* b;             // (depth, columns), columns contiguous
  Index a_row, a_column;  // used where a is not packed
  Index b_row;
  Index depth;
  const T* ahead;  // read soon, brought to the second-level cache: the next rows of an a in place, or of packed panels
                   // half a vector for each step
  Packed<T>* b_copy = nullptr;  // where b, read in place, is left packed
};
// What a tile reads. Packed, a lies as the packing leaves it, kTileRows elements for each step of k.
enum class Reads { packed_a, a_in_place, both_in_place_and_packs_b };
// Where a tile's sums go: out = alpha * sums + before_scale * before + bias, clamped below at 0 if `relu`.
template <class Acc>
struct TileOutput {
  Acc* out;
  Index out_row;
  const Acc* before = nullptr;       // as out, or null
  const Acc* bias = nullptr;         // by column, or null
  const Acc* bias_by_row = nullptr;  // or by row
  Index before_row = 0;
  Acc alpha = 1, before_scale = 1;
  bool relu = false;
  bool is_sum() const { return !bias && !bias_by_row && !relu && alpha == 1; }  // of what was there and of the tile
};

// Stores rows of sums, `vectors` long each, of which `columns` elements exist. Not inlined: the micro-kernels share it.
template <class Acc>
[[gnu::noinline]] void store_tile(const TileOutput<Acc>& to, Index rows, Index vectors, Index columns,
                                  const Vec<Acc>* sums) {
  constexpr Index lanes = kLanes<Acc>;
  for (Index i = 0; i < rows; ++i, sums += vectors) {
    const auto store_vector = [&](Index j, const auto& read, const auto& write) {
      Vec<Acc> x = sums[j / lanes] * to.alpha;
      if (to.before) x = fma(read(to.before + i * to.before_row + j), broadcast(to.before_scale), x);
      if (to.bias) x += read(to.bias + j);
      if (to.bias_by_row) x += to.bias_by_row[i];
      if (to.relu) x = x < Acc(0) ? Vec<Acc>{} : x;  // a NaN stays one
      write(to.out + i * to.out_row + j, x);
    };
    Index j = 0;
    for (; j + lanes <= columns; j += lanes)
      store_vector(j, [](const Acc* p) { return load(p); }, [](Acc* p, Vec<Acc> x) { store(p, x); });
    if (const Index left = columns - j; left > 0) {
      store_vector(
          j, [left](const Acc* p) { return load(p, left); }, [left](Acc* p, Vec<Acc> x) { store(p, x, left); });
    }
  }
}

constexpr Index kRowsAhead = 16;         // rows are far apart, and no processor foresees the next
constexpr Index kStepsBeforeStore = 32;  // of k: the first-level cache forgets sooner what was fetched before them

template <class T>
[[gnu::always_inline]] inline void prefetch_rows(T* x, Index row, int rows, Index columns) {
  for (int i = 0; i < rows; ++i)
    for (Index j = 0; j < columns; j += 64 / Index(sizeof(T))) __builtin_prefetch(x + i * row + j, 1);
}

// A step's elements of neighbouring columns; one of two rows interleaves them.
template <class T>
inline Vec<Packed<T>> load_step(const T* p, Index along) {
  if constexpr (Multiply<T>::kDepth == 2) {
    return __builtin_bit_cast(Vec<Packed<T>>, load(p)) >> 16 | __builtin_bit_cast(Vec<Packed<T>>, load(p + along));
  } else {
    return load(p);
  }
}
template <class T>
inline void prefetch_step(const T* p, Index along) {
  __builtin_prefetch(p);
  if constexpr (Multiply<T>::kDepth == 2) __builtin_prefetch(p + along);
}

template <class T, int Rows, int Vectors, Reads From>
void tile(const TileInput<T>& in, const TileOutput<Accumulator<T>>& to, Index columns) {
  using Acc = Accumulator<T>;
  constexpr Index lanes = kLanes<Acc>;
  constexpr bool is_packed = From == Reads::packed_a, packs_b = From == Reads::both_in_place_and_packs_b;
  constexpr Index size = sizeof(Packed<T>) / sizeof(T), depth = Multiply<T>::kDepth;
  const Index a_row = is_packed ? size : in.a_row, a_column = is_packed ? kTileRows * size : in.a_column;
  Vec<Acc> sums[Rows][Vectors] = {};
  const T* a = in.a;
  const T* b = in.b;
  Index p = 0, stop = in.depth - kStepsBeforeStore;
#pragma GCC unroll 1
  for (int part = 0; part < 2; ++part, stop = in.depth) {
    for (; p < stop; ++p, a += a_column, b += in.b_row) {
      const Index ahead = is_packed ? p * (size * kLanes<Packed<T>> / 2) : (p & 7) * a_row + (p & ~Index(7)) * a_column;
      __builtin_prefetch(in.ahead + ahead, 0, 2);
      Vec<Packed<T>> columns_of_b[Vectors];
#pragma GCC unroll 8
      for (int v = 0; v < Vectors; ++v) {
        if constexpr (packs_b) {
          columns_of_b[v] = load_step(b + v * lanes, in.b_row / depth);
          store(in.b_copy + (p * Vectors + v) * lanes, columns_of_b[v]);
          prefetch_step(b + kRowsAhead * in.b_row + v * lanes, in.b_row / depth);
        } else {
          columns_of_b[v] = load_elements(b + v * lanes * size);
        }
      }
#pragma GCC unroll 16
      for (int i = 0; i < Rows; ++i) {
        const Vec<Packed<T>> element = broadcast(load_element(a + i * a_row));
#pragma GCC unroll 8
        for (int v = 0; v < Vectors; ++v) sums[i][v] = Multiply<T>::add(element, columns_of_b[v], sums[i][v]);
      }
    }
    if (part == 0) prefetch_rows(to.out, to.out_row, Rows, Vectors * lanes);
  }
  if (to.is_sum() && columns == Vectors * lanes) {
    const auto each = [&](const auto& store_vector) {
#pragma GCC unroll 16
      for (int i = 0; i < Rows; ++i)
#pragma GCC unroll 8
        for (int v = 0; v < Vectors; ++v) store_vector(i, v * lanes, sums[i][v]);
    };
    if (to.before) {
      const Vec<Acc> scale = broadcast(to.before_scale);
      each([&](int i, Index j, Vec<Acc> x) {
        store(to.out + i * to.out_row + j, fma(load(to.before + i * to.before_row + j), scale, x));
      });
    } else {
      each([&](int i, Index j, Vec<Acc> x) { store(to.out + i * to.out_row + j, x); });
    }
  } else {
    Vec<Acc> spilled[Rows * Vectors];
#pragma GCC unroll 16
    for (int i = 0; i < Rows; ++i)
#pragma GCC unroll 8
      for (int v = 0; v < Vectors; ++v) spilled[i * Vectors + v] = sums[i][v];
    store_tile(to, Rows, Vectors, columns, spilled);
  }
}

template <class T>
using TileKernel = void (*)(const TileInput<T>&, const TileOutput<Accumulator<T>>&, Index columns);

template <class T, int Vectors, Reads From>
struct TileKernels {
  TileKernel<T> of_rows[kTileRows + 1] = {};
  constexpr TileKernels() { fill<tile_rows(Vectors)>(); }

 private:
  template <int Rows>
  constexpr void fill() {
    of_rows[Rows] = tile<T, Rows, Vectors, From>;
    if constexpr (Rows > 1) fill<Rows - 1>();
  }
};
template <class T, Reads From>
const TileKernel<T>* tile_kernels(int vectors) {  // by the number of rows
  static constexpr TileKernels<T, 1, From> kOne;
  static constexpr TileKernels<T, 2, From> kTwo;
  static constexpr TileKernels<T, 4, From> kFour;
  static constexpr TileKernels<T, 8, From> kEight;
  return vectors == 1 ? kOne.of_rows : vectors == 2 ? kTwo.of_rows : vectors == 4 ? kFour.of_rows : kEight.of_rows;
}
template <class T>
const TileKernel<T>* tile_kernels(int vectors, bool is_packed, bool packs_b) {
  if constexpr (kReadsInPlace<T>) {
    static constexpr TileKernels<T, kPanelVectors, Reads::both_in_place_and_packs_b> kPacking;
    if (packs_b) return kPacking.of_rows;
    if (!is_packed) return tile_kernels<T, Reads::a_in_place>(vectors);
  }
  return tile_kernels<T, Reads::packed_a>(vectors);
}

}  // namespace dd2424::cpu::DD2424_ISA
