#pragma once
// Blocks of queries meet blocks of keys. Scores are held transposed, (keys, queries): with queries in the lanes the
// softmax needs no sum over lanes, and rows of q, k, v and dy serve as they lie in memory. What a tile of registers
// multiplies is the product's own micro-kernel.
#include "core/attention.h"
#include "cpu/gemm_tile.h"
#include "cpu/shuffle.h"
#include "cpu/sizes.h"

namespace dd2424::cpu::DD2424_ISA {

extern template const TileKernel<float>* tile_kernels<float, Reads::a_in_place>(int);  // in gemm.cpp
extern template const TileKernel<double>* tile_kernels<double, Reads::a_in_place>(int);

namespace {

// Measured on an AMD EPYC of the Zen 4 kind: what a block needs stays in half of a second-level cache of 1 MB.
constexpr Index kQueries = 96;    // most of a block
constexpr Index kRow = kQueries;  // from one row of scores to the next; no power of two, which would share cache sets
constexpr Index kKeys = 256;      // most of a block; a multiple of 4, as Philox's blocks are
constexpr Index kShort = 512;     // queries up to which blocks are smaller: the causal rule then cuts off more
constexpr Index kGrainMacs = 1 << 18;  // multiplications that are worth a thread

constexpr Index query_block(Index queries) { return queries > kQueries && queries <= kShort ? 64 : kQueries; }
constexpr Index key_block_forward(Index queries) { return queries > kShort ? 192 : kKeys; }
constexpr Index key_block_backward(Index queries) { return queries > kShort ? 192 : 128; }

struct Range {
  Index begin, end;
  Index count() const { return end > begin ? end - begin : 0; }
};
constexpr Index clamped(Index x, Index low, Index high) { return smaller(larger(x, low), high); }

// Which keys a query sees by its place, and which queries see a key. Both ends grow with the place.
struct Band {
  Index queries, keys, offset, window;
  bool is_causal;
  explicit Band(const AttentionSizes& s)
      : queries(s.queries), keys(s.keys), offset(s.offset), window(s.window), is_causal(s.is_causal) {}
  Range seen_by(Index query) const {
    const Index at = query + offset, after = is_causal ? at + 1 : window ? at + window : keys;
    return {window ? clamped(at - window + 1, 0, keys) : 0, clamped(after, 0, keys)};
  }
  Range that_see(Index key) const {
    const Index at = key - offset, first = is_causal ? at : window ? at - window + 1 : 0;
    return {clamped(first, 0, queries), window ? clamped(at + window, 0, queries) : queries};
  }
};

struct Block {
  Band band;
  Range query, key;
  bool is_cut;  // some query does not see some key by its place
  Block(const Band& band, Range query, Range key) : band(band), query(query), key(key) {
    is_cut = band.seen_by(query.begin).end < key.end || band.seen_by(query.end - 1).begin > key.begin;
  }
  Index queries() const { return query.count(); }
  Index keys() const { return key.count(); }
  // Counted within the block: keys that any of the `count` queries from `first` on sees, and the other way round.
  Range seen_by(Index first, Index count) const {
    if (!is_cut) return {0, keys()};
    const Index last = smaller(first + count, queries()) - 1;
    return within(band.seen_by(query.begin + first).begin, band.seen_by(query.begin + last).end, key);
  }
  Range that_see(Index first, Index count) const {
    if (!is_cut) return {0, queries()};
    return within(band.that_see(key.begin + first).begin, band.that_see(key.begin + first + count - 1).end, query);
  }

 private:
  static Range within(Index begin, Index end, Range block) {
    const Index first = clamped(begin - block.begin, 0, block.count());
    return {first, larger(first, clamped(end - block.begin, 0, block.count()))};
  }
};

// What one thread works in. Rows of scores are kRow apart.
template <class T>
struct Work {
  T *q_across, *dy_across;  // (features, kRow): a block of q and of dy, transposed
  T *weights, *slopes;      // (kKeys, kRow): scores, then their exponentials; gradients by the scores
  T* extra;                 // (kKeys, kRow): what a mask adds, or what dropout multiplies with
  T* lines;                 // (kLanes, kKeys): rows of `extra` before they are transposed
  T* sums;                  // (kQueries, a row): of y, of dq
  T *top, *total, *factor;  // (kQueries)
  T *q_rows, *dy_rows;      // (kQueries, a row): copies, where rows are no whole vectors
  T *k_rows, *v_rows;       // (kKeys, a row)
};

template <class T>
constexpr Index padded(Index count) {
  return ceil_div(count, kLanes<T>) * kLanes<T>;
}

// Lays it out from `at` on, or nowhere, and returns the bytes it takes.
template <class T>
inline Index lay_out(Work<T>& w, char* at, const AttentionSizes& s) {
  Index bytes = 0;
  const auto take = [&](T*& array, Index count) {
    array = at ? reinterpret_cast<T*>(at + bytes) : nullptr;
    bytes += aligned(count * Index(sizeof(T)));
  };
  const auto copies = [](Index features) { return features == padded<T>(features) ? 0 : padded<T>(features); };
  const Index q_copy = copies(s.features), v_copy = copies(s.value_features);
  take(w.q_across, s.features * kRow), take(w.dy_across, s.value_features * kRow);
  take(w.weights, kKeys * kRow), take(w.slopes, kKeys * kRow), take(w.extra, kKeys * kRow);
  take(w.lines, kLanes<T> * kKeys);
  take(w.sums, kQueries * padded<T>(larger(s.features, s.value_features)));
  take(w.top, kQueries), take(w.total, kQueries), take(w.factor, kQueries);
  take(w.q_rows, kQueries * q_copy), take(w.dy_rows, kQueries * v_copy);
  take(w.k_rows, kKeys * q_copy), take(w.v_rows, kKeys * v_copy);
  return bytes;
}

// Rows of one head.
template <class T>
struct Rows {
  T* data;
  Index row;
  T* at(Index i) const { return data + i * row; }
};

// to[j * kRow + i] = scale * from[i][j]; where vectors of i end beyond `rows` stand zeros.
template <class T>
[[gnu::noinline]] void turn(Rows<const T> from, Index rows, Index columns, T scale, T* to) {
  constexpr int lanes = kLanes<T>;
  for (Index i = 0; i < rows; i += lanes) {
    for (Index j = 0; j < columns; j += lanes) {
      const Index left = columns - j;
      Vec<T> square[lanes];
#pragma GCC unroll 1
      for (int k = 0; k < lanes; ++k) {
        const T* x = from.at(i + k) + j;
        square[k] = i + k >= rows ? Vec<T>{} : scale * (left < lanes ? load(x, left) : load(x));
      }
      transpose(square);
      for (Index k = 0; k < smaller(left, lanes); ++k) store(to + (j + k) * kRow + i, square[k]);
    }
  }
}

// The rows themselves where they are whole vectors; else copies that a vector may read past the end of.
template <class T>
inline Rows<const T> whole(Rows<const T> from, Index rows, Index features, T* copies) {
  const Index width = padded<T>(features);
  if (width == features) return from;
  for (Index i = 0; i < rows; ++i) map(copies + i * width, features, [](Vec<T> x) { return x; }, from.at(i));
  return {copies, width};
}

// Lane i of the result is the sum over the lanes of sums[i].
template <class T>
inline Vec<T> sums_of_lanes(Vec<T> (&sums)[kLanes<T>]) {
  transpose(sums);
#pragma GCC unroll 4
  for (int width = kLanes<T> / 2; width > 0; width /= 2)
#pragma GCC unroll 8
    for (int i = 0; i < width; ++i) sums[i] += sums[i + width];
  return sums[0];
}

// A matrix of any strides, on the left of a product.
template <class T>
struct Left {
  const T* data;
  Index row, column;
};

// out (+)= a b; b is read in whole vectors, and `columns` are written.
template <class T>
[[gnu::noinline]] void multiply(Index rows, Index columns, Index depth, Left<T> a, Rows<const T> b, Rows<T> out,
                                bool adds) {
  constexpr Index lanes = kLanes<T>;
  for (Index j = 0; j < columns; j += kTileVectors * lanes) {
    const Index left = columns - j, vectors = left > lanes ? kTileVectors : 1;
    const TileKernel<T>* kernels = tile_kernels<T, Reads::a_in_place>(static_cast<int>(vectors));
    for (Index i = 0, tiles = ceil_div(rows, kTileRows); tiles > 0; --tiles) {
      const Index height = ceil_div(rows - i, tiles);
      T* to = out.at(i) + j;
      kernels[height]({.a = a.data + i * a.row,
                       .b = b.data + j,
                       .a_row = a.row,
                       .a_column = a.column,
                       .b_row = b.row,
                       .depth = depth,
                       .ahead = a.data + (i + height) * a.row},
                      {.out = to, .out_row = out.row, .before = adds ? to : nullptr, .before_row = out.row},
                      smaller(left, vectors * lanes));
      i += height;
    }
  }
}
// out += a b, but what a meets with 0 is not looked at: it may be NaN.
template <class T>
[[gnu::noinline]] void multiply_seen(Index rows, Index columns, Index depth, Left<T> a, Rows<const T> b, Rows<T> out) {
  for (Index i = 0; i < rows; ++i)
    for (Index p = 0; p < depth; ++p) {
      const T weight = a.data[i * a.row + p * a.column];
      if (weight == T(0)) continue;
      map(out.at(i), columns, [=](Vec<T> y, Vec<T> x) { return fma(broadcast(weight), x, y); }, out.at(i), b.at(p));
    }
}
template <class T>
[[gnu::noinline]] bool all_finite(Rows<const T> x, Index rows, Index columns) {
  Vec<T> zeros{};
  for (Index i = 0; i < rows; ++i)
    for (Index j = 0; j < columns; j += kLanes<T>) {
      const Index left = columns - j;
      zeros = fma(left < kLanes<T> ? load(x.at(i) + j, left) : load(x.at(i) + j), Vec<T>{}, zeros);
    }
  return lanes_sum<T>(zeros) == T(0);
}

constexpr Index kWalkAhead = 32;  // of k and v, as one query walks along them: more than processors foresee

// scores[j] = scale * q k[j], a vector of keys at a time.
template <class T>
void score_single(const T* q, Rows<const T> k, Index keys, Index features, T scale, T* scores) {
  constexpr int lanes = kLanes<T>;
  for (Index j = 0; j < keys; j += lanes) {
    Vec<T> sums[lanes] = {};
    for (Index d = 0; d < features; d += lanes) {
      const Index left = features - d;
      const Vec<T> x = left < lanes ? load(q + d, left) : load(q + d);
#pragma GCC unroll 16
      for (int i = 0; i < lanes; ++i) {
        const T* row = k.at(smaller(j + i, keys - 1)) + d;
        __builtin_prefetch(row + kWalkAhead * k.row);
        sums[i] = fma(left < lanes ? load(row, left) : load(row), x, sums[i]);
      }
    }
    store(scores + j, scale * sums_of_lanes<T>(sums));
  }
}

// What scores are made of: a block of q or dy as it lies in memory, and transposed, where `scale` is part of it.
template <class T>
struct Answers {
  Rows<const T> rows;
  const T* across;
  T scale;
};
// scores[key][query] = rows of k (or v) times q (or dy). A last vector with hardly any queries in it is left to those,
// one by one: a class token before 64 patches would else cost as much as 16 of them.
template <class T>
void score(const Work<T>& w, const Block& block, Rows<const T> keys, Index features, const Answers<T>& q, T* scores) {
  constexpr Index lanes = kLanes<T>, step = kTileVectors * lanes, few = lanes / 8;
  const Index rest = block.queries() % lanes, end = rest <= few ? block.queries() - rest : block.queries();
  for (Index i = 0; i < end; i += step) {
    const Index width = padded<T>(smaller(step, end - i));
    const Range seen = block.seen_by(i, step);
    const auto score_keys = [&](Range range, Index first, Index columns) {
      if (range.count() > 0)
        multiply<T>(range.count(), columns, features, {keys.at(range.begin), keys.row, 1}, {q.across + first, kRow},
                    {scores + range.begin * kRow + first, kRow}, false);
    };
    Range both = seen;  // by each of two vectors
    if (block.is_cut && width > lanes) both = {block.seen_by(i + lanes, lanes).begin, block.seen_by(i, lanes).end};
    if (both.begin >= both.end) both = seen;
    score_keys({seen.begin, both.begin}, i, lanes);
    score_keys(both, i, width);
    score_keys({both.end, seen.end}, i + lanes, lanes);
  }
  for (Index i = end; i < block.queries(); ++i) {
    const Range seen = block.seen_by(i, 1);
    score_single<T>(q.rows.at(i), {keys.at(seen.begin), keys.row}, seen.count(), features, q.scale, w.lines);
    for (Index j = seen.begin; j < seen.end; ++j) scores[j * kRow + i] = w.lines[j - seen.begin];
  }
}
// out[query] += weights^T x, x being rows of v or k. `hides`: the block hides keys from some queries.
template <class T>
void add_by_query(const Block& block, bool hides, const T* weights, Rows<const T> x, Index features, Rows<T> out) {
  const bool is_safe = !hides || all_finite<T>(x, block.keys(), features);
  const Index step = block.is_cut ? kTileRows : block.queries();
  for (Index i = 0; i < block.queries(); i += step) {
    const Index count = smaller(step, block.queries() - i);
    const Range seen = block.seen_by(i, count);
    const Left<T> left{weights + seen.begin * kRow + i, 1, kRow};
    const Rows<T> to{out.at(i), out.row};
    if (is_safe) multiply<T>(count, padded<T>(features), seen.count(), left, {x.at(seen.begin), x.row}, to, true);
    else multiply_seen<T>(count, features, seen.count(), left, {x.at(seen.begin), x.row}, to);
  }
}
// out[key] += weights x, x being rows of dy or q.
template <class T>
void add_by_key(const Block& block, const T* weights, Rows<const T> x, Index features, Rows<T> out) {
  const Index step = block.is_cut ? kTileRows : block.keys();
  for (Index j = 0; j < block.keys(); j += step) {
    const Index count = smaller(step, block.keys() - j);
    const Range see = block.that_see(j, count);
    if (see.count() == 0) continue;
    multiply<T>(count, features, see.count(), {weights + j * kRow + see.begin, kRow, 1}, {x.at(see.begin), x.row},
                {out.at(j), out.row}, true);
  }
}

}  // namespace
}  // namespace dd2424::cpu::DD2424_ISA
