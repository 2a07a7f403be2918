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

constexpr Index kRowsAhead = 16;  // rows are far apart, and no processor foresees the next

// out[p * width + i] = element (i, p) for i < count, 0 for the rest of the width; p counts packed elements, `k` steps.
// Up to a vector is written beyond what is asked for: see packed_size.
template <class T>
void pack(Packed<T>* out, Index width, const Source<T>& in, Index count, Index k) {
  constexpr Index lanes = kLanes<Packed<T>>, depth = Multiply<T>::kDepth;
  const Index packed_k = (k + depth - 1) / depth;
  // Blocks of lanes run from the last to the first: each overwrites what the one after it wrote beyond the width.
  for (Index from = (width - 1) / lanes * lanes; from >= 0; from -= lanes) {
    const T* rows = in.data + from * in.across;
    const Index here = count - from < 0 ? 0 : count - from < lanes ? count - from : lanes;
    if (in.across == 1) {
      for (Index p = 0; p < packed_k; ++p) {
        __builtin_prefetch(rows + (p + kRowsAhead) * depth * in.along);
        store(out + p * width + from, packed_across(rows + p * depth * in.along, in.along, here, k - p * depth));
      }
    } else if (in.along == 1) {
      for (Index p = 0; p < packed_k; p += lanes) {
        Vec<Packed<T>> block[lanes];
#pragma GCC unroll 16
        for (Index i = 0; i < lanes; ++i)
          block[i] = i < here ? packed_along(rows + i * in.across + p * depth, k - p * depth) : Vec<Packed<T>>{};
        transpose<Packed<T>>(block);
        Packed<T>* to = out + p * width + from;
        if (p + lanes <= packed_k) {
#pragma GCC unroll 16
          for (Index q = 0; q < lanes; ++q) store(to + q * width, block[q]);
        } else {
          for (Index q = 0; q < packed_k - p; ++q) store(to + q * width, block[q]);
        }
      }
    } else {
      for (Index p = 0; p < packed_k; ++p) {
        Vec<Packed<T>> v{};
        for (Index i = 0; i < here; ++i)
          v[i] = packed_element(rows + i * in.across + p * depth * in.along, in.along, k - p * depth);
        store(out + p * width + from, v);
      }
    }
  }
}
template <class T>
constexpr Index packed_size(Index width, Index k) {  // elements
  constexpr Index lanes = kLanes<Packed<T>>, depth = Multiply<T>::kDepth;
  return ((k + depth - 1) / depth * width + 2 * lanes - 1) / lanes * lanes;
}

}  // namespace dd2424::cpu::DD2424_ISA
