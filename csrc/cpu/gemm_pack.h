#pragma once
// Packing: a panel of a or b is laid out in the order in which the micro-kernel reads it, whatever its strides were.
#include "cpu/gemm_tile.h"

namespace dd2424::cpu::DD2424_ISA {

// a0 b0 a1 b1 ... from the lower (or upper) halves of a and b.
template <bool Upper, class V>
inline V interleave(V a, V b) {
  constexpr int lanes = sizeof(V) / sizeof(a[0]), first = Upper ? lanes / 2 : 0;
  if constexpr (lanes == 2) {
    return __builtin_shufflevector(a, b, first, 2 + first);
  } else if constexpr (lanes == 4) {
    return __builtin_shufflevector(a, b, first, 4 + first, first + 1, 5 + first);
  } else if constexpr (lanes == 8) {
    return __builtin_shufflevector(a, b, first, 8 + first, first + 1, 9 + first, first + 2, 10 + first, first + 3,
                                   11 + first);
  } else {
    return __builtin_shufflevector(a, b, first, 16 + first, first + 1, 17 + first, first + 2, 18 + first, first + 3,
                                   19 + first, first + 4, 20 + first, first + 5, 21 + first, first + 6, 22 + first,
                                   first + 7, 23 + first);
  }
}

// Each round of interleaving brings one bit of the row number into the lane number.
template <class T>
inline void transpose(Vec<T> (&rows)[kLanes<T>]) {
#pragma GCC unroll 4
  for (int round = 1; round < kLanes<T>; round *= 2) {
    Vec<T> next[kLanes<T>];
#pragma GCC unroll 16
    for (int i = 0; i < kLanes<T> / 2; ++i) {
      next[2 * i] = interleave<false>(rows[i], rows[i + kLanes<T> / 2]);
      next[2 * i + 1] = interleave<true>(rows[i], rows[i + kLanes<T> / 2]);
    }
#pragma GCC unroll 16
    for (int i = 0; i < kLanes<T>; ++i) rows[i] = next[i];
  }
}

// A matrix read for packing: element (i, p) at data + i * across + p * along, where p runs along k.
template <class T>
struct Source {
  const T* data;
  Index across, along;
};

// One or (bfloat16 in pairs) two steps of k, as the micro-kernel wants them. `steps` counts those that exist.
template <class T>
inline Packed<T> packed_element(const T* p, Index along, Index steps) {
  if constexpr (Multiply<T>::kDepth == 2) {
    return p->bits | (steps > 1 ? Packed<T>(p[along].bits) << 16 : 0);
  } else if constexpr (std::is_same_v<T, bfloat16>) {
    return to_float(*p);
  } else {
    return *p;
  }
}
// The same for `count` neighbouring columns: along k lies the other dimension.
template <class T>
inline Vec<Packed<T>> packed_across(const T* p, Index along, Index count, Index steps) {
  constexpr Index lanes = kLanes<Packed<T>>;
  if constexpr (Multiply<T>::kDepth == 2) {
    const auto bits = [&](const T* q) {
      return __builtin_bit_cast(Vec<Packed<T>>, count >= lanes ? load(q) : load(q, count));
    };
    return bits(p) >> 16 | (steps > 1 ? bits(p + along) : Vec<Packed<T>>{});
  } else {
    return count >= lanes ? load(p) : load(p, count);
  }
}
// A vector's worth of steps along k, which are neighbours in memory.
template <class T>
inline Vec<Packed<T>> packed_along(const T* p, Index steps) {
  constexpr Index lanes = kLanes<Packed<T>>;
  if constexpr (Multiply<T>::kDepth == 2) {
    Vec<Packed<T>> pairs{};
    memcpy(&pairs, p, static_cast<std::size_t>(steps < 2 * lanes ? steps : 2 * lanes) * sizeof *p);
    return pairs;
  } else {
    return steps >= lanes ? load(p) : load(p, steps);
  }
}

constexpr Index kPackedTogether = 4;  // panels

// Element (i, p) for i < count goes to out[i / width * panel + p * width + i % width], and zeros fill the last width; p
// counts packed elements, `k` steps. Up to a vector is written beyond what is asked for: see packed_size. A width that
// is not whole vectors holds one panel only.
template <class T>
struct Packing {
  Packed<T>* out;
  Index width, panel;
  Source<T> in;
  Index count, k;
  static constexpr Index lanes = kLanes<Packed<T>>, depth = Multiply<T>::kDepth;
  Index packed_k() const { return (k + depth - 1) / depth; }
  Index vectors() const { return (count + width - 1) / width * ((width + lanes - 1) / lanes); }
  Packed<T>* to(Index vector) const {  // which numbers those of all panels
    const Index per_panel = (width + lanes - 1) / lanes;
    return out + vector / per_panel * panel + vector % per_panel * lanes;
  }
  const T* from(Index vector) const { return in.data + vector * lanes * in.across; }
  Index here(Index vector) const {
    const Index left = count - vector * lanes;
    return left < 0 ? 0 : left < lanes ? left : lanes;
  }
};

// Neighbouring columns, a vector of them or fewer.
template <class T>
struct Strip {
  const T* from;
  Packed<T>* to;
  Index count;
};

// Columns lie side by side. A row is read whole, however many panels it is dealt to: pieces of far rows come slowly.
// What a store writes beyond a width is overwritten by the next row's.
template <class T>
void pack_across(const Strip<T>* strips, Index n, Index width, Index along, Index k) {
  constexpr Index depth = Packing<T>::depth;
  const Index step = depth * along;
  for (Index p = 0; p * depth < k; ++p) {
    for (Index v = 0; v < n; ++v) {
      const T* x = strips[v].from + p * step;
      prefetch_step(x + kRowsAhead * step, along);
      store(strips[v].to + p * width, packed_across(x, along, strips[v].count, k - p * depth));
    }
  }
}

// Rows lie along k: square blocks are transposed.
template <class T>
void pack_along(const Packing<T>& a, Index vector) {
  constexpr Index lanes = Packing<T>::lanes;
  const Index here = a.here(vector), packed_k = a.packed_k();
  for (Index p = 0; p < packed_k; p += lanes) {
    const T* rows = a.from(vector) + p * a.depth;
    Vec<Packed<T>> block[lanes];
#pragma GCC unroll 16
    for (Index i = 0; i < lanes; ++i)
      block[i] = i < here ? packed_along(rows + i * a.in.across, a.k - p * a.depth) : Vec<Packed<T>>{};
    transpose<Packed<T>>(block);
    Packed<T>* to = a.to(vector) + p * a.width;
    if (p + lanes <= packed_k) {
#pragma GCC unroll 16
      for (Index q = 0; q < lanes; ++q) store(to + q * a.width, block[q]);
    } else {
      for (Index q = 0; q < packed_k - p; ++q) store(to + q * a.width, block[q]);
    }
  }
}

template <class T>
void pack_any(const Packing<T>& a, Index vector) {
  for (Index p = 0; p < a.packed_k(); ++p) {
    Vec<Packed<T>> v{};
    for (Index i = 0; i < a.here(vector); ++i)
      v[i] = packed_element(a.from(vector) + i * a.in.across + p * a.depth * a.in.along, a.in.along, a.k - p * a.depth);
    store(a.to(vector) + p * a.width, v);
  }
}

template <class T>
void pack(const Packing<T>& a) {
  if (a.in.across == 1) {
    constexpr Index at_once = kPackedTogether * kWidestTile;
    Strip<T> strips[at_once];
    for (Index v = 0; v < a.vectors(); v += at_once) {
      const Index n = a.vectors() - v < at_once ? a.vectors() - v : at_once;
      for (Index i = 0; i < n; ++i) strips[i] = {a.from(v + i), a.to(v + i), a.here(v + i)};
      pack_across(strips, n, a.width, a.in.along, a.k);
    }
    return;
  }
  // From the last to the first: each overwrites what the one after it wrote beyond the width.
  for (Index v = a.vectors() - 1; v >= 0; --v) a.in.along == 1 ? pack_along(a, v) : pack_any(a, v);
}
template <class T>
constexpr Index packed_size(Index width, Index k) {  // elements
  constexpr Index lanes = kLanes<Packed<T>>, depth = Multiply<T>::kDepth;
  return ((k + depth - 1) / depth * width + 2 * lanes - 1) / lanes * lanes;
}

}  // namespace dd2424::cpu::DD2424_ISA
