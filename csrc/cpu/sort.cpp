#include "core/sort.h"

#include "core/table.h"
#include "cpu/sort_search.h"
#include "cpu/sort_words.h"

// An element becomes a key, an unsigned number of the same order; key and place make a word, so that words are all
// different and equal keys stay in the order of their places. Of a key of 64 bits a word has room for 32: the highest
// in which the row's keys differ. Words that come out alike are ordered by what is left.
namespace dd2424::cpu::DD2424_ISA {
namespace {

constexpr int kHalf = 32;  // bits: the key above, the place below
constexpr Word kPlace = (Word(1) << kHalf) - 1;
constexpr Index kGrain = 1 << 14;    // elements worth a second thread
constexpr Index kBlocks = 32;        // of rows: each has memory of its own
constexpr Index kLongRow = 1 << 15;  // from here rows go one by one, each by all threads
constexpr Index kScan = 64;          // elements that are compared with a threshold at once
constexpr Index kCandidates = 128;   // kept beside the best at least

template <class T>
using Key = std::conditional_t<sizeof(T) == 8, std::uint64_t, std::uint32_t>;

template <class T>
constexpr Key<T> kSign = Key<T>(1) << (8 * sizeof(T) - 1);

template <class T>
inline Key<T> key_of(T x) {
  using K = Key<T>;
  if constexpr (std::is_integral_v<T>) {
    return static_cast<K>(x) ^ kSign<T>;
  } else {
    const K bits = x == 0 ? 0 : __builtin_bit_cast(K, x), key = bits & kSign<T> ? ~bits : bits | kSign<T>;
    return x != x ? ~K(0) : key;
  }
}
template <class T>
inline T value_of(Key<T> key) {
  if constexpr (std::is_integral_v<T>) return static_cast<T>(key ^ kSign<T>);
  else return __builtin_bit_cast(T, key & kSign<T> ? key ^ kSign<T> : ~key);
}

template <class V>
inline bool any_of(V hits) {
  const auto words = __builtin_bit_cast(Vec<Word>, hits);
  Word any = 0;
  for (int i = 0; i < kLanes<Word>; ++i) any |= words[i];
  return any != 0;
}

template <class T>
struct Row {
  const T* x;
  Key<T> flip;  // all ones turns the order round
  Key<T> key(Index i) const { return key_of(x[i]) ^ flip; }
};

template <class T>
void order(const Row<T>& row, Word* w, Index n, Range wanted, Word* spare);

inline bool are_alike(Word a, Word b) { return a >> kHalf == b >> kHalf; }
inline void swap(Word& a, Word& b) {
  const Word c = a;
  a = b;
  b = c;
}

// Orders each run of words alike, as far as it is wanted. Those at the ends may have others like them beyond.
template <class T>
void order_alike(const Row<T>& row, Word* w, Index n, Range wanted, Word* spare) {
  Range all = wanted;
  const Word low = w[wanted.first], high = w[wanted.last - 1];
  for (Index i = wanted.last; i < n; ++i)
    if (are_alike(w[i], high)) swap(w[i], w[all.last++]);
  for (Index i = wanted.first - 1; i >= 0; --i)
    if (are_alike(w[i], low)) swap(w[i], w[--all.first]);
  for (Index begin = all.first, end; begin < all.last; begin = end) {
    for (end = begin + 1; end < all.last && are_alike(w[end], w[begin]);) ++end;
    if (end - begin > 1)
      order(row, w + begin, end - begin, {larger(wanted.first - begin, 0), smaller(wanted.last, end) - begin}, spare);
  }
}

// Makes words of the places in w and brings those that are wanted to their places.
template <class T>
void order(const Row<T>& row, Word* w, Index n, Range wanted, Word* spare) {
  using K = Key<T>;
  K lowest = 0;
  int shift = 0;
  if constexpr (sizeof(K) == sizeof(Word)) {
    K highest = 0;
    lowest = ~K(0);
    for (Index i = 0; i < n; ++i) {
      const K key = row.key(static_cast<Index>(w[i] & kPlace));
      lowest = key < lowest ? key : lowest;
      highest = key > highest ? key : highest;
    }
    const K span = highest - lowest;
    if (span >> kHalf != 0) shift = kHalf - __builtin_clzll(span);
  }
  parallel_for(n, kGrain, [&](Index begin, Index end) {
    for (Index i = begin; i < end; ++i) {
      const Word place = w[i] & kPlace;
      w[i] = Word(row.key(static_cast<Index>(place)) - lowest) >> shift << kHalf | place;
    }
  });
  sort_words(w, n, wanted, spare);
  if (shift > 0) order_alike(row, w, n, wanted, spare);
}

// A key that at least k <= kScan of the row do not exceed: the k-th of the best of kScan strands.
template <class T>
Key<T> first_bound(const Row<T>& row, Index n, Index k) {
  constexpr Index lanes = kLanes<T>, vectors = kScan / lanes;
  Vec<T> best[vectors];
  for (Index v = 0; v < vectors; ++v) best[v] = load(row.x + v * lanes);
  for (Index i = kScan; i + kScan <= n; i += kScan)
#pragma GCC unroll 8
    for (Index v = 0; v < vectors; ++v) {
      const Vec<T> x = load(row.x + i + v * lanes);
      best[v] = (row.flip ? x > best[v] : x < best[v]) ? x : best[v];
    }
  Word words[kScan];
  for (Index j = 0; j < kScan; ++j) words[j] = key_of(T(best[j / lanes][j % lanes])) ^ row.flip;
  sort_strands(words, kScan);
  return static_cast<Key<T>>(words[k - 1]);
}

// Whether one of the kScan elements from i on may be as good as the limit. A NaN may.
template <class T>
inline bool has_candidate(const Row<T>& row, T limit, Index i) {
  constexpr Index lanes = kLanes<T>;
  const auto is_worse = [&](Index at) {
    const Vec<T> x = load(row.x + at);
    return row.flip ? x < limit : x > limit;
  };
  auto worse = is_worse(i);
#pragma GCC unroll 16
  for (Index at = lanes; at < kScan; at += lanes) worse &= is_worse(i + at);
  return any_of(~worse);
}

// Appends the places first ... first + count - 1 whose keys are below the limit.
template <class T>
inline Index append_below(const Row<T>& row, Key<T> limit, Index first, Index count, Word* w, Index kept) {
  for (Index i = first; i < first + count; ++i) {
    w[kept] = static_cast<Word>(i);
    kept += row.key(i) < limit;
  }
  return kept;
}

// The first k of a row: whoever may be among them is put behind the best so far, and when there is no more room for
// others, all are ordered and the best k stay.
template <class T>
void order_best(const Row<T>& row, Index n, Index k, Word* w, Index room, Word* spare) {
  using K = Key<T>;
  Index i = 0, kept = 0;
  K limit = k < kScan ? first_bound(row, n, k) : ~K(0);
  if (limit != ~K(0)) {
    ++limit;
  } else {
    for (; i < room; ++i) w[i] = static_cast<Word>(i);
    kept = room;
  }
  while (i < n) {
    if (kept + kScan > room) {
      order(row, w, kept, {0, k}, spare);
      kept = k;
      limit = row.key(static_cast<Index>(w[k - 1] & kPlace));
    }
    const T value = value_of<T>(limit ^ row.flip);
    for (; i + kScan <= n && kept + kScan <= room; i += kScan) {
      if (has_candidate(row, value, i)) kept = append_below(row, limit, i, kScan, w, kept);
    }
    if (i + kScan > n && kept + kScan <= room) {
      kept = append_below(row, limit, i, n - i, w, kept);
      i = n;
    }
  }
  order(row, w, kept, {0, k}, spare);
}

template <class T>
Range wanted_places(const Sort<T>& a, const Row<T>& row) {
  if (a.rank == Rank::stated) return {a.first, a.last};
  Index nans = 0;
  if constexpr (std::is_floating_point_v<T>)
    for (Index i = 0; i < a.n; ++i) nans += row.x[i] != row.x[i];
  Index rank = larger(a.n - nans - 1, 0) / 2;
  if (a.rank == Rank::median && nans > 0) rank = a.n - nans;
  return {rank, rank + 1};
}

template <class T>
void sort_row(const Sort<T>& a, Index r, Word* w, Word* spare) {
  const Row<T> row{a.x + r * a.n, a.descending ? ~Key<T>(0) : Key<T>(0)};
  const Range wanted = wanted_places(a, row);
  const Index room = 2 * wanted.last + kCandidates;
  if (wanted.first == 0 && room < a.n) {
    order_best(row, a.n, wanted.last, w, room, spare);
  } else {
    for (Index i = 0; i < a.n; ++i) w[i] = static_cast<Word>(i);
    order(row, w, a.n, wanted, spare);
  }
  const Index count = wanted.last - wanted.first;
  T* const values = a.values + r * count;
  std::int64_t* const indices = a.indices + r * count;
  const Word* const from = w + wanted.first;
  parallel_for(count, kGrain, [&](Index begin, Index end) {
    for (Index i = begin; i < end; ++i) {
      indices[i] = static_cast<std::int64_t>(from[i] & kPlace);
      values[i] = row.x[indices[i]];
    }
  });
}

inline Index blocks_of(Index rows, Index n) { return n >= kLongRow ? 1 : smaller(rows, kBlocks); }
inline Index words_of(Index n) { return 2 * n + kSpareWords; }

std::size_t sort_workspace(Index rows, Index n) {
  return static_cast<std::size_t>(blocks_of(rows, n) * words_of(n)) * sizeof(Word);
}

template <class T>
Status sort(const Context& context, const Sort<T>& a) {
  const Index blocks = blocks_of(a.rows, a.n);
  parallel_for(blocks, kGrain * blocks / (a.rows * a.n) + 1, [&](Index begin, Index end) {
    for (Index b = begin; b < end; ++b) {
      Word* const w = static_cast<Word*>(context.workspace) + b * words_of(a.n);
      for (Index r = a.rows * b / blocks; r < a.rows * (b + 1) / blocks; ++r) sort_row(a, r, w, w + a.n);
    }
  });
  return Status::ok;
}

template <class T>
constexpr SortKernels<T> kSort{
    .sort = sort<T>, .sort_workspace = sort_workspace, .search = search<T>, .running_extreme = running_extreme<T>};

}  // namespace
}  // namespace dd2424::cpu::DD2424_ISA

namespace dd2424 {

DD2424_TABLE(SortKernels<float>, cpu::DD2424_ISA::kSort<float>)
DD2424_TABLE(SortKernels<double>, cpu::DD2424_ISA::kSort<double>)
DD2424_TABLE(SortKernels<std::int64_t>, cpu::DD2424_ISA::kSort<std::int64_t>)
DD2424_TABLE(SortKernels<std::int32_t>, cpu::DD2424_ISA::kSort<std::int32_t>)

}  // namespace dd2424
