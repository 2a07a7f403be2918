#pragma once
// Sorting words: numbers of 64 bits, all of them different. By AVX-512 a quicksort that divides a vector at a time,
// down to a network over 64 words; elsewhere byte by byte, by counting.
#include <string.h>

#include "core/parallel.h"
#include "cpu/shuffle.h"
#include "cpu/sizes.h"

namespace dd2424::cpu::DD2424_ISA {
namespace {

using Word = std::uint64_t;
struct Range {
  Index first, last;
};

constexpr Index kSpareWords = 128;  // what the spare memory of n words must hold beyond n

inline void insertion_sort(Word* w, Index n) {
  for (Index i = 1; i < n; ++i) {
    const Word x = w[i];
    Index j = i;
    for (; j > 0 && w[j - 1] > x; --j) w[j] = w[j - 1];
    w[j] = x;
  }
}

// From the lowest byte that counts to the highest, each pass keeping the order of the one before. Where a byte is the
// same in all words nothing moves.
[[gnu::noinline]] void radix_sort(Word* w, Index n, Word* spare, int lowest) {
  constexpr int bytes = sizeof(Word), digits = 256;
  std::uint32_t counts[bytes][digits];
  memset(counts[lowest], 0, static_cast<std::size_t>(bytes - lowest) * sizeof counts[0]);
  for (Index i = 0; i < n; ++i)
    for (int byte = lowest; byte < bytes; ++byte) ++counts[byte][w[i] >> 8 * byte & (digits - 1)];
  Word *from = w, *to = spare;
  for (int byte = lowest; byte < bytes; ++byte) {
    std::uint32_t (&count)[digits] = counts[byte];
    if (count[from[0] >> 8 * byte & (digits - 1)] == n) continue;
    std::uint32_t place = 0;
    for (std::uint32_t& each : count) {
      const std::uint32_t here = each;
      each = place;
      place += here;
    }
    for (Index i = 0; i < n; ++i) to[count[from[i] >> 8 * byte & (digits - 1)]++] = from[i];
    Word* const filled = to;
    to = from;
    from = filled;
  }
  if (from != w) memcpy(w, from, static_cast<std::size_t>(n) * sizeof(Word));
}

#if defined(__AVX512F__)

using Words = Vec<Word>;
constexpr Index kLane = kLanes<Word>;
constexpr Index kBase = kLane * kLane;  // words that a network sorts
constexpr Index kFew = 12;              // words that are quicker put in one by one
constexpr Index kNinther = 512;         // from so many words on a pivot is worth nine looks
constexpr Index kLong = 1 << 15;        // words worth a second thread
constexpr int kParts = 8;               // among which they are divided first

inline Words lower(Words a, Words b) { return (Words)_mm512_maskz_min_epu64(0xff, (__m512i)a, (__m512i)b); }
inline Words upper(Words a, Words b) { return (Words)_mm512_maskz_max_epu64(0xff, (__m512i)a, (__m512i)b); }
inline void exchange(Words& a, Words& b) {
  const Words low = lower(a, b);
  b = upper(a, b);
  a = low;
}
// Of lanes i and i ^ distance the one without that bit gets the smaller word.
template <int distance, int upper_lanes>
inline Words exchange_lanes(Words v) {
  const Words other = __builtin_shufflevector(v, v, 0 ^ distance, 1 ^ distance, 2 ^ distance, 3 ^ distance,
                                              4 ^ distance, 5 ^ distance, 6 ^ distance, 7 ^ distance);
  return (Words)_mm512_mask_max_epu64((__m512i)lower(v, other), upper_lanes, (__m512i)v, (__m512i)other);
}
inline Words reversed(Words v) { return __builtin_shufflevector(v, v, 7, 6, 5, 4, 3, 2, 1, 0); }

// N vectors, of which the first half and the second are in order, in order: Batcher's bitonic merge.
template <int N>
[[gnu::always_inline]] inline void merge(Words* v) {
#pragma GCC unroll 8
  for (int i = 0; i < N / 4; ++i) {
    const Words last = reversed(v[N - 1 - i]);
    v[N - 1 - i] = reversed(v[N / 2 + i]);
    v[N / 2 + i] = last;
  }
  if constexpr (N == 2) v[1] = reversed(v[1]);
#pragma GCC unroll 4
  for (int half = N / 2; half >= 1; half /= 2)
#pragma GCC unroll 8
    for (int i = 0; i < N; ++i)
      if (!(i & half)) exchange(v[i], v[i + half]);
#pragma GCC unroll 8
  for (int i = 0; i < N; ++i) v[i] = exchange_lanes<1, 0xaa>(exchange_lanes<2, 0xcc>(exchange_lanes<4, 0xf0>(v[i])));
}

// At most kBase words: lane by lane down the vectors (Batcher's network for eight), turned on their side, and merged.
[[gnu::noinline]] void sort_few(Word* w, Index n) {
  constexpr int kPairs[][2] = {{0, 1}, {2, 3}, {4, 5}, {6, 7}, {0, 2}, {1, 3}, {4, 6}, {5, 7}, {1, 2}, {5, 6},
                               {0, 4}, {1, 5}, {2, 6}, {3, 7}, {2, 4}, {3, 5}, {1, 2}, {3, 4}, {5, 6}};
  Words v[kLane];
#pragma GCC unroll 8
  for (Index i = 0; i < kLane; ++i)
    v[i] = load(w + i * kLane, larger(0, smaller(kLane, n - i * kLane)), ~Word(0));  // ahead of none
#pragma GCC unroll 19
  for (const auto& [a, b] : kPairs) exchange(v[a], v[b]);
  transpose(v);
#pragma GCC unroll 4
  for (int i = 0; i < 8; i += 2) merge<2>(v + i);
  merge<4>(v);
  merge<4>(v + 4);
  merge<8>(v);
#pragma GCC unroll 8
  for (Index i = 0; i < kLane; ++i) store(w + i * kLane, v[i], larger(0, smaller(kLane, n - i * kLane)));
}

// Moves the words below the pivot before the others, and says how many they are.
[[gnu::noinline]] Index divide(Word* w, Index n, Word pivot, Word* spare) {
  const __m512i middle = (__m512i)broadcast(pivot);
  Index left = 0, right = 0, i = 0;
  const auto part = [&](Words v, unsigned lanes, const auto& put) {
    const unsigned below = _mm512_mask_cmplt_epu64_mask(__mmask8(lanes), (__m512i)v, middle);
    const unsigned others = lanes & ~below;
    put(w + left, (Words)_mm512_maskz_compress_epi64(__mmask8(below), (__m512i)v), below);
    store(spare + right, (Words)_mm512_maskz_compress_epi64(__mmask8(others), (__m512i)v));
    left += __builtin_popcount(below);
    right += __builtin_popcount(others);
  };
  for (; i + kLane <= n; i += kLane)  // what is written over has been read
    part(load(w + i), 0xff, [](Word* to, Words v, unsigned) { store(to, v); });
  if (i < n)
    part(load(w + i, n - i), static_cast<unsigned>(first_lanes<Word>(n - i)),
         [](Word* to, Words v, unsigned lanes) { store(to, v, __builtin_popcount(lanes)); });
  memcpy(w + left, spare, static_cast<std::size_t>(right) * sizeof(Word));
  return left;
}

constexpr Word median(Word a, Word b, Word c) {
  const Word low = a < b ? a : b, high = a < b ? b : a;
  return c < low ? low : c < high ? c : high;
}
// Never the smallest word, so that neither part is empty.
inline Word pivot_of(const Word* w, Index n) {
  const Index step = n / 9;
  const auto at = [=](Index i) { return w[i * step]; };
  if (n < kNinther) return median(at(1), at(4), at(7));
  return median(median(at(0), at(3), at(6)), median(at(1), at(4), at(7)), median(at(2), at(5), at(8)));
}

// A row made to mislead the pivots is sorted by counting after `depth` divisions.
void quicksort(Word* w, Index n, Range wanted, Word* spare, int depth) {
  while (n > kBase) {
    if (depth-- == 0) return radix_sort(w, n, spare, 0);
    const Index left = divide(w, n, pivot_of(w, n), spare);
    if (wanted.first < left) quicksort(w, left, {wanted.first, smaller(wanted.last, left)}, spare, depth);
    if (wanted.last <= left) return;
    w += left, n -= left;
    wanted = {larger(wanted.first - left, 0), wanted.last - left};
  }
  sort_few(w, n);
}
inline int depth_limit(Index n) { return 2 * (64 - __builtin_clzll(static_cast<Word>(n))); }

// The longest part is divided again and again, then all are sorted at the same time.
[[gnu::noinline]] void sort_parts(Word* w, Index n, Word* spare) {
  Index begin[kParts + 1] = {0, n};
  for (int parts = 1; parts < kParts; ++parts) {
    int longest = 0;
    for (int p = 1; p < parts; ++p)
      if (begin[p + 1] - begin[p] > begin[longest + 1] - begin[longest]) longest = p;
    Word* const part = w + begin[longest];
    const Index size = begin[longest + 1] - begin[longest], left = divide(part, size, pivot_of(part, size), spare);
    for (int p = parts; p > longest; --p) begin[p + 1] = begin[p];
    begin[longest + 1] = begin[longest] + left;
  }
  parallel_for(kParts, 1, [&](Index first, Index last) {
    for (Index p = first; p < last; ++p) {
      const Index size = begin[p + 1] - begin[p];
      quicksort(w + begin[p], size, {0, size}, spare + begin[p] + p * kLane, depth_limit(size));
    }
  });
}

inline void sort_strands(Word* w, Index n) { sort_few(w, n); }  // words that may be equal

// Brings the words of the wanted places to them, in order, all smaller ones before and all larger ones behind.
inline void sort_words(Word* w, Index n, Range wanted, Word* spare) {
  if (n <= kFew) return insertion_sort(w, n);
  if (n >= kLong && wanted.first == 0 && wanted.last == n) return sort_parts(w, n, spare);
  quicksort(w, n, wanted, spare, depth_limit(n));
}

#else

constexpr Index kFew = 32;  // words that are quicker put in one by one

inline void sort_strands(Word* w, Index n) { insertion_sort(w, n); }  // words that may be equal

// Brings all words to their places. Where all are wanted, words alike in the upper half come in the order of the lower.
inline void sort_words(Word* w, Index n, Range wanted, Word* spare) {
  constexpr int upper_half = 4;  // bytes below it
  if (n <= kFew) return insertion_sort(w, n);
  radix_sort(w, n, spare, wanted.first == 0 && wanted.last == n ? upper_half : 0);
}

#endif

}  // namespace
}  // namespace dd2424::cpu::DD2424_ISA
