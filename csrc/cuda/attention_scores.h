#pragma once
#include <math.h>

#include "core/random.h"
#include "cuda/attention_tile.h"

// From products to weights: what a query sees, the mask, dropout. Scores are in powers of two, as on the processor.
namespace dd2424::cuda {
namespace {

#include "core/random_functions.h"

constexpr double kLog2E = 1.44269504088896340736;
template <class C>
constexpr C kHidden = -static_cast<C>(HUGE_VALF);  // the score of a key that is not seen
template <class C>
constexpr C kLowest = sizeof(C) == 4 ? C(-0x1.fffffep127) : C(-0x1.fffffffffffffp1023);

struct Range {
  Index begin, end;
};
__host__ __device__ inline Index clamped(Index x, Index low, Index high) { return x < low ? low : x > high ? high : x; }
// Which keys a query sees by its place, and which queries see a key. Both ends grow with the place.
__device__ inline Range seen_by(const AttentionSizes& s, Index query) {
  const Index at = query + s.offset, after = s.is_causal ? at + 1 : s.window ? at + s.window : s.keys;
  return {s.window ? clamped(at - s.window + 1, 0, s.keys) : 0, clamped(after, 0, s.keys)};
}
__device__ inline Range that_see(const AttentionSizes& s, Index key) {
  const Index at = key - s.offset, first = s.is_causal ? at : s.window ? at - s.window + 1 : 0;
  return {clamped(first, 0, s.queries), s.window ? clamped(at + s.window, 0, s.queries) : s.queries};
}

// Where a tile of scores stands: b, h, and its first query and key.
struct Place {
  Index b, h, query, key;
};

// How a thread's square is laid out: row i is a query and column j a key or, where keys lead, the other way round.
template <bool keys_lead, class C>
struct Layout {
  static constexpr int per = Tile<C>::per;
  __device__ static Index query(const Place& at) { return at.query + (keys_lead ? across() : down()) * per; }
  __device__ static Index key(const Place& at) { return at.key + (keys_lead ? down() : across()) * per; }
  __device__ static C& of(Square<C>& square, int q, int k) { return keys_lead ? square.at[k][q] : square.at[q][k]; }
};

// Whether some query of the tile does not see some key of it by its place, or the tile reaches beyond either.
template <class C>
__device__ inline bool is_cut(const AttentionSizes& s, const Place& at) {
  constexpr int rows = Tile<C>::rows;
  const Index last = at.query + rows - 1;
  return last >= s.queries || seen_by(s, at.query).end < at.key + rows || seen_by(s, last).begin > at.key;
}

// What a mask adds to a score, in powers of two: finite stays finite, if only just.
template <class T>
__device__ inline Computed<T> added(T mask) {
  using C = Computed<T>;
  const C x = value(mask), y = x * static_cast<C>(kLog2E);
  return y < kLowest<C> && x >= kLowest<C> ? kLowest<C> : y;
}

// Scores become final: hidden, and masked. A hidden one may have been NaN.
template <bool keys_lead, class T>
__device__ void finish_scores(Square<Computed<T>>& scores, const AttentionSizes& s, const AttentionMask<T>& mask,
                              const Place& at, bool cut) {
  using C = Computed<T>;
  using L = Layout<keys_lead, C>;
  if (!cut && !mask.seen && !mask.added) return;
  const Index query = L::query(at), key = L::key(at);
  const Index first = at.b * mask.batch + at.h * mask.head;
#pragma unroll
  for (int q = 0; q < L::per; ++q) {
    const Range seen = seen_by(s, query + q);
    const bool exists = query + q < s.queries;
#pragma unroll
    for (int k = 0; k < L::per; ++k) {
      C& score = L::of(scores, q, k);
      const Index place = first + (query + q) * mask.query + (key + k) * mask.key;
      if (cut && !(exists && key + k >= seen.begin && key + k < seen.end)) {
        score = kHidden<C>;
      } else if (mask.seen) {
        score = mask.seen[place] ? score : kHidden<C>;
      } else if (mask.added) {
        const C more = added<T>(mask.added[place]);
        score = more == kHidden<C> ? more : score + more;
      }
    }
  }
}

// 0 where dropout takes a weight, else 1 / (1 - p).
struct Dropping {
  Threshold kept;
  double scale;
  Dropping(const AttentionSizes& s) : kept(1 - s.dropout), scale(kept.none ? 0 : 1 / (1 - s.dropout)) {}
};
template <bool keys_lead, class C>
__device__ Square<C> draw_factors(const AttentionSizes& s, const Dropping& dropping, const Place& at) {
  using L = Layout<keys_lead, C>;
  Square<C> factors;
  const Index row = (at.b * s.heads + at.h) * s.queries + L::query(at), key = L::key(at);
#pragma unroll
  for (int q = 0; q < L::per; ++q) {
    const auto words = s.bits(static_cast<std::uint64_t>((row + q) * ((s.keys + 3) / 4) + key / 4));
#pragma unroll
    for (int k = 0; k < L::per; ++k) {
      std::uint32_t word = words[static_cast<std::size_t>(k)];
      if (L::per == 2 && key % 4 != 0) word = words[static_cast<std::size_t>(k + 2)];
      const bool keep = !dropping.kept.none && word <= dropping.kept.last;
      L::of(factors, q, k) = keep ? static_cast<C>(dropping.scale) : C(0);
    }
  }
  return factors;
}
template <class C>
__device__ inline void multiply(Square<C>& x, const Square<C>& y) {
#pragma unroll
  for (int i = 0; i < Tile<C>::per; ++i)
#pragma unroll
    for (int j = 0; j < Tile<C>::per; ++j) x.at[i][j] *= y.at[i][j];
}

}  // namespace
}  // namespace dd2424::cuda
