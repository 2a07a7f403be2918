#pragma once
// One query, as in decoding word by word: each row of k and of v is read once, and memory sets the pace.
#include "cpu/attention_forward.h"

namespace dd2424::cpu::DD2424_ISA {
namespace {

constexpr Index kSingleKeys = kKeys * kRow;  // whose scores are held at once
constexpr int kSumVectors = 4;               // of y that stay in registers while rows of v go by

// y = factor * y + sum of weights[j] * v[j]; a weight of 0 hides its row.
template <class T>
void add_rows(const T* weights, Rows<const T> v, Index keys, Index features, T factor, T* y) {
  constexpr Index lanes = kLanes<T>;
  for (Index d = 0; d < features; d += kSumVectors * lanes) {
    const Index left = features - d;
    Vec<T> sums[kSumVectors] = {};
    if (left >= kSumVectors * lanes) {
      for (Index j = 0; j < keys; ++j) {
        if (weights[j] == T(0)) continue;
        const Vec<T> weight = broadcast(weights[j]);
        const T* row = v.at(j) + d;
        for (Index i = 0; i < kSumVectors * lanes; i += 64 / Index(sizeof(T)))
          __builtin_prefetch(row + kWalkAhead * v.row + i);
#pragma GCC unroll 4
        for (int i = 0; i < kSumVectors; ++i) sums[i] = fma(weight, load(row + i * lanes), sums[i]);
      }
    } else {
      for (Index j = 0; j < keys; ++j) {
        if (weights[j] == T(0)) continue;
        const T* row = v.at(j) + d;
        for (Index i = 0; i * lanes < left; ++i) {
          const Index rest = left - i * lanes;
          const Vec<T> x = rest < lanes ? load(row + i * lanes, rest) : load(row + i * lanes);
          sums[i] = fma(broadcast(weights[j]), x, sums[i]);
        }
      }
    }
    for (Index i = 0; i < kSumVectors && i * lanes < left; ++i) {
      T* to = y + d + i * lanes;
      store(to, fma(load(to), broadcast(factor), sums[i]));
    }
  }
}

template <class T>
void attend_single(const AttentionForward<T>& a, Index b, Index h, const Work<T>& w) {
  constexpr int lanes = kLanes<T>;
  const AttentionSizes& s = a.sizes;
  const Range seen = Band(s).seen_by(0);
  const Index key_head = h / (s.heads / s.key_heads), width = padded<T>(s.value_features);
  const T scale = static_cast<T>(s.scale * kLog2E);
  fill(w.sums, width, T(0));
  Vec<T> top = broadcast(kLowest<T>);
  T total = 0;
  for (Index j = seen.begin; j < seen.end; j += kSingleKeys) {
    const Index keys = smaller(kSingleKeys, seen.end - j);
    T* x = w.weights;
    score_single<T>(a.q.at(b, h, 0), head_rows(a.k, b, key_head, j), keys, s.features, scale, x);
    for (Index i = keys; i < padded<T>(keys); ++i) x[i] = kHidden<T>;
    if (a.mask.seen || a.mask.added) {
      mask_line(a.mask, b * a.mask.batch + h * a.mask.head + j * a.mask.key, keys, w.extra);
      map(x, keys, [](Vec<T> score, Vec<T> added) { return added == kHidden<T> ? added : score + added; }, x, w.extra);
    }
    const Vec<T> before = top;
    for (Index i = 0; i < keys; i += lanes) top = larger(top, load(x + i));
    T largest[lanes];
    store(largest, top);
    for (int i = 1; i < lanes; ++i) largest[0] = larger(largest[0], largest[i]);
    top = broadcast(largest[0]);
    Vec<T> sum{};
    for (Index i = 0; i < keys; i += lanes) {
      const Vec<T> weight = power_of_two(load(x + i) - top);
      sum += weight;
      store(x + i, weight);
    }
    const T factor = power_of_two(before - top)[0];
    total = fma(total, factor, lanes_sum<T>(sum));
    add_rows<T>(x, head_rows(a.v, b, key_head, j), keys, s.value_features, factor, w.sums);
  }
  store(w.top, top);
  store(w.total, broadcast(total));
  finish_queries(a, b, h, {0, 1}, w);
}

}  // namespace
}  // namespace dd2424::cpu::DD2424_ISA
